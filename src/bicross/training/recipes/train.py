"""Train the models that come with bicross: a bi-encoder, a cross-encoder of six layers and one of three.

One run, in this order; what is done is kept in WORK, and the same command goes on from there:

1. The base model and larger bi-encoders, the teachers, embed every text.
2. Groups are made: a query with 12 documents, up to three of which answer it; most of the others are of the base
   model's first sixty, with BM25's first ten let in.
3. A copy of the first teacher is trained to read pairs, for what similarities can't know: it learns the weighted sum of
   the teachers' similarities, the base model's and BM25's, moved by the judgements.
4. What is wanted of each pair: what that reader says, added to that sum. The weights of such a sum are a conditional
   logit on judged queries that no training sees; so its unit is the nat.
5. ``cross-encoder``, ``fast`` and ``bi-encoder`` learn it: listwise distillation, the cross-entropy between softmax of
   what is wanted, moved by ``LABEL_NATS`` for a judged document, and softmax of the logits (ListNet, Cao et al. 2007).
   Groups that people judged also pay a binary cross-entropy on the bare logit, so that its level means the same for
   every query. The fast one starts as three layers of the large one and also learns its logits. The bi-encoder learns
   the similarities within batches of one source, and its own groups as the cross-encoder does; then it is averaged with
   the base model, for what it forgot (WiSE-FT, Wortsman et al. 2022).
6. If asked for, the cross-encoder starts anew in many short ways, to see what matters.

It runs on a GPU, or on CPUs at a smaller size (``--share`` of ``prepare``, and few steps here). Of bicross it needs the
modules beside this one, and they need torch, transformers, tokenizers and safetensors: the folder ``src`` can be
carried to where the GPU is. Everything that is found comes into ``WORK/log.json``.

Run: ``python -m bicross.training.recipes.train --texts WORK/texts.jsonl.xz --base DIR --teacher DIR --teacher DIR
--work WORK``. The first teacher is the one that learns to read.
"""

from __future__ import annotations

import argparse
import json
import shutil
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from safetensors.torch import load_file, save_file
from torch import Tensor

from bicross.training.recipes.groups import (
    Groups,
    add_similarities,
    fit_conditional_logit,
    groups_of,
    ndcg,
    part_of,
    weighted,
)
from bicross.training.recipes.lessons import Lesson, Pace, listwise, similarity_loss, train
from bicross.training.recipes.reading import DEVICE, Encoder, Reader, Texts, Tokens, read_sources

#: Layers of the large cross-encoder that the fast one starts with.
FAST = (0, 2, 5)

#: The share of the base model's weights in the bi-encoder.
OF_BASE = 0.5

Vectors = dict[str, tuple[Tensor, Tensor]]


class Log:
    """What was found, kept in a file as it comes; and how long each part took."""

    def __init__(self, file: Path) -> None:
        self.file = file
        self.rows: dict[str, Any] = json.loads(file.read_text()) if file.is_file() else {}
        self.clock = time.perf_counter()

    def put(self, name: str, value: Any) -> None:
        self.rows[name] = value
        self.file.write_text(json.dumps(self.rows, indent=1) + "\n")
        print(f"{name}: {json.dumps(value)}", flush=True)

    def took(self, name: str) -> None:
        now = time.perf_counter()
        self.put(f"seconds: {name}", round(now - self.clock, 1))
        self.clock = now


@dataclass
class Run:
    """All that the parts share. ``learning`` says of each query that is measured whether numbers are fitted on it."""

    texts: Texts
    work: Path
    log: Log
    tokens: int
    batch: int
    groups: Groups
    measured: Groups
    learning: list[bool]

    def fitted(self, features: list[str]) -> dict[str, float]:
        return fit_conditional_logit(part_of(self.measured, self.learning), features)

    def show(self, name: str, scores: Tensor) -> None:
        self.log.put(f"ndcg {name}", ndcg(self.measured, scores))

    def learn(self, name: str, reader: Reader, lesson: Lesson, rate: float, pace: Pace) -> None:
        """Train a cross-encoder, and see what it is worth alone and beside the base model and BM25."""
        started = time.perf_counter()
        steps = train(reader.model, listwise(reader, lesson, self.batch), rate, pace, name)
        read = steps * self.batch * lesson.width
        each = round(read / (time.perf_counter() - started))
        self.log.put(f"pairs {name}", {"steps": steps, "pairs": read, "a second": each})
        self.measured.put("pupil", reader.score(*self.measured.pairs()))
        self.show(name, self.measured.features["pupil"])
        self.show(f"{name}, joined", weighted(self.measured, self.fitted(["pupil", "dense", "bm25"])))


def embeddings(models: dict[str, Path], texts: Texts, work: Path, tokens: int, log: Log) -> Vectors:
    """Of every query and of every document, by each model; those of an earlier run are kept."""
    vectors = {}
    for name, folder in models.items():
        kept = work / f"{name}.safetensors"
        if not kept.is_file():
            encoder = Encoder(folder, tokens)
            queries, documents = encoder.tokens(texts)
            save_file({"query": encoder.embed(queries), "document": encoder.embed(documents)}, kept)
        stored = load_file(kept, device=str(DEVICE))
        vectors[name] = (stored["query"], stored["document"])
        log.took(f"embeddings {name}")
    return vectors


def read_by_teacher(run: Run, teacher: Path, wanted: Tensor, rate: float, pace: Pace) -> None:
    """Train the reader and let it read all pairs."""
    kept = run.work / "reader.safetensors"
    if not kept.is_file():
        reader = Reader(teacher, run.texts, run.tokens // 5)
        lesson = Lesson(run.groups, wanted, width=8)
        steps = train(reader.model, listwise(reader, lesson, max(1, run.batch // 2)), rate, pace, "reader")
        run.log.put("steps reader", steps)
        run.log.took("reader")
        scores = {"groups": reader.score(*run.groups.pairs()), "measured": reader.score(*run.measured.pairs())}
        save_file(scores, kept)
        run.log.took("reading")
    scores = load_file(kept)
    run.groups.put("reader", scores["groups"])
    run.measured.put("reader", scores["measured"])


def train_cross_encoders(run: Run, base: Path, wanted: Tensor, rates: list[float], paces: list[Pace]) -> None:
    large, fast = run.work / "cross-encoder", run.work / "fast"
    if not large.is_dir():
        reader = Reader(base, run.texts, run.tokens)
        run.learn("cross-encoder", reader, Lesson(run.groups, wanted), rates[0], paces[0])
        save_file({"logits": reader.score(*run.groups.pairs())}, run.work / "logits.safetensors")
        keep(reader, base, large)
        run.log.took("cross-encoder")
    if not fast.is_dir():
        run.groups.put("large", load_file(run.work / "logits.safetensors")["logits"])
        depth = json.loads((large / "config.json").read_text())["num_hidden_layers"]
        reader = Reader(large, run.texts, run.tokens, layers=[i for i in FAST if i < depth])
        reader.whole.get_input_embeddings().requires_grad_(False)  # those of the large one are good enough
        lesson = Lesson(run.groups, wanted, logits=run.groups.features["large"])
        run.learn("fast", reader, lesson, rates[1], paces[1])
        keep(reader, base, fast)
        run.log.took("fast")


def keep(reader: Reader, base: Path, folder: Path) -> None:
    """Save a model whole or not at all."""
    new = folder.with_suffix(".new")
    reader.save(new)
    for name in ("tokenizer.json", "tokenizer_config.json"):
        if (base / name).is_file():
            shutil.copy(base / name, new / name)
    new.rename(folder)


def train_bi_encoder(
    run: Run,
    base: Path,
    wanted: Tensor,
    vectors: Vectors,
    weights: dict[str, float],
    scale: float,
    rate: float,
    pace: Pace,
) -> None:
    """``weights`` are those of the teachers' similarities, ``scale`` that of the base model's alone."""
    folder = run.work / "bi-encoder"
    if folder.is_dir():
        return
    encoder = Encoder(base, run.tokens)
    tokens = encoder.tokens(run.texts)
    teachers = {name: (weight, vectors[name]) for name, weight in weights.items()}
    loss_of = similarity_loss(encoder, tokens, run.groups, wanted, teachers, scale, run.batch * 2, 8)
    run.log.put("steps bi-encoder", train(encoder.model, loss_of, rate, pace, "bi-encoder"))
    measure_bi_encoder(run, "bi-encoder", encoder, tokens)
    trained = encoder.model.state_dict()
    for name, before in Encoder(base, run.tokens).model.state_dict().items():
        if before.is_floating_point():
            trained[name].lerp_(before, OF_BASE)
    measure_bi_encoder(run, "bi-encoder averaged", encoder, tokens)
    new = folder.with_suffix(".new")
    shutil.copytree(base, new, dirs_exist_ok=True)
    kept = {name: w.detach().half().cpu().contiguous() for name, w in trained.items()}
    save_file(kept, new / "model.safetensors", metadata={"format": "pt"})
    new.rename(folder)
    run.log.took("bi-encoder")


def measure_bi_encoder(run: Run, name: str, encoder: Encoder, tokens: tuple[Tokens, Tokens]) -> None:
    """Over the base model's candidates, beside the others, and over its own."""
    embedded = (encoder.embed(tokens[0]), encoder.embed(tokens[1]))
    add_similarities(run.measured, "pupil", embedded)
    run.show(name, run.measured.features["pupil"])
    own = groups_of(run.texts.sources, embedded, measured=True)
    add_similarities(own, "pupil", embedded)
    run.log.put(f"ndcg {name} over its own candidates", ndcg(own, own.features["pupil"]))


def _spread(layers: int, depth: int) -> list[int]:
    """The first, the last and those between at even distances."""
    return sorted({round(i * (depth - 1) / (layers - 1)) for i in range(layers)})


def try_variants(
    run: Run, base: Path, wanted: Tensor, first: Tensor, offset: Tensor, rate: float, seconds: float
) -> None:
    """The cross-encoder from the start, each time in another way, for so long."""
    both = Lesson(run.groups, wanted)
    depth = json.loads((base / "config.json").read_text())["num_hidden_layers"]
    tried: dict[str, tuple[Lesson, dict[str, Any], float]] = {
        "labels and teachers": (both, {}, 1),
        "labels only": (Lesson(run.groups, wanted, labels_only=True), {}, 1),
        "teachers only": (Lesson(run.groups, wanted, teachers_only=True), {}, 1),
        "without the reader": (Lesson(run.groups, first), {}, 1),
        "score of the retriever as offset": (Lesson(run.groups, wanted, offset=offset), {}, 1),
        "means of the segments": (both, {"pooled": True}, 1),
        "2 layers": (both, {"layers": _spread(2, depth)}, 1),
        "4 layers": (both, {"layers": _spread(4, depth)}, 1),
        "half the time": (both, {}, 0.5),
        "twice the time": (both, {}, 2),
    }
    for name, (lesson, options, times) in tried.items():
        if f"ndcg variant: {name}, joined" not in run.log.rows:
            reader = Reader(base, run.texts, run.tokens, **options)
            run.learn(f"variant: {name}", reader, lesson, rate, Pace(times * seconds))
    run.log.took("variants")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--texts", type=Path, required=True, help="the --out of prepare")
    parser.add_argument("--measured", type=Path, help="another such file, of which nothing is learnt or fitted")
    parser.add_argument("--base", type=Path, required=True, help="folder of the bi-encoder to start from")
    parser.add_argument("--teacher", type=Path, action="append", required=True, help="folder; repeat it")
    parser.add_argument("--work", type=Path, required=True)
    parser.add_argument("--seconds", type=float, nargs=4, default=[100, 150, 55, 75], help="reader, large, fast, bi")
    parser.add_argument("--steps", type=int, nargs=4, default=[0, 0, 0, 0], help="instead of seconds")
    parser.add_argument("--rates", type=float, nargs=4, default=[4e-5, 2e-4, 3e-4, 1e-4], help="learning rates")
    parser.add_argument("--variants", type=float, default=0, help="seconds for each variant; 0 tries none")
    parser.add_argument("--tokens", type=int, default=100_000, help="in a forward pass of a small model")
    parser.add_argument("--batch", type=int, default=48, help="groups a step")
    args = parser.parse_args()
    args.work.mkdir(parents=True, exist_ok=True)
    log = Log(args.work / "log.json")
    paces = [Pace(seconds, steps) for seconds, steps in zip(args.seconds, args.steps, strict=True)]
    sources = read_sources([args.texts, *([args.measured] if args.measured else [])])
    names = {source.name for source in sources if not all(query.held_out for query in source.queries)}
    texts = Texts(sources)
    models = {"dense": args.base, **{f"teacher-{i}": folder for i, folder in enumerate(args.teacher, 1)}}
    vectors = embeddings(models, texts, args.work, args.tokens // 5, log)
    groups = groups_of(sources, vectors["dense"], measured=False)
    measured = groups_of(sources, vectors["dense"], measured=True)
    for each in (groups, measured):
        for name, pair in vectors.items():
            add_similarities(each, name, pair)
    learning = [name in names for name in measured.source]
    run = Run(texts, args.work, log, args.tokens, args.batch, groups, measured, learning)
    log.put("groups", {name: groups.source.count(name) for name in dict.fromkeys(groups.source)})
    log.put("pairs", int(groups.there.sum()))

    similarities = list(vectors)
    weights = {
        "similarities and BM25": run.fitted([*similarities, "bm25"]),
        "similarities": run.fitted(similarities),
        "base": run.fitted(["dense"]),
    }
    for name in (*similarities, "bm25"):
        run.show(name, measured.features[name])
    run.show("similarities and BM25", weighted(measured, weights["similarities and BM25"]))
    first = weighted(groups, weights["similarities and BM25"])
    log.took("groups")

    read_by_teacher(run, args.teacher[0], first, args.rates[0], paces[0])
    run.show("reader", measured.features["reader"])
    weights["wanted"] = run.fitted(["reader", *similarities, "bm25"])
    log.put("weights", weights)
    run.show("wanted", weighted(measured, weights["wanted"]))
    wanted = weighted(groups, weights["wanted"])

    train_cross_encoders(run, args.base, wanted, args.rates[1:3], paces[1:3])
    scale = weights["base"]["dense"]
    train_bi_encoder(run, args.base, wanted, vectors, weights["similarities"], scale, args.rates[3], paces[3])
    if args.variants:
        offset = 0.5 * scale * groups.features["dense"]
        try_variants(run, args.base, wanted, first, offset, args.rates[1], args.variants)


if __name__ == "__main__":
    main()

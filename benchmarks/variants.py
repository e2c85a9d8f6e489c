"""What helps a cross-encoder learn a corpus that nobody judged: every variant of ``bicross adapt`` that was tried.

Pseudo queries of one collection are made once, and read by all teachers once (kept in ``--work``). Each variant then
learns from the same groups in the same way and differs in one thing from ``both``. It is measured on the judged queries
of the collection, which nothing learnt from: nDCG@10 of the first candidates of the hybrid first stage, in the order of
the cross-encoder alone, and in the joined order. Joined by one weight, the best of a few for each variant: so a variant
cannot lose by the scale of its logits; the weights that are shipped stand beside it. Writes
``benchmarks/results/variants.json`` after each variant; the same command goes on with those that are missing.

Run: ``python benchmarks/variants.py --collection DATA/beir/cranfield --split test --teacher DIR --work FOLDER``
"""

from __future__ import annotations

import argparse
import json
import os
import pickle
import random
import time
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

os.environ["HF_HUB_OFFLINE"] = "1"

import ir_measures
import numpy as np
import torch
from ir_measures import nDCG
from measuring import RESULTS
from torch import Tensor, nn

import bicross
from bicross.encoders.loading import DEFAULT_BI_ENCODER, DEFAULT_CROSS_ENCODER, find_model
from bicross.evaluation.collection import find_collection
from bicross.evaluation.judged import judged_queries, read_queries
from bicross.opening import open_or_create
from bicross.search import Searcher
from bicross.search.two_stages import read_two_stages
from bicross.training.adapting import _groups, _in_its_own_units
from bicross.training.cross_encoder import CrossEncoderTraining, _keep_layers, _model
from bicross.training.groups import Group
from bicross.training.lengths import PairsByLength
from bicross.training.losses import Mse, Softmax
from bicross.training.pseudo import pseudo_queries
from bicross.training.teachers import joined, scores_of

SEED, BATCH = 1, 8
WEIGHTS = (0.0, 0.02, 0.05, 0.1, 0.2, 0.4, 0.8)


@dataclass(frozen=True)
class Variant:
    """What is learnt, by what, and how much of it.

    Attributes:
        learns: ``both``, ``labels`` or ``teachers``.
        loss: ``mse`` or ``softmax``.
        offset: The retriever's similarity is taken from what the teachers say: the model learns what it adds.
        layers: Of the model.
        pooled: Relevance from the mean of the query's tokens and that of the document's, not from the first token.
        base: Where it starts.
        learning_rate: At its highest.
        share: Of the groups; above 1 they are seen again.
        teachers: Without the named ones it learns from itself and the bi-encoder.
    """

    learns: str = "both"
    loss: str = "mse"
    offset: bool = False
    layers: int = 6
    pooled: bool = False
    base: str = DEFAULT_CROSS_ENCODER
    learning_rate: float = 1e-4
    share: float = 1.0
    teachers: bool = True


VARIANTS = {
    "both": Variant(),
    "labels alone": Variant(learns="labels", loss="softmax"),
    "teachers alone": Variant(learns="teachers"),
    "no teacher but itself and the bi-encoder": Variant(teachers=False),
    "learning rate 3e-5": Variant(learning_rate=3e-5),
    "softmax": Variant(loss="softmax"),
    "the retriever's score as offset": Variant(offset=True),
    "half the pairs": Variant(share=0.5),
    "twice": Variant(share=2.0),
    "4 layers": Variant(layers=4),
    "2 layers": Variant(layers=2),
    "from the bi-encoder's body": Variant(base=DEFAULT_BI_ENCODER),
    "pooled means, from the bi-encoder's body": Variant(base=DEFAULT_BI_ENCODER, pooled=True),
}


class SegmentMeans(nn.Module):
    """A cross-encoder that reads relevance off the means of both segments, their product and their difference."""

    def __init__(self, model: PairsByLength) -> None:
        super().__init__()
        self.inner = model
        self.device = model.device
        self.preprocess = model.preprocess
        whole = model[0].model
        self.body = getattr(whole, whole.base_model_prefix)
        self.head = nn.Linear(4 * whole.config.hidden_size, 1)

    def forward(self, features: dict[str, Tensor]) -> dict[str, Tensor]:
        tensors = {k: features[k] for k in ("input_ids", "attention_mask", "token_type_ids")}
        hidden = self.body(**tensors).last_hidden_state
        means = []
        for segment in (0, 1):
            chosen = (tensors["attention_mask"] * (tensors["token_type_ids"] == segment)).unsqueeze(-1)
            means.append((hidden * chosen).sum(1) / chosen.sum(1).clamp(min=1))
        query, document = means
        seen = torch.cat([query, document, query * document, (query - document).abs()], dim=1)
        return {"scores": self.head(seen)}


def prepared(args: argparse.Namespace) -> dict[str, Any]:
    """Groups with what each teacher says, and the judged queries with their candidates; made once."""
    file = args.work / f"{args.collection.name}.pickle"
    if file.exists():
        return pickle.loads(file.read_bytes())  # our own file of an earlier run
    place = find_collection(args.collection, args.split, None, None, None)
    assert place.queries is not None and place.corpus is not None
    judged = judged_queries(place.queries, place.qrels, None)
    texts = dict(read_queries(place.queries))
    asked = random.Random(SEED).sample(judged.ids, min(args.measured, len(judged.ids)))
    with open_or_create(args.work / f"{args.collection.name}-index") as index:
        index.add(bicross.read_documents([place.corpus]))
        groups = _groups(index, pseudo_queries(index, args.queries, SEED), SEED)
        lists = []
        for query_id in asked:
            hits = Searcher(index).search(texts[query_id], top_k=args.candidates).hits
            lists.append((query_id, [h.document_id for h in hits], [h.score for h in hits], [
                f"{h.title}\n{h.text}" if h.title else h.text for h in hits
            ]))  # fmt: skip
        names = [DEFAULT_CROSS_ENCODER, index.embedder.name, *args.teacher]
    said = {}
    for name in names:
        started = time.perf_counter()
        said[name] = scores_of(name, groups, max_tokens=args.max_tokens)
        print(f"{name} read {len(said[name])} pairs in {time.perf_counter() - started:.0f} s", flush=True)
    result = {
        "groups": groups,
        "said": said,
        "lists": lists,
        "queries": {q: texts[q] for q in asked},
        "qrels": {q: judged.qrels[q] for q in asked},
    }
    file.write_bytes(pickle.dumps(result))
    return result


def targets(variant: Variant, made: dict[str, Any]) -> list[Group]:
    """The groups with what this variant is to learn as their scores."""
    groups, said = made["groups"], made["said"]
    names = list(said) if variant.teachers else list(said)[:2]
    own = said[DEFAULT_CROSS_ENCODER]
    teachers = joined([said[name] for name in names], groups)
    if variant.offset:
        teachers = teachers - 0.5 * joined([said[names[1]]], groups)
    taught = _in_its_own_units(groups, own, teachers, label_bonus=1.0 if variant.learns == "both" else 0.0)
    if variant.learns == "labels":
        return [replace(g, scores=tuple(3.0 * label for label in g.labels or ())) for g in groups]
    return taught


def learn(variant: Variant, groups: list[Group], max_tokens: int) -> tuple[Any, int]:
    """The trained model and the pairs that it saw."""
    torch.manual_seed(SEED)
    settings = CrossEncoderTraining(max_tokens=max_tokens, seed=SEED)
    model, _ = _model(find_model(variant.base), settings, "cpu", dropout=False)
    if variant.layers < 6:
        _keep_layers(model, variant.layers)
    pupil = SegmentMeans(model) if variant.pooled else model
    loss = (Mse if variant.loss == "mse" else Softmax)(pupil)
    rng = random.Random(SEED)
    order: list[Group] = []
    wanted = round(variant.share * len(groups))
    while len(order) < wanted:
        order += rng.sample(groups, min(len(groups), wanted - len(order)))
    steps = len(order) // BATCH
    optimiser = torch.optim.AdamW(pupil.parameters(), lr=variant.learning_rate, weight_decay=0.01)
    schedule = torch.optim.lr_scheduler.LambdaLR(optimiser, lambda s: min((s + 1) / (0.1 * steps), 1 - s / steps))
    pupil.train()
    for step in range(steps):
        batch = order[step * BATCH : (step + 1) * BATCH]
        value = loss([[g.query for g in batch], [g.documents for g in batch]], [torch.tensor(g.scores) for g in batch])
        optimiser.zero_grad()
        value.backward()
        nn.utils.clip_grad_norm_(pupil.parameters(), 1.0)
        optimiser.step()
        schedule.step()
    return pupil.eval(), sum(len(g.documents) for g in order[: steps * BATCH])


@torch.inference_mode()
def logits(model: Any, pairs: list[tuple[str, str]]) -> np.ndarray:
    order = sorted(range(len(pairs)), key=lambda i: len(pairs[i][0]) + len(pairs[i][1]))
    out = np.empty(len(pairs))
    for start in range(0, len(order), 32):
        rows = order[start : start + 32]
        features = model.preprocess([pairs[i] for i in rows])
        out[rows] = model({k: v for k, v in features.items() if isinstance(v, Tensor)})["scores"].view(-1).numpy()
    return out


def measured(model: Any, made: dict[str, Any]) -> dict[str, float]:
    """nDCG@10 of the candidates in several orders."""
    pairs = [(made["queries"][q], text) for q, _, _, texts in made["lists"] for text in texts]
    scores = np.split(logits(model, pairs), np.cumsum([len(ids) for _, ids, _, _ in made["lists"]])[:-1])
    evidence = [np.array(first) for _, _, first, _ in made["lists"]]

    def ndcg(final: list[np.ndarray]) -> float:
        run = {
            q: dict(zip(ids, map(float, values), strict=True))
            for (q, ids, _, _), values in zip(made["lists"], final, strict=True)
        }
        return float(ir_measures.calc_aggregate([nDCG @ 10], made["qrels"], run)[nDCG @ 10])

    spread = (
        np.concatenate([s - s.mean() for s in scores]).std() / np.concatenate([e - e.mean() for e in evidence]).std()
    )
    joint = {w: ndcg([e + w * s / spread for s, e in zip(scores, evidence, strict=True)]) for w in WEIGHTS}
    shipped = read_two_stages(find_model(DEFAULT_CROSS_ENCODER) / "bicross.json")[0]
    best = max(joint, key=lambda w: joint[w])
    found = {
        "first_stage": ndcg(evidence),
        "alone": ndcg(scores),
        "joined": ndcg([shipped.final(s, e) for s, e in zip(scores, evidence, strict=True)]),
        "joined_best": joint[best],
        "best_weight": best,
    }
    return {name: round(value, 4) for name, value in found.items()}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--collection", type=Path, required=True)
    parser.add_argument("--split", default="test")
    parser.add_argument("--teacher", action="append", default=[])
    parser.add_argument("--work", type=Path, required=True)
    parser.add_argument("--queries", type=int, default=500, help="pseudo queries")
    parser.add_argument("--measured", type=int, default=100, help="judged queries")
    parser.add_argument("--candidates", type=int, default=20)
    parser.add_argument("--max-tokens", type=int, default=128)
    parser.add_argument("--variants", nargs="*", default=list(VARIANTS))
    args = parser.parse_args()
    args.work.mkdir(parents=True, exist_ok=True)
    made = prepared(args)
    file = RESULTS / "variants.json"
    result = json.loads(file.read_text()) if file.exists() else {}
    settings = {
        "collection": args.collection.name,
        "groups": len(made["groups"]),
        "measured": args.measured,
        "candidates": args.candidates,
        "max_tokens": args.max_tokens,
        "teachers": [Path(name).name for name in made["said"]],
    }
    if result.get("settings") != settings:
        result = {"settings": settings, "variants": {}}
        base, _ = _model(find_model(DEFAULT_CROSS_ENCODER), CrossEncoderTraining(max_tokens=256), "cpu", dropout=False)
        result["variants"]["not adapted"] = {"pairs": 0, **measured(base.eval(), made)}
    for name in args.variants:
        if name in result["variants"]:
            continue
        started = time.perf_counter()
        model, pairs = learn(VARIANTS[name], targets(VARIANTS[name], made), args.max_tokens)
        row = {"pairs": pairs, **measured(model, made), "seconds": round(time.perf_counter() - started)}
        result["variants"][name] = row
        file.write_text(json.dumps(result, indent=1, ensure_ascii=False) + "\n")
        print(name, row, flush=True)


if __name__ == "__main__":
    main()

"""Teach a cross-encoder of two layers what the bundled one of six says: the quick reader of a cascade.

The pupil starts as layers 0 and 3 of the teacher, with its embeddings and its head. It learns the logit itself, by
squared error: a cascade and its stop need the level of a logit, so margins alone (Hofstätter et al. 2020) will not do.
The pairs are what a cascade reads: for the queries of ``prepare_reranker``, of each index's 100 best chunks some of the
first ten and some of the others, and one that was found for another query. No judgement is used.

Checkpoints are written as it goes; the same command continues from the last one.

Run: ``python -m bicross.training.recipes.distil_reranker --data DATA --indexes INDEXES --work WORK --out FOLDER``
"""

from __future__ import annotations

import argparse
import json
import random
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from datasets import Dataset
from safetensors.numpy import load_file, save_file
from sentence_transformers.cross_encoder import CrossEncoder as Pupil
from torch import Tensor, nn, tensor

from bicross.documents import Document, read_documents
from bicross.encoders import CrossEncoder, find_model
from bicross.encoders.loading import DEFAULT_CROSS_ENCODER
from bicross.index.retrieval import DEPTH
from bicross.opening import open_or_create
from bicross.training.recipes.fit_reranker import carry, pack
from bicross.training.recipes.prepare_reranker import SEED, Collection, collections
from bicross.training.recipes.train_reranker import logits_of, start, train

LAYERS = (0, 3)
MAX_TOKENS = 160

#: Collections whose queries are asked, each at most so many.
SOURCES = ("scifact", "nfcorpus", "wikiqa-tok", "web")
MOST_QUERIES = 1200

#: Pairs of a query: of the first ten candidates, of the others, and of those of the query before.
OF_FIRST, OF_OTHERS, OF_ELSEWHERE = 3, 4, 1


class LogitLoss(nn.Module):
    """Mean squared error of logits."""

    def __init__(self, model: Pupil) -> None:
        super().__init__()
        self.model = model

    def forward(
        self, inputs: list[Any], labels: list[Tensor], prompt: str | None = None, task: str | None = None
    ) -> Tensor:
        queries, documents = inputs
        logits = logits_of(self.model, [(q, d) for q, group in zip(queries, documents, strict=True) for d in group])
        targets = tensor([float(v) for group in labels for v in group], device=logits.device)
        return nn.functional.mse_loss(logits, targets)


def groups_of(source: Collection, data: Path, indexes: Path, teacher: CrossEncoder) -> Iterator[dict[str, Any]]:
    """For each query some documents and the teacher's logits."""
    corpus = data / "beir" / source.name / "corpus.jsonl.gz"
    documents = (
        read_documents([corpus])
        if corpus.is_file()
        else [Document(document_id, text) for document_id, text in source.documents.items()]
    )
    rng = random.Random(SEED)
    elsewhere: list[str] = []
    with open_or_create(indexes / source.name) as index:
        index.add(documents)
        for query in list(source.queries.values())[:MOST_QUERIES]:
            found = [candidate.chunk.embedded_text for candidate in index.search(query, top_k=DEPTH)]
            if not found:
                continue
            chosen = rng.sample(found[:10], min(OF_FIRST, len(found[:10])))
            chosen += rng.sample(found[10:], min(OF_OTHERS, len(found[10:])))
            chosen += rng.sample(elsewhere, min(OF_ELSEWHERE, len(elsewhere)))
            elsewhere = found
            logits = teacher.score([(query, text) for text in chosen], show_progress=False).logits
            yield {"source": source.name, "query": query, "documents": chosen, "logits": logits.tolist()}


def prepared(data: Path, indexes: Path, work: Path, teacher: CrossEncoder) -> list[dict[str, Any]]:
    """All groups; each source is read once and kept in ``work``."""
    work.mkdir(parents=True, exist_ok=True)
    groups: list[dict[str, Any]] = []
    sources, _ = collections(data, random.Random(SEED))
    for source in (source for source in sources if source.name in SOURCES):
        file = work / f"{source.name}.jsonl"
        if not file.is_file():
            new = file.with_suffix(".new")
            with new.open("w", encoding="utf-8") as lines:
                for group in groups_of(source, data, indexes, teacher):
                    lines.write(json.dumps(group, ensure_ascii=False) + "\n")
            new.replace(file)
        with file.open(encoding="utf-8") as lines:
            read = [json.loads(line) for line in lines]
        print(f"  {source.name}: {len(read)} queries, {sum(len(g['logits']) for g in read)} pairs", flush=True)
        groups += read
    random.Random(SEED).shuffle(groups)
    return groups


def keep_layers(model: Path, layers: tuple[int, ...], out: Path) -> None:
    """Copy a model folder with some of its layers only."""
    out.mkdir(parents=True, exist_ok=True)
    place = {f"bert.encoder.layer.{old}.": f"bert.encoder.layer.{new}." for new, old in enumerate(layers)}
    kept = {}
    for name, weights in load_file(model / "model.safetensors").items():
        if not name.startswith("bert.encoder.layer."):
            kept[name] = weights
        for old, new in place.items():
            if name.startswith(old):
                kept[name.replace(old, new, 1)] = weights
    save_file(kept, out / "model.safetensors", metadata={"format": "pt"})
    config = json.loads((model / "config.json").read_text())
    (out / "config.json").write_text(json.dumps({**config, "num_hidden_layers": len(layers)}, indent=2) + "\n")
    carry(model, out)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True, help="folder with beir/, train/ and corpora/")
    parser.add_argument("--indexes", type=Path, required=True, help="where indexes of the collections are kept")
    parser.add_argument("--work", type=Path, required=True, help="for the teacher's logits and checkpoints")
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--teacher", default=DEFAULT_CROSS_ENCODER)
    parser.add_argument("--epochs", type=float, default=2.0)
    parser.add_argument("--learning-rate", type=float, default=2e-4)
    parser.add_argument("--batch", type=int, default=8, help="queries a step")
    args = parser.parse_args()
    groups = prepared(args.data, args.indexes, args.work, CrossEncoder(args.teacher, max_tokens=MAX_TOKENS))
    columns = ("query", "documents")
    dataset = Dataset.from_dict(
        {**{name: [g[name] for g in groups] for name in columns}, "labels": [g["logits"] for g in groups]}
    )
    keep_layers(find_model(args.teacher), LAYERS, args.work / "start")
    train(
        start(str(args.work / "start"), MAX_TOKENS),
        dataset,
        LogitLoss,
        args.work / "run",
        num_train_epochs=args.epochs,
        per_device_train_batch_size=args.batch,
        learning_rate=args.learning_rate,
        warmup_steps=80,
        save_steps=200,
    )
    pack(args.work / "run" / "final", args.out)


if __name__ == "__main__":
    main()

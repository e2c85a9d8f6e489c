"""Teach the body of a small bi-encoder the similarities of larger ones.

A batch is some queries and, of each, a few documents of its group. Every query of the batch is compared with every
document, by the teachers from the vectors that ``prepare_reranker`` kept, by the pupil from vectors that it has just
made: so n encodings give about n²/5 similarities to learn. The loss is the cross-entropy between
softmax(teacher + LABEL_NATS * label) and softmax(scale * cosine), over the documents of a query and, at half weight,
over the queries of a document. The teacher is the weighted sum of its similarities in ``weights.json``, so its unit is
the nat, and the scale of the pupil is the weight that its own cosine had there.

Checkpoints are written as it goes; the same command continues from the last one.

Run: ``python -m bicross.training.recipes.distil_bi_encoder --groups WORK --base DIR --out RUN``
"""

from __future__ import annotations

import argparse
import json
import pickle
import random
from pathlib import Path
from typing import Any

import numpy as np
import torch
from datasets import Dataset
from sentence_transformers import SentenceTransformerTrainer, SentenceTransformerTrainingArguments
from torch import Tensor, nn

from bicross.encoders.engines.openvino import resolve_precision
from bicross.training.lengths import ByLength
from bicross.training.recipes.prepare_reranker import SEED

LABEL_NATS = 2.0
MAX_TOKENS = 112

#: Documents of a query in a batch: those with a label first, then the others by chance.
DOCUMENTS = 3


class Similarities(nn.Module):
    """See the module's docstring; the texts come with the places of their teachers' vectors."""

    def __init__(self, model: ByLength, teachers: dict[str, tuple[float, np.ndarray]], scale: float) -> None:
        super().__init__()
        self.model = model
        self.teachers = [(weight, torch.from_numpy(vectors)) for weight, vectors in teachers.values()]
        self.scale = scale

    def forward(self, sentence_features: list[dict[str, Tensor]], labels: Tensor) -> Tensor:
        columns = [nn.functional.normalize(self.model(f)["sentence_embedding"], dim=1) for f in sentence_features]
        queries, documents = columns[0], torch.cat(columns[1:])
        # labels: place of the query, places of the documents, labels of the documents; (rows, 1 + 2 * DOCUMENTS)
        places = labels[:, : 1 + DOCUMENTS].long()
        judged = labels[:, 1 + DOCUMENTS :]
        of_query, of_documents = places[:, 0], places[:, 1:].T.reshape(-1)
        wanted = sum(
            weight * (vectors[of_query].float() @ vectors[of_documents].float().T) for weight, vectors in self.teachers
        )
        rows = len(queries)
        bonus = torch.zeros(rows, len(documents))
        for column in range(DOCUMENTS):
            own = torch.arange(rows)
            bonus[own, column * rows + own] = LABEL_NATS * judged[:, column].clamp(0, 1)
        # a document that is there twice, under several queries, is one candidate of two places: harmless
        wanted = wanted + bonus
        said = self.scale * queries @ documents.T
        across = -(torch.softmax(wanted, 1) * torch.log_softmax(said, 1)).sum(1).mean()
        down = -(torch.softmax(wanted, 0) * torch.log_softmax(said, 0)).sum(0).mean()
        return across + 0.5 * down


def texts_and_vectors(stores: list[Path]) -> tuple[dict[tuple[str, str], int], list[np.ndarray]]:
    """The place of every text that all teachers have read, and the vectors of each teacher in that order."""
    caches = []
    for store in stores:
        with store.open("rb") as stream:
            caches.append(pickle.load(stream))  # our own files of prepare_reranker
    common = sorted(set.intersection(*(set(cache) for cache in caches)))
    places = {key: place for place, key in enumerate(common)}
    return places, [np.stack([cache[key] for key in common]) for cache in caches]


def rows_of(groups: list[dict[str, Any]], places: dict[tuple[str, str], int]) -> dict[str, list[Any]]:
    """A row for each group of which the teachers know all that is chosen."""
    rng = random.Random(SEED)
    columns: dict[str, list[Any]] = {"query": [], **{f"document_{i}": [] for i in range(DOCUMENTS)}, "label": []}
    for group in groups:
        order = list(range(len(group["documents"])))
        rng.shuffle(order)
        order.sort(key=lambda i: -group["label"][i])
        chosen = order[:DOCUMENTS]
        keys = [("query", group["query"]), *(("document", group["documents"][i]) for i in chosen)]
        if len(chosen) < DOCUMENTS or not all(key in places for key in keys):
            continue
        columns["query"].append(group["query"])
        for column, i in enumerate(chosen):
            columns[f"document_{column}"].append(group["documents"][i])
        marks = [float(max(group["label"][i], 0)) for i in chosen]
        columns["label"].append([float(places[key]) for key in keys] + marks)
    return columns


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--groups", type=Path, required=True, help="the --out of prepare_reranker")
    parser.add_argument("--base", required=True, help="model folder that is the start")
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--epochs", type=float, default=2.0)
    parser.add_argument("--learning-rate", type=float, default=1e-4)
    parser.add_argument("--batch", type=int, default=48, help="queries a step")
    parser.add_argument("--steps", type=int, default=-1, help="stop after so many [default: --epochs]")
    args = parser.parse_args()
    with (args.groups / "groups.jsonl").open(encoding="utf-8") as lines:
        groups = [json.loads(line) for line in lines]
    weights = json.loads((args.groups / "weights.json").read_text())
    names = [name for name in weights["teacher"] if name.startswith("teacher-")]
    places, vectors = texts_and_vectors([args.groups / f"{name}.pickle" for name in names])
    columns = rows_of(groups, places)
    print(f"{len(columns['query'])} rows of {len(groups)} groups; {weights}", flush=True)
    model = ByLength(args.base, device="cpu", config_kwargs={"hidden_dropout_prob": 0.0})
    model.max_seq_length = MAX_TOKENS
    teachers = {n: (weights["teacher"][n], v.astype(np.float32)) for n, v in zip(names, vectors, strict=True)}
    trainer = SentenceTransformerTrainer(
        model=model,
        args=SentenceTransformerTrainingArguments(
            output_dir=str(args.out),
            num_train_epochs=args.epochs,
            max_steps=args.steps,
            per_device_train_batch_size=args.batch,
            dataloader_drop_last=True,
            learning_rate=args.learning_rate,
            warmup_steps=0.05,
            lr_scheduler_type="linear",
            weight_decay=0.01,
            bf16=resolve_precision("auto") == "bf16",
            use_cpu=True,
            logging_steps=20,
            save_steps=100,
            save_total_limit=3,
            report_to="none",
            seed=SEED,
            disable_tqdm=True,
        ),
        train_dataset=Dataset.from_dict(columns),
        loss=Similarities(model, teachers, weights["offset"]["dense"]),
    )
    trainer.train(resume_from_checkpoint=any(args.out.glob("checkpoint-*")) or None)
    model.max_seq_length = 256
    model.save_pretrained(str(args.out / "final"), create_model_card=False)


if __name__ == "__main__":
    main()

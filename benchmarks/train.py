"""Training throughput: ``bicross train`` against sentence-transformers' trainers with their own settings.

The same base, examples, batch size, length limit, loss and optimiser on both sides; all take turns in one process. What
counts are the training steps alone. The pairs are real: sections of Python's documentation with their titles, and for
the cross-encoder each title with its section and with another's. Prints the ratios of medians and writes
``benchmarks/results/train.json``; tokens are those that are no padding.

Run: ``python benchmarks/train.py``
"""

from __future__ import annotations

import argparse
import json
import logging
import os
import tempfile
import warnings
from collections.abc import Callable
from pathlib import Path
from statistics import median
from time import perf_counter

os.environ["HF_HUB_OFFLINE"] = "1"

import torch
from datasets import Dataset
from measuring import RESULTS, technical_texts
from sentence_transformers import (
    CrossEncoder,
    CrossEncoderTrainer,
    CrossEncoderTrainingArguments,
    SentenceTransformer,
    SentenceTransformerTrainer,
    SentenceTransformerTrainingArguments,
)
from sentence_transformers.cross_encoder.losses import BinaryCrossEntropyLoss
from sentence_transformers.sentence_transformer.losses import MultipleNegativesRankingLoss

from bicross.encoders.engines.openvino import resolve_precision
from bicross.encoders.loading import DEFAULT_BI_ENCODER, DEFAULT_CROSS_ENCODER, find_model
from bicross.training.bi_encoder import BiEncoderTraining, train_bi_encoder
from bicross.training.cross_encoder import CrossEncoderTraining, train_cross_encoder
from bicross.training.dev import hold_out
from bicross.training.examples import Example
from bicross.training.groups import Group

BATCH, STEPS, ROUNDS, MAX_TOKENS = 64, 2, 3, 256


def examples() -> list[Example]:
    """First line and rest of texts of the documentation, of all lengths."""
    found = []
    for text in technical_texts(4000):
        first, _, rest = text.partition("\n")
        if len(first.split()) > 2 and len(rest.split()) > 3:
            found.append(Example(first.strip(), rest.strip()))
    unique = list({example.positive: example for example in found}.values())
    return list({example.query: example for example in unique}.values())


def timed(train: Callable[[Path], float]) -> float:
    with tempfile.TemporaryDirectory() as folder:
        return train(Path(folder) / "out")


def plain_arguments(folder: Path) -> dict[str, object]:
    return {
        "output_dir": str(folder),
        "max_steps": STEPS,
        "per_device_train_batch_size": BATCH,
        "learning_rate": 2e-5,
        "warmup_steps": 0.1,
        "save_strategy": "no",
        "use_cpu": True,
        "disable_tqdm": True,
        "report_to": [],
        "logging_strategy": "no",
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--encoders", nargs="*", default=["bi-encoder", "cross-encoder"])
    args = parser.parse_args()
    logging.disable(logging.WARNING)
    warnings.filterwarnings("ignore")
    pairs = examples()
    train, dev = hold_out(pairs, seed=1)
    dev = type(dev)(dev.name, dict(list(dev.queries.items())[:8]), dict(list(dev.documents.items())[:64]), dev.relevant)
    train = train[: BATCH * STEPS]
    assert len(train) == BATCH * STEPS, f"only {len(pairs)} examples"
    bi_encoder, cross_encoder = find_model(DEFAULT_BI_ENCODER), find_model(DEFAULT_CROSS_ENCODER)
    tokenizer = SentenceTransformer(str(bi_encoder), device="cpu").tokenizer
    limit = {"truncation": True, "max_length": MAX_TOKENS}
    tokens = sum(len(ids) for e in train for ids in tokenizer([e.query, e.positive], **limit)["input_ids"])
    labelled = [
        (example.query, (example if place % 2 else train[place - 1]).positive, float(place % 2))
        for place, example in enumerate(train)
    ]
    pair_tokens = sum(len(tokenizer(q, d, **limit)["input_ids"]) for q, d, _ in labelled)

    def plain_bi(folder: Path) -> float:
        model = SentenceTransformer(str(bi_encoder), device="cpu")
        model.max_seq_length = MAX_TOKENS
        trainer = SentenceTransformerTrainer(
            model=model,
            args=SentenceTransformerTrainingArguments(**plain_arguments(folder)),
            train_dataset=Dataset.from_dict(
                {"anchor": [e.query for e in train], "positive": [e.positive for e in train]}
            ),
            loss=MultipleNegativesRankingLoss(
                model, directions=("query_to_doc", "doc_to_query"), partition_mode="per_direction"
            ),
        )
        return run(trainer.train)

    def ours_bi(folder: Path) -> float:
        settings = BiEncoderTraining(batch=BATCH, max_tokens=MAX_TOKENS, every=10**6)
        return train_bi_encoder(train, dev, folder, settings).seconds

    def plain_cross(folder: Path) -> float:
        # it is stored in fp16, in which a CPU trains very slowly
        model = CrossEncoder(str(cross_encoder), device="cpu", model_kwargs={"dtype": torch.float32})
        model.max_seq_length = MAX_TOKENS
        trainer = CrossEncoderTrainer(
            model=model,
            args=CrossEncoderTrainingArguments(**plain_arguments(folder)),
            train_dataset=Dataset.from_dict(
                {name: [row[i] for row in labelled] for i, name in enumerate(("query", "document", "label"))}
            ),
            loss=BinaryCrossEntropyLoss(model),
        )
        return run(trainer.train)

    def ours_cross(folder: Path) -> float:
        settings = CrossEncoderTraining(batch=BATCH, max_tokens=MAX_TOKENS, every=10**6, loss="binary", group=2)
        groups = [Group(query, (document,), (label,)) for query, document, label in labelled]
        held_out = [Group("a b c", ("d e f", "g h i"), (1.0, 0.0))]
        return train_cross_encoder(groups, held_out, folder, settings).seconds

    file = RESULTS / "train.json"
    settings = {
        "precision": resolve_precision("auto"),
        "batch": BATCH,
        "steps": STEPS,
        "rounds": ROUNDS,
        "max_tokens": MAX_TOKENS,
    }
    before = json.loads(file.read_text()) if file.exists() else {}
    rows = before["rows"] if {**before, "rows": None} == {**settings, "rows": None} else {}
    for name, plain, ours, count, read in (
        ("bi-encoder", plain_bi, ours_bi, len(train), tokens),
        ("cross-encoder", plain_cross, ours_cross, len(labelled), pair_tokens),
    ):
        if name not in args.encoders:
            continue
        timed(ours)  # the first one of a process fills caches
        times: dict[str, list[float]] = {"plain": [], "ours": []}
        for turn in range(ROUNDS):
            for side in ("plain", "ours") if turn % 2 else ("ours", "plain"):
                times[side].append(timed(plain if side == "plain" else ours))
        seconds = {side: median(values) for side, values in times.items()}
        rows[name] = {
            "ratio": round(seconds["plain"] / seconds["ours"], 3),
            "ratios": [round(a / b, 3) for a, b in zip(times["plain"], times["ours"], strict=True)],
            "pairs_per_s": {side: round(count / value, 1) for side, value in seconds.items()},
            "tokens_per_s": {side: round(read / value) for side, value in seconds.items()},
            "tokens_a_pair": round(read / count, 1),
        }
        file.write_text(json.dumps({**settings, "rows": rows}, indent=1) + "\n")
        print(name, rows[name], flush=True)


def run(train: Callable[[], object]) -> float:
    started = perf_counter()
    train()
    return perf_counter() - started


if __name__ == "__main__":
    main()

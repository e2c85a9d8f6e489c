"""Fit the numbers of the first stage that come with bicross, for the default bi-encoder.

Judged queries of five collections, each weighing the same: SciFact train, NFCorpus train (400), WikiQA dev, CoSQA dev,
and 800 of CMRC 2018 dev, whose other queries test (``for_fitting`` says which). Writes
``src/bicross/models/first-stage.json``.

Run: ``python -m bicross.training.recipes.fit_first_stage --data DATA --indexes INDEXES``, where DATA has
``beir/NAME/{corpus.jsonl.gz,queries.jsonl,qrels/SPLIT.tsv}``; an index that is missing is made.
"""

from __future__ import annotations

import argparse
import json
from dataclasses import asdict
from hashlib import sha256
from pathlib import Path

from bicross.calibrating.first_stage import JudgedQuery, fit_first_stage, judged_query
from bicross.documents import read_documents
from bicross.encoders.loading import find_model, weights_sha256
from bicross.index.first_stage import FirstStage
from bicross.opening import open_or_create
from bicross.training.recipes.prepare_reranker import Collection, read_beir

#: Collection, split, and of how many of its queries; None for all.
FITTED_ON: list[tuple[str, str, int | None]] = [
    ("scifact", "train", None),
    ("nfcorpus", "train", 400),
    ("wikiqa-tok", "dev", None),
    ("cosqa", "dev", None),
    ("cmrc2018-dev-zh", "test", 800),
]
LANGUAGES = {"cmrc2018-dev-zh": "zh"}


def for_fitting(query_ids: list[str], number: int | None) -> list[str]:
    """The first so many by the SHA-256 of their ids: a choice that depends on nothing else."""
    return sorted(query_ids, key=lambda name: sha256(name.encode()).hexdigest())[:number]


def judged(source: Collection, corpus: Path, indexes: Path, number: int | None) -> list[JudgedQuery]:
    with open_or_create(indexes / source.name, language=LANGUAGES.get(source.name, "en")) as index:
        index.add(read_documents([corpus]))
        chosen = for_fitting(list(source.queries), number)
        rows = [judged_query(index, source.queries[name], source.qrels[name]) for name in chosen]
    kept = [row for row in rows if row is not None]
    print(f"{source.name}: {len(chosen)} queries, {len(kept)} that teach something", flush=True)
    return kept


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--indexes", type=Path, required=True, help="where indexes of the collections are kept")
    parser.add_argument("--out", type=Path, default=Path(__file__).parents[2] / "models" / "first-stage.json")
    args = parser.parse_args()
    collections = [
        judged(
            read_beir(args.data / "beir" / name, split, 1),
            args.data / "beir" / name / "corpus.jsonl.gz",
            args.indexes,
            number,
        )
        for name, split, number in FITTED_ON
    ]
    numbers: FirstStage = fit_first_stage(collections)
    fitted = {weights_sha256(find_model("all-MiniLM-L6-v2")): asdict(numbers)}
    args.out.write_text(json.dumps(fitted, indent=2) + "\n", encoding="utf-8")
    print(args.out.read_text(encoding="utf-8"))


if __name__ == "__main__":
    main()

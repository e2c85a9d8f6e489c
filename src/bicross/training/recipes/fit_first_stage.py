"""Fit the numbers of the first stage that come with bicross, for the default bi-encoder or another one.

Judged queries of five collections, each weighing the same: SciFact train, NFCorpus train (400), WikiQA dev, CoSQA dev,
and 800 of CMRC 2018 dev, whose other queries test (``for_fitting`` says which). With ``--held-out`` only those that the
training of the shipped models did not see, for a model that came of it. Writes
``src/bicross/models/first-stage.json``, beside what else is there.

Run: ``python -m bicross.training.recipes.fit_first_stage --data DATA --indexes INDEXES``, where DATA has
``beir/NAME/{corpus.jsonl.gz,queries.jsonl,qrels/SPLIT.tsv}``; an index that is missing is made.
"""

from __future__ import annotations

import argparse
import csv
import json
from collections.abc import Collection, Iterable
from dataclasses import asdict
from hashlib import sha256
from pathlib import Path

from bicross.calibrating.first_stage import JudgedQuery, fit_first_stage, judged_query
from bicross.documents import read_documents
from bicross.encoders.loading import DEFAULT_BI_ENCODER, find_model, weights_sha256
from bicross.opening import open_or_create
from bicross.training.recipes.sources import held_out

#: Collection, split, and of how many of its queries; None for all.
FITTED_ON: list[tuple[str, str, int | None]] = [
    ("scifact", "train", None),
    ("nfcorpus", "train", 400),
    ("wikiqa-tok", "dev", None),
    ("cosqa", "dev", None),
    ("cmrc2018-dev-zh", "test", 800),
]
LANGUAGES = {"cmrc2018-dev-zh": "zh"}


def for_fitting(collection: str, split: str, query_ids: Iterable[str]) -> set[str]:
    """Which queries of a split the numbers are fitted on; a test takes the others.

    The first so many by the SHA-256 of their ids: a choice that depends on nothing else.
    """
    number = {(name, part): number for name, part, number in FITTED_ON}.get((collection, split), 0)
    return set(sorted(query_ids, key=lambda name: sha256(name.encode()).hexdigest())[:number])


def place_of(indexes: Path, collection: str, model: str = DEFAULT_BI_ENCODER) -> Path:
    """Where the index of a collection by a bi-encoder is kept."""
    return indexes / (collection if model == DEFAULT_BI_ENCODER else f"{collection}-{Path(model).name}")


def judged(folder: Path, split: str, indexes: Path, model: str, only: Collection[str] | None) -> list[JudgedQuery]:
    qrels: dict[str, dict[str, int]] = {}
    with (folder / "qrels" / f"{split}.tsv").open(encoding="utf-8") as lines:
        for query_id, document_id, grade in list(csv.reader(lines, delimiter="\t"))[1:]:
            qrels.setdefault(query_id, {})[document_id] = int(grade)
    chosen = for_fitting(folder.name, split, qrels) if only is None else set(only)
    with open_or_create(
        place_of(indexes, folder.name, model), model, language=LANGUAGES.get(folder.name, "en")
    ) as index:
        index.add(read_documents([folder / "corpus.jsonl.gz"]))
        queries = [query for query in read_documents([folder / "queries.jsonl"]) if query.id in chosen]
        rows = [judged_query(index, query.text, qrels[query.id]) for query in queries]
    kept = [row for row in rows if row is not None]
    print(f"{folder.name}: {len(queries)} queries, {len(kept)} that teach something", flush=True)
    return kept


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--indexes", type=Path, required=True, help="where indexes of the collections are kept")
    parser.add_argument("--out", type=Path, default=Path(__file__).parents[2] / "models" / "first-stage.json")
    parser.add_argument("--model", default=DEFAULT_BI_ENCODER, help="the bi-encoder")
    parser.add_argument("--held-out", action="store_true", help="only queries that no training saw")
    args = parser.parse_args()
    kept_out = held_out(args.data) if args.held_out else {}
    numbers = fit_first_stage(
        [
            judged(args.data / "beir" / name, split, args.indexes, args.model, kept_out.get(name))
            for name, split, _ in FITTED_ON
        ]
    )
    before = json.loads(args.out.read_text(encoding="utf-8")) if args.out.is_file() else {}
    fitted = before | {weights_sha256(find_model(args.model)): asdict(numbers)}
    args.out.write_text(json.dumps(fitted, indent=2) + "\n", encoding="utf-8")
    print(args.out.read_text(encoding="utf-8"))


if __name__ == "__main__":
    main()

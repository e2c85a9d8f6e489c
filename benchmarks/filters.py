"""Recall and time of filtered searches over a million chunks, from filters that one in a hundred fits to none at all.

Searches the index that ``benchmarks/index.py`` built, with the same real questions; recall is against an exact search
among what fits. Prints a table and writes ``benchmarks/results/filters.json``.

Run: ``python benchmarks/filters.py`` after ``python benchmarks/index.py``
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

import numpy as np
from growth import exact, median_ms, question
from vectors import Precomputed

from bicross import LocalIndex

RESULTS = Path(__file__).parent / "results" / "filters.json"
FILTERS = {
    "part == 7": 0.01,
    "year == 2000": 1 / 35,
    "part < 10": 0.1,
    'lang == "zh"': 1 / 3,
    "part >= 50": 0.5,
    "not part == 7": 0.99,
    "": 1.0,
}
QUERIES = 100
TOP = 10


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--work", type=Path, default=Path(".bench/index"), help="of benchmarks/index.py")
    parser.add_argument("--n", type=int, default=1_000_000)
    parser.add_argument("--into", type=Path, default=RESULTS)
    args = parser.parse_args()
    folder = args.work / str(args.n)
    queries = np.load(folder / "queries.npy")
    # every tenth: questions of both languages
    asked = [question(query, 0, "dense") for query in queries[:: len(queries) // QUERIES][:QUERIES]]
    rows = []
    print(f"{'filter':<20}{'fit':>8}{'recall@10':>11}{'median ms':>11}")
    with LocalIndex.open(folder / "bicross" / "index", Precomputed()) as index:
        for text, share in FILTERS.items():
            condition = index.condition(text or None)
            shares = []
            for asking in asked:
                found = {c.chunk.document_id for c in index.retrieve(asking, TOP, condition).candidates}
                truth = exact(index, np.array(asking.vector, np.float32), text or None)
                shares.append(len(found & truth) / len(truth))

            def search(number: int, where: object = condition) -> object:
                return index.retrieve(asked[number % QUERIES], TOP, where)  # type: ignore[arg-type]

            row = {"filter": text, "fit": round(share, 4), "recall_at_10": round(float(np.mean(shares)), 4)}
            rows.append({**row, "median_ms": median_ms(search)})
            print(f"{text or 'none':<20}{share:>8.1%}{row['recall_at_10']:>11}{rows[-1]['median_ms']:>11}", flush=True)
    args.into.write_text(json.dumps(rows, indent=1) + "\n")


if __name__ == "__main__":
    main()

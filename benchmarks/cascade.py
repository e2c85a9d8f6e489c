"""What a cascade would be worth: a quick cross-encoder reads first, the bundled one reads what it leaves.

Both read the 100 best chunks of some queries of four collections to the end. From that it follows, with everything
fitted on four fifths of the queries and applied to the fifth, what reading with one model and with two is worth, and
what it costs, in pairs of the larger one. How much quicker the quick one is gets measured on the way, in turns. Prints
a table and writes ``benchmarks/results/cascade.json``.

Run: ``python benchmarks/cascade.py --data DATA --indexes INDEXES --quick bicross-reranker-minilm-l3``.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from statistics import median
from time import perf_counter
from typing import Any

import numpy as np
from second_stage import POOLED, asked

from bicross import CrossEncoder
from bicross.calibrating.fitting import FOLDS, fit_two_stages
from bicross.calibrating.judging import name_of, read_query
from bicross.calibrating.pools import Pool, pool
from bicross.calibrating.stopping import pairs_read
from bicross.index.retrieval import DEPTH
from bicross.opening import open_or_create
from bicross.search.two_stages import TwoStages

RESULTS = Path(__file__).parent / "results" / "cascade.json"

#: Of a query: nDCG@10, pairs that the quick one read, pairs that the other one read.
Outcome = tuple[float, int, int]
Both = tuple[Pool, Pool]  # with the logits of the large one, and of the quick one
Way = Callable[[Sequence[Both], Sequence[Both]], list[Outcome]]  # fitted on the first, applied to the second


def stopped(p: Pool, numbers: TwoStages) -> int:
    """Where reading stops."""
    assert numbers.stopping
    return pairs_read(p, numbers.stopping, numbers.logit, numbers.evidence)


def ndcg(p: Pool, numbers: TwoStages, read: int) -> float:
    return p.ndcg(numbers.final(p.logits, p.evidence)[:read])


def sifted(both: Both, numbers: TwoStages, read: int) -> Pool:
    """What the large one gets after the quick one has read so many, in the quick one's order."""
    large, quick = both
    final = numbers.final(quick.logits, quick.evidence)[:read]
    order = np.argsort(-final, kind="stable")
    documents = np.unique(large.documents[:read][order], return_inverse=True)[1]
    return Pool(documents, final[order], large.logits[order], large.grades[order], large.ideal, large.weight)


def adaptive(train: Sequence[Both], test: Sequence[Both]) -> list[Outcome]:
    numbers = fit_two_stages([large for large, _ in train], "")
    return [(ndcg(large, numbers, read := stopped(large, numbers)), 0, read) for large, _ in test]


def first(depth: int) -> Way:
    """The large one alone reads the first so many."""

    def run(train: Sequence[Both], test: Sequence[Both]) -> list[Outcome]:
        numbers = fit_two_stages([large for large, _ in train], "")
        return [(ndcg(large, numbers, depth), 0, min(depth, len(large.logits))) for large, _ in test]

    return run


def cascade(whole: bool) -> Way:
    def run(train: Sequence[Both], test: Sequence[Both]) -> list[Outcome]:
        first = fit_two_stages([quick for _, quick in train], "")

        def passed(both: Both) -> tuple[int, Pool]:
            read = len(both[1].logits) if whole else stopped(both[1], first)
            return read, sifted(both, first, read)

        then = fit_two_stages([passed(both)[1] for both in train], "")
        outcomes = []
        for read, p in map(passed, test):
            last = stopped(p, then)
            outcomes.append((ndcg(p, then, last), read, last))
        return outcomes

    return run


def row(name: str, way: Way, read: Sequence[Both], cost: float) -> dict[str, Any]:
    """A way on all queries, each with what was fitted without it."""
    outcomes: list[Outcome] = []
    for fold in range(FOLDS):
        outcomes += way([both for i, both in enumerate(read) if i % FOLDS != fold], read[fold::FOLDS])
    means = np.mean(outcomes, axis=0)
    values = dict(zip(("nDCG@10", "read by the quick one", "read by the other"), means.round(4).tolist(), strict=True))
    return {"way": name, **values, "cost in pairs": round(float(means[1] * cost + means[2]), 1)}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--indexes", type=Path, required=True)
    parser.add_argument("--quick", type=Path, required=True)
    parser.add_argument("--limit", type=int, default=60, help="queries of each set")
    args = parser.parse_args()
    large, quick = CrossEncoder(), CrossEncoder(args.quick)
    read: list[Both] = []
    ratios, alike = [], []
    for name in POOLED:
        collection, split = name.split("/")
        queries, qrels = asked(args.data / "beir" / collection, split, args.limit)
        with open_or_create(args.indexes / collection) as index:
            way = index.first_stage or "rrf"
            for query_id, text in queries:
                started = perf_counter()
                found = read_query(index, large, query_id, text, qrels[query_id], [way])
                between = perf_counter()
                again = read_query(index, quick, query_id, text, qrels[query_id], [way])
                ratios.append((perf_counter() - between) / (between - started))
                p, q = (pool(replace(f, weight=1 / len(queries)), name_of(way), DEPTH) for f in (found, again))
                alike.append(float(np.corrcoef(p.logits, q.logits)[0, 1]))
                read.append((p, q))
        print(name, len(queries), "queries", flush=True)
    cost = median(ratios)
    rows = [
        row("one model, all 100", first(DEPTH), read, cost),
        row("one model, adaptive", adaptive, read, cost),
        row("cascade, the quick one reads all", cascade(whole=True), read, cost),
        row("cascade, both adaptive", cascade(whole=False), read, cost),
    ]
    same = round(rows[-1]["cost in pairs"])  # what the larger one alone makes of the same cost
    rows.append(row(f"one model, the first {same}", first(same), read, cost))
    for values in rows:
        print(values)
    about = {"queries": len(read), "time of a pair, quick by large": round(cost, 3)}
    about["correlation of the logits of a query"] = round(float(np.mean(alike)), 3)
    print(about)
    RESULTS.write_text(json.dumps({**about, "ways": rows}, indent=1) + "\n")


if __name__ == "__main__":
    main()

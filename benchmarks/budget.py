"""How well ``budget_ms`` is kept: searches over real collections, their whole time, and how deep they got.

Prints a table and writes ``benchmarks/results/budget.json``. The machine should have nothing else to do.

Run: ``python benchmarks/budget.py --data DATA --indexes INDEXES`` (see ``second_stage.py``)
"""

from __future__ import annotations

import argparse
import gc
import json
import os
import shutil
import tempfile
from pathlib import Path
from time import perf_counter

import numpy as np
from second_stage import asked

import bicross
from bicross import CrossEncoder, Searcher

RESULTS = Path(__file__).parent / "results" / "budget.json"
SETS = ("scifact/test", "nfcorpus/dev", "cranfield/test")
BUDGETS = (100, 200)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--indexes", type=Path, required=True)
    parser.add_argument("--limit", type=int, default=150, help="queries of each set")
    args = parser.parse_args()
    judge = CrossEncoder()
    taken: dict[int, list[float]] = {budget: [] for budget in BUDGETS}
    depth: dict[int, list[int]] = {budget: [] for budget in BUDGETS}
    for name in SETS:
        collection, split = name.split("/")
        queries, _ = asked(args.data / "beir" / collection, split, args.limit)
        with tempfile.TemporaryDirectory() as temporary:
            copy = shutil.copytree(args.indexes / collection, Path(temporary) / "index")
            with bicross.open(copy) as index:
                searcher = Searcher(index, judge)
                searcher.warm_up()
                gc.collect()
                for number, (_, text) in enumerate(queries):
                    budget = BUDGETS[number % len(BUDGETS)]  # in turns
                    started = perf_counter()
                    result = searcher.search(text, candidates=100, budget_ms=budget)
                    taken[budget].append(1e3 * (perf_counter() - started))
                    depth[budget].append(result.reading.read if result.reading else 0)
    rows = [
        {
            "budget_ms": budget,
            "searches": len(taken[budget]),
            "over by more than 10 %": round(float(np.mean(np.array(taken[budget]) > 1.1 * budget)), 4),
            **{f"p{p} ms": round(float(np.percentile(taken[budget], p)), 1) for p in (50, 95, 99, 100)},
            "pairs read, median": float(np.median(depth[budget])),
        }
        for budget in BUDGETS
    ]
    for row in rows:
        print(row)
    about = {"cores": os.cpu_count(), "load": os.getloadavg()[0], "sets": SETS}
    RESULTS.write_text(json.dumps({"about": about, "budgets": rows}, indent=1) + "\n")


if __name__ == "__main__":
    main()

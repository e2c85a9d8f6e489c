"""What indexing costs per document and what a search takes, as the corpus grows from a thousand to a million.

One index grows; at each size the cost of the documents added since the last one, in one run, is divided by their
number: storing them, their words, the catalogue, and the engine's work of putting them in order, all but embedding,
which costs the same for each. A graph is built once there are more than 50,000. The memory is the most that the process
had up to then, and what of it is its own and not of files. Then the index is searched by meaning, by words and by both,
with and without a filter that 1 % fit; recall is against an exact search of the same engine. Prints a table, writes
``benchmarks/results/growth.json`` and draws ``growth.png``. Vectors are those of ``vectors.py``.

Run: ``python benchmarks/growth.py --data folder --embedded folder``
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import shutil
import statistics
import subprocess
import sys
from collections.abc import Callable
from itertools import chain
from pathlib import Path
from time import perf_counter, process_time
from typing import Any

import numpy as np
from vectors import Precomputed, Vectors, blocks, documents, vectors_and_queries

from bicross import LocalIndex
from bicross.index import shard as shards
from bicross.index.lexical import query_weights
from bicross.index.retrieval import Question

RESULTS = Path(__file__).parent / "results"
SIZES = (1_000, 10_000, 100_000, 1_000_000)
QUERIES = 200
TOP = 10
NARROW = "part == 7"


class OwnMemory:
    """The most memory that the process has of its own, files that it maps left out, looked at twice a second."""

    def __enter__(self) -> OwnMemory:
        self.peak_mb = 0.0
        self._watch = subprocess.Popen(
            [sys.executable, "-c", _WATCH, str(os.getpid())], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        return self

    def __exit__(self, *_: object) -> None:
        said, _ = self._watch.communicate("\n")
        self.peak_mb = float(said)


# in a process of its own: the engine holds the interpreter's lock while it builds the graph
_WATCH = """
import re, select, sys
peak = 0
while True:
    status = open(f"/proc/{sys.argv[1]}/status").read()
    peak = max(peak, int(re.search(r"RssAnon:\\s+(\\d+)", status)[1]))
    if select.select([sys.stdin], [], [], 0.5)[0]:
        break
print(peak / 1024)
"""


def median_ms(search: Callable[[int], object]) -> float:
    seconds = []
    for number in range(QUERIES):
        started = perf_counter()
        search(number)
        seconds.append(perf_counter() - started)
    return round(1e3 * statistics.median(seconds), 2)


def question(query: Vectors, number: int, mode: str) -> Question:
    """A vector, and words that are neither the most frequent nor the rarest."""
    rng = np.random.default_rng(number)
    words = query_weights(" ".join(f"w{rank:x}" for rank in rng.integers(20, 5000, 6)), "en")
    return Question("", [query.tolist()] if mode != "lexical" else None, words if mode != "dense" else None)


def exact(index: LocalIndex, query: Vectors, text: str | None) -> set[str]:
    """The nearest documents of an exact search."""
    limit, shards.EXACT_UP_TO = shards.EXACT_UP_TO, 10**9
    found = index.retrieve(question(query, 0, "dense"), TOP, index.condition(text)).candidates
    shards.EXACT_UP_TO = limit
    return {candidate.chunk.document_id for candidate in found}


def measure(index: LocalIndex, queries: Vectors) -> dict[str, Any]:
    row: dict[str, Any] = {}
    for name, text in (("", None), (" filtered", NARROW)):
        condition = index.condition(text)
        for mode in ("dense", "lexical", "hybrid"):
            asked = [question(query, number, mode) for number, query in enumerate(queries)]
            row[f"{mode}{name}_ms".replace(" ", "_")] = median_ms(
                lambda i, asked=asked, where=condition: index.retrieve(asked[i], TOP, where)
            )
        found = [
            {c.chunk.document_id for c in index.retrieve(question(query, 0, "dense"), TOP, condition).candidates}
            for query in queries[:100]
        ]
        truth = [exact(index, query, text) for query in queries[:100]]
        shares = [len(ids & wanted) / len(wanted) for ids, wanted in zip(found, truth, strict=True)]
        row[f"recall_at_{TOP}{name.replace(' ', '_')}"] = round(float(np.mean(shares)), 4)
    return row


def draw(rows: list[dict[str, Any]]) -> None:
    """Cost of a document, and of a search, by size."""
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    figure, (left, right) = plt.subplots(1, 2, figsize=(10, 3.8), dpi=150)
    sizes = [row["documents"] for row in rows]
    left.plot(sizes, [row["cpu_us_per_document"] for row in rows], marker="o", color="#0b6e4f", label="processor time")
    left.plot(sizes, [row["wall_us_per_document"] for row in rows], marker="o", color="#8a8f98", label="wall time")
    left.set_title("Indexing a document (without embedding)", fontsize=10)
    left.set_ylabel("microseconds", fontsize=8)
    for mode, colour in (("dense", "#0b6e4f"), ("lexical", "#b35c00"), ("hybrid", "#30508c")):
        right.plot(sizes, [row[f"{mode}_ms"] for row in rows], marker="o", color=colour, label=mode)
        filtered = [row[f"{mode}_filtered_ms"] for row in rows]
        right.plot(sizes, filtered, marker=".", ls="--", color=colour, label=f"{mode}, 1 % fit a filter")
    right.set_title("A search, ten hits (median)", fontsize=10)
    right.set_ylabel("milliseconds", fontsize=8)
    for axis in (left, right):
        axis.set_xscale("log")
        axis.set_ylim(bottom=0)
        axis.set_xlabel("documents in the index", fontsize=8)
        axis.tick_params(labelsize=7.5)
        axis.grid(alpha=0.25)
        axis.legend(fontsize=7, frameon=False)
        for side in ("top", "right"):
            axis.spines[side].set_visible(False)
    figure.tight_layout()
    figure.savefig(RESULTS / "growth.png")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True, help="holds the corpora and the questions")
    parser.add_argument("--embedded", type=Path, required=True, help="keeps the embeddings")
    parser.add_argument("--work", type=Path, default=Path(".bench/growth"), help="the index; made anew")
    parser.add_argument("--most", type=int, default=SIZES[-1], help="rows of larger sizes stay as they were measured")
    parser.add_argument("--search-only", action="store_true", help="measure the searches of a grown index once more")
    args = parser.parse_args()
    file = RESULTS / "growth.json"
    before_this = json.loads(file.read_text())["rows"] if file.exists() else []
    vectors, queries = vectors_and_queries(args.data, args.embedded, SIZES[-1])
    if args.search_only:
        with LocalIndex.open(args.work, Precomputed()) as index:
            found = measure(index, queries[:QUERIES])
            write([row | found if row["documents"] == index.count().documents else row for row in before_this])
        return
    args.work.parent.mkdir(parents=True, exist_ok=True)
    shutil.rmtree(args.work, ignore_errors=True)
    rows: list[dict[str, Any]] = []
    before = 0
    with LocalIndex.create(args.work, Precomputed()) as index:
        for size in (size for size in SIZES if size <= args.most):
            started, used = perf_counter(), process_time()
            parts = (documents(block, first) for first, block in blocks(vectors, before, size))
            with OwnMemory() as memory:
                index.add_encoded(chain.from_iterable(parts))
            new = size - before
            row = {
                "documents": size,
                "cpu_us_per_document": round(1e6 * (process_time() - used) / new),
                "wall_us_per_document": round(1e6 * (perf_counter() - started) / new),
                "peak_rss_mb": round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024),
                "peak_own_mb": round(memory.peak_mb),
                "disk_mb": round(index.bytes_on_disk() / 2**20),
                **measure(index, queries[:QUERIES]),
            }
            rows.append(row)
            print(json.dumps(row), flush=True)
            before = size
    started = perf_counter()
    with LocalIndex.open(args.work, Precomputed()) as index:
        index.nearest(queries[0].tolist(), TOP)
        rows[-1]["open_s"] = round(perf_counter() - started, 2)
    print(f"open again, with a first search: {rows[-1]['open_s']} s")
    write(rows + [row for row in before_this if row["documents"] > args.most])


def write(rows: list[dict[str, Any]]) -> None:
    """The JSON and the plot."""
    RESULTS.mkdir(exist_ok=True)
    (RESULTS / "growth.json").write_text(json.dumps({"cores": os.cpu_count(), "rows": rows}, indent=1) + "\n")
    draw(rows)


if __name__ == "__main__":
    main()

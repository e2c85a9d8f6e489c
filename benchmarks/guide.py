"""The numbers of ``docs/which-encoder.md``: what each way to answer costs, and where one beats the other.

Measures, on two judged collections in BEIR layout:

* a query through each way, as ``bicross compare`` does it: medians over queries of the larger collection;
* the cross-encoder over more and more of its chunks: how many it reads in a second;
* every title with every other, by either encoder, on a hundred titles; larger numbers are computed from the speeds;
* the cross-encoder over *every* chunk of the smaller collection, judged.

Writes ``benchmarks/results/guide.json`` and fills the page (``page.py``). The machine should have nothing else to do.

Run: ``make guide DATA=folder``, where the folder has ``beir/NAME/{corpus.jsonl.gz,queries.jsonl,qrels/SPLIT.tsv}``.
"""

from __future__ import annotations

import argparse
import csv
import json
import os
import tempfile
from collections.abc import Callable, Sequence
from itertools import combinations
from pathlib import Path
from statistics import median
from time import perf_counter
from typing import Any

import ir_measures
import numpy as np
from ir_measures import Qrel, ScoredDoc, nDCG
from page import RESULTS, WAYS, fill

import bicross
from bicross import CrossEncoder, Document, LocalIndex, Searcher
from bicross.opening import open_or_create

CANDIDATES = 50
NEIGHBOURS = 5  # of each text, whose pairs a cross-encoder judges after a bi-encoder
PAIRS = [10, 25, 50, 100, 200]
TEXTS = [100, 1_000, 10_000, 100_000]
ROUNDS = 3


def judged_queries(folder: Path, split: str, limit: int) -> tuple[list[Document], list[Qrel]]:
    """Queries that have judgements, spread evenly over all of them, and their judgements."""
    with (folder / "qrels" / f"{split}.tsv").open(encoding="utf-8") as lines:
        qrels = [
            Qrel(query, document, int(grade)) for query, document, grade in list(csv.reader(lines, delimiter="\t"))[1:]
        ]
    judged = {qrel.query_id for qrel in qrels}
    queries = [query for query in bicross.read_documents([folder / "queries.jsonl"]) if query.id in judged]
    queries = queries[:: max(1, len(queries) // limit)][:limit]
    chosen = {query.id for query in queries}
    return queries, [qrel for qrel in qrels if qrel.query_id in chosen]


def seconds_of(work: Callable[[], object]) -> float:
    """The median of a few rounds; one before them is not counted."""
    taken = []
    for run in range(ROUNDS + 1):
        started = perf_counter()
        work()
        if run:
            taken.append(perf_counter() - started)
    return median(taken)


def measure_ways(searcher: Searcher, queries: Sequence[Document]) -> dict[str, dict[str, float]]:
    """Medians over the queries of what each way costs; of the cross-encoder alone the forecast."""
    compared = [bicross.compare(searcher, q.text, candidates=CANDIDATES, every_document=False) for q in queries]
    costs = {name: [comparison.way(name).cost for comparison in compared] for name in WAYS}
    numbers = ("milliseconds", "tokens", "encodings", "pairs", "ahead")
    return {
        name: {number: round(median(getattr(cost, number) for cost in of_way), 1) for number in numbers}
        for name, of_way in costs.items()
    }


def measure_crossover(judge: CrossEncoder, query: str, index: LocalIndex) -> dict[str, Any]:
    """How long the cross-encoder takes for so many chunks, and how many it reads in a second."""
    every = sorted((candidate.chunk for candidate in index.every()), key=lambda chunk: chunk.id)
    texts = [chunk.embedded_text for chunk in every[:: max(1, len(every) // max(PAIRS))]]
    rows = []
    for number in PAIRS:
        pairs = [(query, text) for text in texts[:number]]
        tokens = judge.score(pairs).tokens
        rows.append(
            {
                "pairs": number,
                "seconds": round(seconds_of(lambda pairs=pairs: judge.score(pairs)), 3),
                "tokens_per_pair": round(tokens / number, 1),
            }
        )
    a_pair, fixed = np.polyfit(PAIRS, [row["seconds"] for row in rows], 1)
    return {"measured": rows, "within_a_second": int((1 - fixed) / a_pair)}


def measure_all_pairs(searcher: Searcher) -> dict[str, Any]:
    """Every title with every other by either encoder: measured on a hundred, computed beyond."""
    titles = list(dict.fromkeys(c.chunk.title for c in searcher.index.every() if c.chunk.title))
    titles = sorted(titles)[:: max(1, len(titles) // 1000)][:1000]
    few = titles[: TEXTS[0]]
    encoder, judge = bicross.BiEncoder(), searcher.cross_encoder
    pairs = list(combinations(few, 2))
    encode = seconds_of(lambda: encoder.encode_document(titles)) / len(titles)
    vectors = np.random.default_rng(7).standard_normal((TEXTS[2], encoder.dimension), np.float32)
    multiply = seconds_of(lambda: vectors @ vectors.T) / TEXTS[2] ** 2
    started = perf_counter()
    scored = judge.score(pairs, show_progress=False)
    score = (perf_counter() - started) / len(pairs)
    rows = []
    for texts in TEXTS:
        plan = bicross.plan_pairs(texts)
        by_vectors = plan.encodings * encode + texts**2 * multiply
        rows.append(
            {
                "texts": texts,
                "pairs": plan.pairs,
                "bi_encoder_s": by_vectors,
                "cross_encoder_s": plan.pairs * score,
                "both_s": by_vectors + min(plan.pairs, texts * NEIGHBOURS) * score,
            }
        )
    return {
        "tokens_per_pair": round(scored.tokens / len(pairs), 1),
        "encodings_per_s": round(1 / encode, 1),
        "pairs_per_s": round(1 / score, 1),
        "neighbours": NEIGHBOURS,
        "rows": rows,
    }


def measure_everything(searcher: Searcher, queries: Sequence[Document], qrels: Sequence[Qrel]) -> dict[str, Any]:
    """nDCG@10 of every way, where the cross-encoder alone reads every chunk."""
    runs: dict[str, list[ScoredDoc]] = {name: [] for name in WAYS}
    spent: dict[str, list[float]] = {name: [] for name in WAYS}
    for number, query in enumerate(queries, start=1):
        comparison = bicross.compare(searcher, query.text, candidates=CANDIDATES, every_document=True)
        for way in comparison.ways:
            runs[way.name] += [ScoredDoc(query.id, i, -rank) for rank, i in enumerate(way.order[:10])]
            spent[way.name].append(way.cost.milliseconds)
        print(f"\rquery {number} of {len(queries)}", end="", flush=True)
    print()
    ndcg = {name: ir_measures.calc_aggregate([nDCG @ 10], qrels, run)[nDCG @ 10] for name, run in runs.items()}
    return {
        "queries": len(queries),
        "chunks": searcher.index.count().chunks,
        "nDCG@10": {name: round(value, 4) for name, value in ndcg.items()},
        "milliseconds": {name: round(median(times), 1) for name, times in spent.items()},
    }


def measure(data: Path, larger: str, smaller: str, limit: int, read_all: int, indexes: Path) -> dict[str, Any]:
    judge, load = CrossEncoder(), os.getloadavg()[0]
    if load > 1:
        print(f"the machine is busy (load {load:.1f}): the times will be too long")

    def opened(name: str) -> LocalIndex:
        index = open_or_create(indexes / name)
        index.add(bicross.read_documents([data / "beir" / name / "corpus.jsonl.gz"]))
        return index

    folder, split = larger.split("/")
    queries, _ = judged_queries(data / "beir" / folder, split, limit)
    with opened(folder) as index:
        searcher = Searcher(index, judge)
        ways = measure_ways(searcher, queries)
        print(json.dumps(ways, indent=1))
        crossover = measure_crossover(judge, queries[0].text, index)
        print(json.dumps(crossover))
        all_pairs = measure_all_pairs(searcher)
        print(json.dumps(all_pairs, indent=1))
        chunks = index.count().chunks
    folder, split = smaller.split("/")
    queries, qrels = judged_queries(data / "beir" / folder, split, read_all)
    with opened(folder) as index:
        everything = measure_everything(Searcher(index, judge), queries, qrels)
    print(json.dumps(everything, indent=1))
    return {
        "about": {
            "cores": os.cpu_count(),
            "precision": judge.precision,
            "cross_encoder": judge.weights_sha256,
            "rounds": ROUNDS,
            "load_before": round(load, 1),
        },
        "ways": {"set": larger, "queries": limit, "chunks": chunks, "candidates": CANDIDATES, "costs": ways},
        "crossover": {"set": larger, **crossover},
        "all_pairs": all_pairs,
        "everything": {"set": smaller, "candidates": CANDIDATES, **everything},
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--larger", default="scifact/test", help="NAME/SPLIT whose queries are timed")
    parser.add_argument("--smaller", default="cranfield/test", help="NAME/SPLIT of which every chunk is read")
    parser.add_argument("--limit", type=int, default=30, help="queries of the larger set")
    parser.add_argument("--read-all", type=int, default=25, help="queries of the smaller set")
    parser.add_argument("--indexes", type=Path, help="keep the indexes here [default: a temporary folder]")
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        indexes = args.indexes or Path(temporary)
        guide = measure(args.data, args.larger, args.smaller, args.limit, args.read_all, indexes)
    (RESULTS / "guide.json").write_text(json.dumps(guide, indent=1) + "\n")
    fill()


if __name__ == "__main__":
    main()

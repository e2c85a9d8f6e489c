"""Whole judgements as queries and as documents, FIRE 2017 IRLeD: nDCG@10, AP, recall@100 and time a query.

``bm25s`` ranks whole documents by all words of the query, outside of bicross. The others are one index of chunks, a
document's score its best chunk's: words, meaning (the query read in up to 16 passages), both fused by the fitted
weights and by reciprocal ranks, and the fitted order reranked. Of a query so long the cross-encoder reads the beginning
only, so a search leaves that out unless it is told to (``read_all``). Each query is asked of every system in turn;
times are medians. Prints a table and writes ``benchmarks/results/legal.json``.

Run: ``python benchmarks/legal.py --data DATA --indexes INDEXES``, where DATA has ``beir/fire2017-irled``; an index that
is missing is made, which takes about half an hour on two cores.
"""

from __future__ import annotations

import argparse
import csv
import json
from pathlib import Path
from statistics import median
from time import perf_counter
from typing import Any

import bm25s
import ir_measures
from ir_measures import AP, Qrel, R, ScoredDoc, nDCG

import bicross
from bicross import CrossEncoder, Searcher
from bicross.index.lexical import terms
from bicross.opening import open_or_create

NAME = "fire2017-irled"
RESULTS = Path(__file__).parent / "results" / "legal.json"
DEPTH = 100
SYSTEMS: dict[str, dict[str, Any]] = {
    "lexical": {"mode": "lexical"},
    "dense": {"mode": "dense"},
    "hybrid": {},
    "rrf": {"fusion": "rrf"},
}
RERANKED = (20,)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--indexes", type=Path, required=True, help="where indexes of the collections are kept")
    parser.add_argument("--queries", type=int, default=None, help="ask the first so many only")
    parser.add_argument("--out", type=Path, default=RESULTS)
    args = parser.parse_args()
    folder = args.data / "beir" / NAME
    with (folder / "qrels" / "test.tsv").open(encoding="utf-8") as lines:
        qrels = [Qrel(q, d, int(grade)) for q, d, grade in list(csv.reader(lines, delimiter="\t"))[1:]]
    judged = {q.query_id for q in qrels}
    queries = [q for q in bicross.read_documents([folder / "queries.jsonl"]) if q.id in judged][: args.queries]
    asked = {query.id for query in queries}
    qrels = [q for q in qrels if q.query_id in asked]

    documents = list(bicross.read_documents([folder / "corpus.jsonl.gz"]))
    peer = bm25s.BM25()
    peer.index([terms(f"{d.title} {d.text}", "en") for d in documents], show_progress=False)

    runs: dict[str, list[ScoredDoc]] = {}
    times: dict[str, list[float]] = {}
    with open_or_create(args.indexes / NAME) as index:
        index.add(documents)
        count = index.count()
        first, second = Searcher(index), Searcher(index, CrossEncoder())
        truncated = 0
        for query in queries:
            started = perf_counter()
            ids, scores = peer.retrieve(
                [terms(query.text, "en")], k=min(DEPTH, len(documents)), show_progress=False, n_threads=1
            )
            times.setdefault("bm25s", []).append(perf_counter() - started)
            found = zip(ids[0].tolist(), scores[0].tolist(), strict=True)
            runs.setdefault("bm25s", []).extend(ScoredDoc(query.id, documents[i].id, score) for i, score in found)
            systems = [(name, first, settings) for name, settings in SYSTEMS.items()]
            systems += [(f"rerank@{n}", second, {"candidates": n, "read_all": True}) for n in RERANKED]
            for name, searcher, settings in systems:
                top = settings.get("candidates", DEPTH)
                started = perf_counter()
                hits = searcher.search(query.text, top_k=min(top, DEPTH, count.documents), **settings).hits
                times.setdefault(name, []).append(perf_counter() - started)
                runs.setdefault(name, []).extend(ScoredDoc(query.id, hit.document_id, hit.score) for hit in hits)
            truncated += index.ask(query.text, "dense").truncated
    measures = [nDCG @ 10, AP, R @ DEPTH]
    rows = {}
    print(f"{count.documents} documents, {count.chunks} chunks, {len(queries)} queries, {truncated} not read whole")
    print(f"{'':<12}" + "".join(f"{m!s:>10}" for m in measures) + f"{'ms a query':>12}{'slowest':>10}")
    for name, run in runs.items():
        values = ir_measures.calc_aggregate(measures, qrels, run)
        rows[name] = {str(m): round(values[m], 4) for m in measures}
        rows[name] |= {"ms": round(1e3 * median(times[name]), 1), "slowest_ms": round(1e3 * max(times[name]), 1)}
        print(f"{name:<12}" + "".join(f"{v:>10}" for v in list(rows[name].values())[:3]), end="")
        print(f"{rows[name]['ms']:>12}{rows[name]['slowest_ms']:>10}")
    facts = {"set": NAME, "documents": count.documents, "chunks": count.chunks, "queries": len(queries)}
    args.out.parent.mkdir(exist_ok=True)
    args.out.write_text(json.dumps({**facts, "not_read_whole": truncated, "systems": rows}, indent=1) + "\n")


if __name__ == "__main__":
    main()

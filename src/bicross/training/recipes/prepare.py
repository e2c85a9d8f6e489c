"""Gather what the shipped models learn from, with what BM25 finds for each query, in one file.

The file is small enough to be carried to a machine with a GPU, and ``train`` needs nothing else besides models: a JSON
line for each source with ``name``, ``documents`` and ``queries``; a query has ``text``, ``held_out``, ``grades`` (by
place of the document; empty where nobody judged), and ``lexical`` and ``bm25``: the best documents by BM25 and their
scores, the highest being 1.

Run: ``python -m bicross.training.recipes.prepare --data DATA --out WORK/texts.jsonl.xz``; with ``--measured`` the file
holds the test splits instead, for ``--measured`` of ``train``.
"""

from __future__ import annotations

import argparse
import json
import lzma
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import bm25s
import numpy as np
import Stemmer

from bicross.training.recipes.sources import MOST_CHARACTERS, Collection, measured, sources

#: Documents that BM25 may name for a query.
LEXICAL = 40


def lexical(documents: list[str], queries: list[str]) -> Iterator[tuple[list[int], list[float]]]:
    """For each query the best documents and their share of the highest score."""
    stemmer = Stemmer.Stemmer("english")
    engine = bm25s.BM25(k1=0.9, b=0.4)
    engine.index(bm25s.tokenize(documents, stopwords="en", stemmer=stemmer, show_progress=False), show_progress=False)
    asked = bm25s.tokenize(queries, stopwords="en", stemmer=stemmer, show_progress=False, return_ids=False)
    for words in asked:
        scores = engine.get_scores(words) if words else np.zeros(len(documents), dtype=np.float32)
        few = min(LEXICAL, len(documents))
        best = np.argpartition(-scores, few - 1)[:few]
        best = best[np.argsort(-scores[best], kind="stable")]
        best = best[scores[best] > 0]
        highest = float(scores[best[0]]) if len(best) else 1.0
        yield best.tolist(), [round(float(s) / highest, 3) for s in scores[best]]


def prepared(source: Collection) -> dict[str, Any]:
    place = {document_id: i for i, document_id in enumerate(source.documents)}
    documents = [text[:MOST_CHARACTERS] for text in source.documents.values()]
    queries = []
    found = lexical(documents, list(source.queries.values()))
    for (query_id, text), (best, scores) in zip(source.queries.items(), found, strict=True):
        grades = {str(place[d]): g for d, g in source.qrels.get(query_id, {}).items() if d in place}
        held_out = query_id in source.held_out
        queries.append({"text": text, "held_out": held_out, "grades": grades, "lexical": best, "bm25": scores})
    return {"name": source.name, "documents": documents, "queries": queries}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True, help="folder with beir/, train/ and corpora/")
    parser.add_argument("--share", type=float, default=1.0, help="of the texts and questions that nobody judged")
    parser.add_argument("--measured", action="store_true", help="the test splits")
    parser.add_argument("--out", type=Path, required=True)
    args = parser.parse_args()
    new = args.out.with_suffix(".new")
    with lzma.open(new, "wt", encoding="utf-8") as lines:
        for source in measured(args.data) if args.measured else sources(args.data, args.share):
            row = prepared(source)
            lines.write(json.dumps(row, ensure_ascii=False, separators=(",", ":")) + "\n")
            kept_out = sum(query["held_out"] for query in row["queries"])
            print(f"{source.name}: {len(row['documents'])} documents, {len(row['queries'])} queries", end="")
            print(f", {kept_out} held out" if kept_out else "", flush=True)
    new.replace(args.out)


if __name__ == "__main__":
    main()

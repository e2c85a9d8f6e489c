"""nDCG@10 of the bi-encoder, the cross-encoder alone and both stages, on judged collections in BEIR layout.

Each system orders the same candidates: the bi-encoder's 50 best documents from an index on disk (``mode="dense"``; what
words add to the first stage is measured by ``retrieval.py``). Prints a table and
writes ``benchmarks/results/quality.json``.

Run: ``make bench DATA=folder``, where the folder has ``beir/NAME/{corpus.jsonl.gz,queries.jsonl,qrels/SPLIT.tsv}``.
"""

from __future__ import annotations

import argparse
import csv
import json
import tempfile
from pathlib import Path

import ir_measures
from ir_measures import Qrel, ScoredDoc, nDCG

import bicross
from bicross import CrossEncoder, Searcher
from bicross.opening import open_or_create

RESULTS = Path(__file__).parent / "results" / "quality.json"
SYSTEMS = {"bi-encoder": "dense", "cross-encoder alone": "cross_encoder", "two stages": "final"}
SETS = ["scifact/test", "nfcorpus/dev", "cranfield/test"]


def measure(
    folder: Path, split: str, indexes: Path, cross_encoder: CrossEncoder, limit: int | None
) -> dict[str, object]:
    with (folder / "qrels" / f"{split}.tsv").open(encoding="utf-8") as lines:
        rows = list(csv.reader(lines, delimiter="\t"))[1:]
    qrels = [Qrel(query, document, int(grade)) for query, document, grade in rows]
    judged = {q.query_id for q in qrels}
    queries = [q for q in bicross.read_documents([folder / "queries.jsonl"]) if q.id in judged][:limit]
    qrels = [q for q in qrels if q.query_id in {query.id for query in queries}]
    runs: dict[str, list[ScoredDoc]] = {name: [] for name in SYSTEMS}
    milliseconds, pairs, tokens = 0.0, 0, 0
    with open_or_create(indexes / folder.name) as index:
        index.add(bicross.read_documents([folder / "corpus.jsonl.gz"]))
        chunks = index.count().chunks
        searcher = Searcher(index, cross_encoder)
        for query in queries:
            result = searcher.search(query.text, top_k=50, candidates=50, mode="dense")
            for hit in result.hits:
                for name, stage in SYSTEMS.items():
                    # ranks, not scores: a document's best chunk may be another one in each stage
                    runs[name].append(ScoredDoc(query.id, hit.document_id, -hit.scores[stage].rank))
            milliseconds += result.stages[-1].milliseconds
            pairs += result.stages[-1].items
            tokens += result.stages[-1].tokens
    ndcg = {name: ir_measures.calc_aggregate([nDCG @ 10], qrels, run)[nDCG @ 10] for name, run in runs.items()}
    return {
        "set": f"{folder.name}/{split}",
        "queries": len(queries),
        "chunks": chunks,
        "nDCG@10": {name: round(value, 4) for name, value in ndcg.items()},
        "rerank": {
            "pairs_per_query": pairs / len(queries),
            "tokens_per_pair": round(tokens / pairs, 1),
            "pairs_per_second": round(1e3 * pairs / milliseconds, 1),
        },
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--sets", nargs="*", default=SETS, help="NAME/SPLIT …")
    parser.add_argument("--cross-encoder", default=None)
    parser.add_argument("--limit", type=int, default=None, help="the first so many queries of each set")
    parser.add_argument("--out", type=Path, default=RESULTS)
    parser.add_argument(
        "--indexes", type=Path, default=None, help="keep the indexes here [default: a temporary folder]"
    )
    args = parser.parse_args()
    cross_encoder = CrossEncoder(args.cross_encoder) if args.cross_encoder else CrossEncoder()
    rows = []
    temporary = tempfile.TemporaryDirectory()
    print(f"{'set':<28}{'queries':>8}" + "".join(f"{name:>22}" for name in SYSTEMS) + f"{'pairs/s':>10}")
    for name in args.sets:
        folder, split = name.split("/")
        indexes = args.indexes or Path(temporary.name)
        row = measure(args.data / "beir" / folder, split, indexes, cross_encoder, args.limit)
        rows.append(row)
        figures = "".join(f"{value:>22.4f}" for value in row["nDCG@10"].values())
        print(f"{name:<28}{row['queries']:>8}{figures}{row['rerank']['pairs_per_second']:>10}", flush=True)
    args.out.parent.mkdir(exist_ok=True)
    args.out.write_text(json.dumps({"cross_encoder": cross_encoder.weights_sha256, "sets": rows}, indent=1) + "\n")


if __name__ == "__main__":
    main()

"""The first stage alone: nDCG@10 and recall@100 by meaning, by words, and fused, on judged collections in BEIR layout.

Every document is in an index on disk, as ``bicross index`` makes it; a document's score is its best chunk's. ``hybrid``
joins both by fitted weights, ``rrf`` by reciprocal ranks, ``weighted`` both scores by half. ``gain`` is what hybrid
gains over the better of meaning and words, with its 95 % interval over the queries; those that the weights were fitted
on are left out. Prints a table and writes ``benchmarks/results/retrieval.json``.

Run: ``make bench DATA=folder``, where the folder has ``beir/NAME/{corpus.jsonl.gz,queries.jsonl,qrels/SPLIT.tsv}``.
"""

from __future__ import annotations

import argparse
import csv
import json
import tempfile
from pathlib import Path
from typing import Any

import ir_measures
import numpy as np
from ir_measures import Qrel, R, ScoredDoc, nDCG

import bicross
from bicross import Searcher
from bicross.opening import open_or_create
from bicross.training.recipes.fit_first_stage import LANGUAGES, for_fitting

RESULTS = Path(__file__).parent / "results" / "retrieval.json"
SYSTEMS: dict[str, dict[str, Any]] = {
    "dense": {"mode": "dense"},
    "lexical": {"mode": "lexical"},
    "hybrid": {"mode": "hybrid"},
    "rrf": {"mode": "hybrid", "fusion": "rrf"},
    "weighted": {"mode": "hybrid", "dense_weight": 0.5},
}
SETS = [
    "scifact/test",
    "cranfield/test",
    "nfcorpus/dev",
    "wikiqa-tok/test",
    "cosqa/test",
    "vaswani/test",
    "msmarco-v1-dl19-pool/test",
    "cmrc2018-dev-zh/test",
]


def measure(folder: Path, split: str, indexes: Path) -> dict[str, object]:
    with (folder / "qrels" / f"{split}.tsv").open(encoding="utf-8") as lines:
        rows = list(csv.reader(lines, delimiter="\t"))[1:]
    qrels = [Qrel(query, document, int(grade)) for query, document, grade in rows]
    judged = {q.query_id for q in qrels}
    judged -= for_fitting(folder.name, split, judged)
    qrels = [q for q in qrels if q.query_id in judged]
    queries = [q for q in bicross.read_documents([folder / "queries.jsonl"]) if q.id in judged]
    runs: dict[str, list[ScoredDoc]] = {name: [] for name in SYSTEMS}
    with open_or_create(indexes / folder.name, language=LANGUAGES.get(folder.name, "en")) as index:
        index.add(bicross.read_documents([folder / "corpus.jsonl.gz"]))
        count = index.count()
        searcher = Searcher(index)
        for query in queries:
            for name, settings in SYSTEMS.items():
                hits = searcher.search(query.text, top_k=100, **settings).hits
                runs[name] += [ScoredDoc(query.id, hit.document_id, hit.score) for hit in hits]
    measures = [nDCG @ 10, R @ 100]
    found = {name: ir_measures.calc_aggregate(measures, qrels, run) for name, run in runs.items()}
    part = max(("dense", "lexical"), key=lambda name: found[name][nDCG @ 10])
    values = {n: {m.query_id: m.value for m in ir_measures.iter_calc([nDCG @ 10], qrels, runs[n])} for n in runs}
    gains = np.array([values["hybrid"].get(q, 0.0) - values[part].get(q, 0.0) for q in sorted(judged)])
    return {
        "set": f"{folder.name}/{split}",
        "queries": len(queries),
        "documents": count.documents,
        "chunks": count.chunks,
        "nDCG@10": {name: round(values[nDCG @ 10], 4) for name, values in found.items()},
        "gain": {
            "over": part,
            "nDCG@10": round(float(gains.mean()), 4),
            "interval": round(float(1.96 * gains.std(ddof=1) / np.sqrt(len(gains))), 4),
        },
        "R@100": {name: round(values[R @ 100], 4) for name, values in found.items()},
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--sets", nargs="*", default=SETS, help="NAME/SPLIT …")
    parser.add_argument("--out", type=Path, default=RESULTS)
    parser.add_argument(
        "--indexes", type=Path, default=None, help="keep the indexes here [default: a temporary folder]"
    )
    args = parser.parse_args()
    rows = []
    temporary = tempfile.TemporaryDirectory()
    print(f"{'nDCG@10 / R@100':<28}{'queries':>8}" + "".join(f"{name:>18}" for name in SYSTEMS))
    for name in args.sets:
        folder, split = name.split("/")
        row: dict[str, Any] = measure(args.data / "beir" / folder, split, args.indexes or Path(temporary.name))
        rows.append(row)
        figures = "".join(f"{row['nDCG@10'][s]:>10.4f} / {row['R@100'][s]:.3f}" for s in SYSTEMS)
        gain = f"   {row['gain']['nDCG@10']:+.4f} ± {row['gain']['interval']:.4f} over {row['gain']['over']}"
        print(f"{name:<28}{row['queries']:>8}{figures}{gain}", flush=True)
        args.out.parent.mkdir(exist_ok=True)
        args.out.write_text(json.dumps(rows, indent=1) + "\n")


if __name__ == "__main__":
    main()

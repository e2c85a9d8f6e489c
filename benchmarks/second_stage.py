"""What the second stage is worth with the numbers that come with bicross, on queries that they were not fitted on.

For each collection the default first stage's 100 best chunks are read to the end, and from that it follows what joining
the stages, their calibrated relevance and stopping early are worth. Then every relevant document of the asked queries
is taken out of a copy of the index: how many queries get no hit at all with ``min_relevance=0.5``, and how many kept a
relevant one before? Prints tables and writes ``benchmarks/results/second-stage.json``.

Run: ``python benchmarks/second_stage.py --data DATA --indexes INDEXES``, where DATA has
``beir/NAME/{corpus.jsonl.gz,queries.jsonl,qrels/SPLIT.tsv}``; an index that is missing is made.
"""

from __future__ import annotations

import argparse
import json
import random
import shutil
import tempfile
from dataclasses import asdict, replace
from pathlib import Path

import numpy as np

import bicross
from bicross import CrossEncoder, LocalIndex, Searcher
from bicross.calibrating.fitting import relevance_of, worth
from bicross.calibrating.judging import name_of, read_query
from bicross.calibrating.pools import Pool, pool
from bicross.calibrating.relevance import log_loss
from bicross.encoders.calibration import Platt
from bicross.evaluation.calibration_error import calibration_error
from bicross.evaluation.judged import Qrels, judged_queries, read_queries
from bicross.index.retrieval import DEPTH
from bicross.opening import open_or_create
from bicross.search.code import LOOKED_AT
from bicross.search.two_stages import TwoStages

RESULTS = Path(__file__).parent / "results" / "second-stage.json"

#: Together they are the bar; the others are looked at one by one.
POOLED = ("scifact/test", "nfcorpus/dev", "cranfield/test", "msmarco-v1-dl19-pool/test")
SETS = (*POOLED, "wikiqa-tok/test", "cosqa/test", "vaswani/test")
NO_ANSWER = POOLED[:3]

#: Candidates for which it is said how many are read before reading stops.
DEPTHS = (20, 50, 100)


def asked(folder: Path, split: str, limit: int | None) -> tuple[list[tuple[str, str]], Qrels]:
    """Queries of a split in an order that depends on nothing, and their judgements."""
    judged = judged_queries(folder / "queries.jsonl", folder / "qrels" / f"{split}.tsv", None)
    texts = dict(read_queries(folder / "queries.jsonl"))
    ids = sorted(judged.ids)
    random.Random(5).shuffle(ids)
    return [(i, texts[i]) for i in ids[:limit]], judged.qrels


def row(name: str, pools: list[Pool], numbers: TwoStages, judge: CrossEncoder) -> dict[str, object]:
    joined = worth(pools, TwoStages("", numbers.logit, numbers.evidence, numbers.calibration), judge.calibration)
    adaptive = worth(pools, numbers, judge.calibration)
    return {
        "set": name,
        "queries": len(pools),
        "first stage": round(float(np.mean([p.ndcg(p.evidence) for p in pools])), 4),
        "cross-encoder": round(float(np.mean([p.ndcg(p.logits) for p in pools])), 4),
        "joined": round(joined.ndcg, 4),
        "adaptive": round(adaptive.ndcg, 4),
        "read": round(adaptive.read, 3),
        "ECE": round(joined.calibration_error, 4),
        "ECE of the ten best": round(joined.top_calibration_error, 4),
    }


def _trusted(index: LocalIndex, query: str, numbers: TwoStages) -> bool:
    """Whether the logit counts for what this query finds."""
    texts = [candidate.chunk.embedded_text for candidate in index.search(query, top_k=LOOKED_AT)]
    return numbers.unread(texts) is None


def shares(pools: list[Pool], numbers: TwoStages, depth: int = DEPTH) -> list[float]:
    """The share read of each query's candidates when the first stage hands over so many."""
    cut = [
        Pool(p.documents[:depth], p.evidence[:depth], p.logits[:depth], p.grades[:depth], p.ideal, p.weight)
        for p in pools
    ]
    return [worth([p], numbers, numbers.calibration).read for p in cut]


def pooled(pools: list[Pool], numbers: TwoStages) -> dict[str, object]:
    """All pools as one, and what a bare logistic of the logit would say in place of the relevance."""
    out: dict[str, object] = {"queries": len(pools)}
    for name, fitted in (("bare logistic", TwoStages("", 1.0, 0.0, Platt())), ("fitted", numbers)):
        said, relevant = relevance_of(pools, fitted)
        out[name] = {
            "ECE": round(calibration_error(said, relevant), 4),
            "log loss": round(log_loss(said, relevant), 4),
        }
    return out


def no_answer(
    index: LocalIndex, judge: CrossEncoder, queries: list[tuple[str, str]], qrels: Qrels, name: str
) -> dict[str, object]:
    relevant = {query_id: {d for d, grade in qrels[query_id].items() if grade > 0} for query_id, _ in queries}
    searcher = Searcher(index, judge)
    kept = [
        any(hit.document_id in relevant[query_id] for hit in searcher.search(text, min_relevance=0.5).hits)
        for query_id, text in queries
    ]
    index.delete({d for documents in relevant.values() for d in documents})
    empty = [not searcher.search(text, min_relevance=0.5).hits for _, text in queries]
    return {
        "set": name,
        "queries": len(queries),
        "keep a relevant hit": round(float(np.mean(kept)), 3),
        "no hit when nothing answers": round(float(np.mean(empty)), 3),
    }


def table(rows: list[dict[str, object]]) -> None:
    for values in (list(rows[0]), *(list(r.values()) for r in rows)):
        print("".join(f"{value!s:<28}" if i == 0 else f"{value!s:>21}" for i, value in enumerate(values)))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--indexes", type=Path, required=True)
    parser.add_argument("--sets", nargs="*", default=SETS, help="NAME/SPLIT …")
    parser.add_argument("--limit", type=int, help="queries of each set")
    args = parser.parse_args()
    judge = CrossEncoder()
    rows, answers = [], []
    read: dict[int, list[float]] = {depth: [] for depth in DEPTHS}
    bar: list[Pool] = []
    numbers: TwoStages | None = None
    for name in args.sets:
        collection, split = name.split("/")
        queries, qrels = asked(args.data / "beir" / collection, split, args.limit)
        with open_or_create(args.indexes / collection) as made:
            made.add(bicross.read_documents([args.data / "beir" / collection / "corpus.jsonl.gz"]))
        with tempfile.TemporaryDirectory() as temporary:
            copy = shutil.copytree(args.indexes / collection, Path(temporary) / "index")
            with bicross.open(copy) as index:
                numbers = Searcher(index, judge).two_stages()
                way = index.first_stage or "rrf"
                if numbers is None:
                    raise SystemExit("nothing is fitted for the default models")
                found = [read_query(index, judge, i, text, qrels[i], [way]) for i, text in queries]
                pools = [pool(query, name_of(way), DEPTH) for query in found]
                alone = float(np.mean([p.ndcg(p.logits) for p in pools]))
                trusted = [_trusted(index, text, numbers) for _, text in queries]
                if not all(trusted):  # nothing is read of code: its logits do not count
                    pools = [
                        p if trust else replace(p, logits=np.zeros_like(p.logits))
                        for p, trust in zip(pools, trusted, strict=True)
                    ]
                rows.append({**row(name, pools, numbers, judge), "cross-encoder": round(alone, 4)})
                rows[-1]["read"] = round(
                    float(np.mean([r * t for r, t in zip(shares(pools, numbers), trusted, strict=True)])), 3
                )
                bar += pools if name in POOLED else []
                if any(trusted):
                    prose = [p for p, trust in zip(pools, trusted, strict=True) if trust]
                    for depth in DEPTHS:
                        read[depth].append(depth * float(np.mean(shares(prose, numbers, depth))))
                if name in NO_ANSWER:
                    answers.append(no_answer(index, judge, queries, qrels, name))
        print(rows[-1], flush=True)
    assert numbers is not None
    report = {
        "sets": rows,
        "pooled": {**row("pooled", bar, numbers, judge), **pooled(bar, numbers)} if bar else None,
        "no answer": answers,
        "read": {depth: round(float(np.mean(of_sets)), 1) for depth, of_sets in read.items()},
        "numbers": {k: v for k, v in asdict(numbers).items() if k in ("logit", "evidence")},
    }
    table(rows)
    if answers:
        table(answers)
    print(json.dumps(report["pooled"], indent=1))
    RESULTS.write_text(json.dumps(report, indent=1) + "\n")


if __name__ == "__main__":
    main()

"""What mined negatives are worth: the same bi-encoder trained with random negatives and with mined ones.

Queries, positives, order, steps and settings are the same; only where the negative of each example comes from differs.
nDCG@10 over the whole corpus on the dev split, which neither training nor mining saw: the mean of some seeds, with a
paired randomisation test over the queries. Writes ``benchmarks/results/mining.json``: a row for each collection.

Run: ``python benchmarks/mining.py --collection DATA/beir/NAME``
"""

from __future__ import annotations

import argparse
import json
import os
import random
import tempfile
from dataclasses import asdict, replace
from pathlib import Path

os.environ["HF_HUB_OFFLINE"] = "1"

import ir_measures
import numpy as np
from ir_measures import nDCG
from measuring import RESULTS

import bicross
from bicross import BiEncoder, CrossEncoder
from bicross.evaluation.collection import find_collection
from bicross.evaluation.judged import judged_queries, read_queries
from bicross.evaluation.significance import interval, p_value
from bicross.mining import MiningRules, MiningTally, mine
from bicross.opening import open_or_create
from bicross.training.bi_encoder import BiEncoderTraining, train_bi_encoder
from bicross.training.dev import Dev
from bicross.training.examples import Example


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--collection", type=Path, required=True, help="BEIR folder with the splits train and dev")
    parser.add_argument("--epochs", type=float, default=3.0)
    parser.add_argument("--batch", type=int, default=32)
    parser.add_argument("--learning-rate", type=float, default=3e-5)
    parser.add_argument("--max-tokens", type=int, default=64)
    parser.add_argument("--first", type=int, default=10, help="rank to mine from")
    parser.add_argument("--last", type=int, default=60, help="rank to mine to")
    parser.add_argument("--max-relevance", type=float, default=0.5, help="of a negative, by the cross-encoder")
    parser.add_argument("--queries", type=int, default=1500, help="of the train split, at most")
    parser.add_argument("--positives", type=int, default=1, help="of a query, at most")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--index", type=Path, default=None, help="keep the index here [default: a temporary folder]")
    args = parser.parse_args()
    place = find_collection(args.collection, "train", None, None, None)
    assert place.queries is not None and place.corpus is not None
    texts = {d.id: f"{d.title}\n{d.text}".strip() for d in bicross.read_documents([place.corpus])}
    texts = {document_id: text for document_id, text in texts.items() if text}
    queries = dict(read_queries(place.queries))
    judged = judged_queries(place.queries, place.qrels, None)
    dev = judged_queries(place.queries, args.collection / "qrels" / "dev.tsv", None)
    measured = {q: grades for q, grades in dev.qrels.items() if max(grades.values()) > 0}
    rng = random.Random(1)
    chosen = sorted(rng.sample(judged.ids, min(args.queries, len(judged.ids))))
    rules = MiningRules(first=args.first, last=args.last, count=1, max_relevance=args.max_relevance)
    tally = MiningTally()
    reader = CrossEncoder() if args.max_relevance < 1 else None
    with tempfile.TemporaryDirectory() as temporary, open_or_create(args.index or Path(temporary) / "index") as index:
        index.add(bicross.read_documents([place.corpus]))
        asked = [(query_id, queries[query_id]) for query_id in chosen]
        found_of: dict[str, list[Example]] = {}
        for e in mine(index, asked, judged.qrels, tally, rules, reader):
            example = Example(e.query, texts[e.positive_id], tuple(texts[d] for d in e.negative_ids))
            found_of.setdefault(e.query_id, []).append(example)
    mined = [e for each in found_of.values() for e in rng.sample(each, min(args.positives, len(each)))]
    pool = sorted(texts.values())
    by_chance = [replace(example, negatives=(rng.choice(pool),)) for example in mined]
    settings = BiEncoderTraining(
        epochs=args.epochs,
        batch=args.batch,
        learning_rate=args.learning_rate,
        max_tokens=args.max_tokens,
        every=10**6,
        patience=99,
    )
    few = sorted(measured)[:10]
    relevant = {q: {d for d, grade in measured[q].items() if grade > 0 and d in texts} for q in few}
    watched = Dev("a few", {q: queries[q] for q in few}, {d: texts[d] for r in relevant.values() for d in r}, relevant)

    def values(model: BiEncoder) -> np.ndarray:
        ids = list(texts)
        documents = model.encode_document(list(texts.values()))
        found = model.encode_query([queries[q] for q in measured]) @ documents.T
        run = {}
        for query_id, row in zip(measured, found, strict=True):
            best = np.argpartition(-row, 20)[:20]
            run[query_id] = {ids[i]: float(row[i]) for i in best}
        each = {m.query_id: m.value for m in ir_measures.iter_calc([nDCG @ 10], measured, run)}
        return np.array([each[q] for q in measured])

    found = {"base": values(BiEncoder(max_tokens=args.max_tokens))}
    print(f"base {found['base'].mean():.4f}", flush=True)
    seeds: dict[str, list[np.ndarray]] = {"random": [], "mined": []}
    for seed in range(1, args.seeds + 1):
        for name, examples in (("random", by_chance), ("mined", mined)):
            with tempfile.TemporaryDirectory() as temporary:
                folder = Path(temporary) / name
                train_bi_encoder(examples, watched, folder, replace(settings, seed=seed))
                seeds[name].append(values(BiEncoder(folder, max_tokens=args.max_tokens)))
            print(f"{name} {seed} {seeds[name][-1].mean():.4f}", flush=True)
    found |= {name: np.mean(each, axis=0) for name, each in seeds.items()}
    result = {
        "collection": args.collection.name,
        "queries": len(measured),
        "documents": len(texts),
        "examples": len(mined),
        "rules": asdict(rules),
        "mined": asdict(tally),
        "settings": asdict(settings),
        "ndcg": {name: round(float(v.mean()), 4) for name, v in found.items()},
        "intervals": {name: [round(x, 4) for x in interval(v)] for name, v in found.items()},
        "each_seed": {name: [round(float(v.mean()), 4) for v in each] for name, each in seeds.items()},
        "p_mined_against_random": round(p_value(found["mined"] - found["random"], "randomisation"), 4),
    }
    file = RESULTS / "mining.json"
    others = json.loads(file.read_text()) if file.is_file() else []
    rows = [row for row in others if row["collection"] != result["collection"]] + [result]
    file.write_text(json.dumps(rows, indent=1) + "\n")
    print(json.dumps(result, indent=1))


if __name__ == "__main__":
    main()

"""Fit what joins the cross-encoder's logits and the cosine in the verdict over pairs, on judged pairs.

``pairs-judged.tsv`` beside this script names 206 pairs of questions and titles by their ids, drawn evenly from ranges
of the cosine between .6 and 1, and says whether both mean the same: whether who has the answer to one needs none to the
other. One judge read them all, without seeing scores. Drawing by the cosine leaves the probability of a score as it is,
but not the share of pairs that mean the same.

Prints log loss and AUC in cross-validation (5 folds, 10 times), with and without the logits, and the numbers for the
key ``pairs`` of ``bicross.json``; ``--write`` stores them there. The highest logit follows from the weights: the pooler
ends in tanh, so that no logit exceeds the sum of the classifier's absolute weights and its bias.

Run: ``python benchmarks/pairs_fit.py --data folder`` with the extra ``train``.
"""

from __future__ import annotations

import argparse
import csv
import gzip
import json
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from safetensors.numpy import load_file
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import log_loss, roc_auc_score
from sklearn.model_selection import RepeatedStratifiedKFold

from bicross import BiEncoder, CrossEncoder
from bicross.encoders.calibration import FILE

JUDGED = Path(__file__).with_name("pairs-judged.tsv")
EVIDENCE = 80


def texts_by_id(data: Path) -> dict[str, str]:
    return dict(_named(data))


def _named(data: Path) -> Iterator[tuple[str, str]]:
    for name in ("cosqa", "wikiqa-tok"):
        with (data / "beir" / name / "queries.jsonl").open(encoding="utf-8") as lines:
            yield from ((f"{name}/{r['_id']}", r["text"].strip()) for r in map(json.loads, lines))
    with (data / "train" / "web_queries.tsv").open(encoding="utf-8") as lines:
        yield from ((f"web/{number}", text.strip()) for number, text in (line.split("\t") for line in lines))
    with gzip.open(data / "train" / "medquad_qa_pairs.jsonl.gz") as lines:
        yield from ((f"medquad/{r['id']}", r["query"]) for r in map(json.loads, lines))
    with gzip.open(data / "corpora" / "en-mixed-100k" / "corpus.jsonl.gz") as lines:
        yield from ((f"title/{r['_id']}", r["title"].strip()) for r in map(json.loads, lines))


def cross_validated(features: np.ndarray, same: np.ndarray) -> tuple[float, float]:
    losses, areas = [], []
    for train, test in RepeatedStratifiedKFold(n_splits=5, n_repeats=10, random_state=0).split(features, same):
        model = _logistic(features[train], same[train])
        probability = model.predict_proba(features[test])[:, 1]
        losses.append(log_loss(same[test], probability))
        areas.append(roc_auc_score(same[test], probability))
    return float(np.mean(losses)), float(np.mean(areas))


def _logistic(features: np.ndarray, same: np.ndarray) -> LogisticRegression:
    return LogisticRegression(C=1e4, max_iter=5000).fit(features, same)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--write", action="store_true")
    args = parser.parse_args()
    texts = texts_by_id(args.data)
    with JUDGED.open(encoding="utf-8") as lines:
        judged = list(csv.DictReader(lines, delimiter="\t"))
    pairs = [(texts[row["a"]], texts[row["b"]]) for row in judged]
    same = np.array([int(row["same"]) for row in judged])
    bi_encoder, cross_encoder = BiEncoder(), CrossEncoder()
    left, right = (bi_encoder.encode(side).embeddings for side in zip(*pairs, strict=True))
    cosines = np.sum(left * right, axis=1)
    logits = (cross_encoder.predict(pairs) + cross_encoder.predict([(b, a) for a, b in pairs])) / 2
    print(f"{len(same)} pairs, {same.sum()} of them the same")
    score = logits + EVIDENCE * cosines
    sides = {"cosine": EVIDENCE * cosines, "mean logit": logits, f"mean logit + {EVIDENCE} cosine": score}
    for name, side in sides.items():
        print(f"{name:<28} log loss {{:.3f}}, AUC {{:.3f}}".format(*cross_validated(side[:, None], same)))
    for name, side in (("cosine", cosines), ("joined", score)):
        model = _logistic(side[:, None], same)
        slope, intercept = float(model.coef_[0, 0]), float(model.intercept_[0])
        print(f"{name}: slope {slope:.4f}, intercept {intercept:.4f}; probability .5 at {-intercept / slope:.3f}")
    probability = 1 / (1 + np.exp(-slope * score - intercept))
    for threshold in (0.3, 0.4, 0.5, 0.6, 0.7, 0.8):
        found = probability >= threshold
        print(f"threshold {threshold}: precision {same[found].mean():.2f}, recall {found[same == 1].mean():.2f}")
    weights = load_file(cross_encoder.folder / "model.safetensors")
    head = {name: weights[f"classifier.{name}"].astype(np.float64) for name in ("weight", "bias")}
    highest = float(np.abs(head["weight"]).sum() + head["bias"].sum())
    numbers = {
        "before_sha256": bi_encoder.identity["weights_sha256"],
        "logit": 1,
        "evidence": EVIDENCE,
        "slope": round(slope, 4),
        "intercept": round(intercept, 4),
        "highest_logit": np.ceil(10.1 * highest) / 10,  # room for bf16
    }
    print(json.dumps(numbers))
    if args.write:
        file = cross_encoder.folder / FILE
        stored = json.loads(file.read_text(encoding="utf-8")) | {"pairs": numbers}
        file.write_text(json.dumps(stored, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()

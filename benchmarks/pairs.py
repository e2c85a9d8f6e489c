"""``find_pairs`` against the exhaustive answer, and how long 100,000 texts take.

``recall``: the exhaustive answer embeds all texts, computes all n (n - 1) / 2 cosines, and has the cross-encoder read
every pair with a cosine of at least ``--read-from`` in both directions, without ``bicross.pairs``. A pair below it
would need a logit that the model cannot give: the least cosine in the answer and the highest logit seen stand beside
it. With ``--whole 500`` all pairs of 500 questions are read in place of these, down to a cosine of -1.

``scale``: the titles of a corpus, the most that ``--texts`` says; the report of the run, from text to clusters.

Prints tables and writes ``benchmarks/results/pairs.json``; each part has a key of its own there.

Run: ``python benchmarks/pairs.py recall --data folder`` and ``python benchmarks/pairs.py scale --data folder``.
"""

from __future__ import annotations

import argparse
import gzip
import json
import os
import resource
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from time import perf_counter

import numpy as np

from bicross import BiEncoder, CrossEncoder, find_pairs
from bicross.encoders.calibration import FILE

RESULTS = Path(__file__).parent / "results" / "pairs.json"
THRESHOLDS = (0.5, 0.3)


def questions(data: Path) -> Iterator[str]:
    """Short questions about Python, and about the world."""
    for name in ("cosqa", "wikiqa-tok"):
        with (data / "beir" / name / "queries.jsonl").open(encoding="utf-8") as lines:
            yield from (json.loads(line)["text"].strip() for line in lines)


def templates(data: Path) -> Iterator[str]:
    """Questions made from few patterns ("What are the treatments for …"), so that each has many near neighbours."""
    with gzip.open(data / "train" / "medquad_qa_pairs.jsonl.gz") as lines:
        yield from (json.loads(line)["query"].strip() for line in lines)


def titles(data: Path) -> Iterator[str]:
    with gzip.open(data / "corpora" / "en-mixed-100k" / "corpus.jsonl.gz") as lines:
        yield from filter(None, (json.loads(line)["title"].strip() for line in lines))


def exhaustive(
    texts: list[str], read_from: float, bi_encoder: BiEncoder, cross_encoder: CrossEncoder
) -> dict[str, object]:
    """Scores of all pairs by the definition of the verdict, and what ``find_pairs`` gives, at each threshold."""
    numbers = json.loads((cross_encoder.folder / FILE).read_text(encoding="utf-8"))["pairs"]
    rows = bi_encoder.encode(texts).embeddings
    left, right = np.triu_indices(len(texts), 1)
    cosines = (rows @ rows.T)[left, right]
    near = cosines >= read_from
    left, right, cosines = left[near], right[near], cosines[near]
    started = perf_counter()
    pairs = [(texts[i], texts[j]) for i, j in zip(left, right, strict=True)]
    logits = (cross_encoder.predict(pairs) + cross_encoder.predict([(b, a) for a, b in pairs])) / 2
    seconds = perf_counter() - started
    score = numbers["logit"] * logits + numbers["evidence"] * cosines
    probability = 1 / (1 + np.exp(-numbers["slope"] * score - numbers["intercept"]))
    rows_of_table = []
    for threshold in THRESHOLDS:
        same = probability >= threshold
        answer = set(zip(left[same].tolist(), right[same].tolist(), strict=True))
        report = find_pairs(texts, bi_encoder=bi_encoder, cross_encoder=cross_encoder, threshold=threshold)
        found = {tuple(sorted((int(pair.a), int(pair.b)))) for pair in report.pairs}
        rows_of_table.append(
            {
                "threshold": threshold,
                "exhaustive": len(answer),
                "found": len(found),
                "recall": round(len(answer & found) / len(answer), 4),
                "precision": round(len(answer & found) / len(found), 4),
                "lowest_cosine": round(float(cosines[same].min()), 3),
                "candidates": report.candidates,
                "scored": report.scored,
                "readings": report.readings,
                "seconds": round(sum(step.seconds for step in report.steps), 1),
            }
        )
    return {
        "texts": len(texts),
        "pairs_that_exist": len(texts) * (len(texts) - 1) // 2,
        "read_from_cosine": read_from,
        "exhaustive_readings": 2 * len(pairs),
        "exhaustive_seconds": round(seconds, 1),
        "highest_logit_seen": round(float(logits.max()), 2),
        "thresholds": rows_of_table,
    }


def recall(data: Path, read_from: float, whole: int) -> Iterator[tuple[str, dict[str, object]]]:
    bi_encoder, cross_encoder = BiEncoder(), CrossEncoder()
    asked, made = list(dict.fromkeys(questions(data))), list(dict.fromkeys(templates(data)))
    if whole:
        yield f"{whole} questions, all read", exhaustive(asked[:whole], -1.0, bi_encoder, cross_encoder)
    else:
        yield "questions", exhaustive(asked[:2000], read_from, bi_encoder, cross_encoder)
        yield "templates", exhaustive(made[:2000], read_from, bi_encoder, cross_encoder)


def scale(data: Path, count: int) -> dict[str, object]:
    texts = list(dict.fromkeys(titles(data)))[:count]
    bi_encoder, cross_encoder = BiEncoder(), CrossEncoder()
    started = perf_counter()
    report = find_pairs(texts, bi_encoder=bi_encoder, cross_encoder=cross_encoder)
    seconds = perf_counter() - started
    about = asdict(report)
    found, clusters = len(about.pop("pairs")), about.pop("clusters")
    result = about | {
        "seconds": round(seconds, 1),
        "found": found,
        "clusters": len(clusters),
        "largest_cluster": max(map(len, (c["members"] for c in clusters)), default=0),
        "cores": os.cpu_count(),
        "load_before": round(os.getloadavg()[0], 1),
        "peak_MB": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024,
        "encoder_precision": bi_encoder.precision,
    }
    print(json.dumps(result, indent=1))
    return result


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("part", choices=["recall", "scale"])
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--texts", type=int, default=100_000)
    parser.add_argument("--read-from", type=float, default=0.7, help="-1 reads all pairs: an hour and more")
    parser.add_argument("--whole", type=int, default=0, help="so many questions of which all pairs are read")
    parser.add_argument("--out", type=Path, default=RESULTS)
    args = parser.parse_args()
    if args.part == "scale":
        _store(args.out, "scale", scale(args.data, args.texts))
    else:
        for name, result in recall(args.data, args.read_from, args.whole):
            print(name, json.dumps(result, indent=1), flush=True)
            _store(args.out, f"recall, {name}", result)


def _store(file: Path, key: str, result: dict[str, object]) -> None:
    stored = json.loads(file.read_text(encoding="utf-8")) if file.exists() else {}
    file.write_text(json.dumps(stored | {key: result}, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()

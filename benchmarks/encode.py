"""bicross beside sentence-transformers with its default settings, on the same model and texts, in one process.

Both sides take turns; what is reported is the median of each and their ratio. The texts are docstrings of the running
Python. Prints a table and writes ``benchmarks/results/encode.json``.

Run: ``make bench``
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import sys
from collections.abc import Callable
from pathlib import Path
from time import perf_counter

import sentence_transformers

from bicross import BiEncoder, CrossEncoder

sys.path.insert(0, str(Path(__file__).parent.parent / "examples"))
from demo import python_documentation

RESULTS = Path(__file__).parent / "results" / "encode.json"
QUERY = "how do I parse a date from a string?"


def alternate(sides: dict[str, Callable[[], object]], rounds: int) -> dict[str, float]:
    """Median seconds of each side; one untimed run first."""
    seconds: dict[str, list[float]] = {name: [] for name in sides}
    for run in range(rounds + 1):
        for name, work in sides.items():
            started = perf_counter()
            work()
            if run:
                seconds[name].append(perf_counter() - started)
    return {name: statistics.median(values) for name, values in seconds.items()}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--texts", type=int, default=256)
    parser.add_argument("--rounds", type=int, default=5)
    args = parser.parse_args()
    documents = list(python_documentation())
    texts = [d.text for d in documents[:: max(1, len(documents) // args.texts)]][: args.texts]
    pairs = [(QUERY, text) for text in texts]
    ours, our_cross = BiEncoder(), CrossEncoder()
    theirs = sentence_transformers.SentenceTransformer(str(ours.folder), device="cpu")
    their_cross = sentence_transformers.CrossEncoder(str(our_cross.folder), device="cpu")
    their_cross.model.float()
    jobs = {
        "embed documents": {
            "bicross": lambda: ours.encode_document(texts),
            "sentence-transformers": lambda: theirs.encode(texts),
        },
        "score pairs": {
            "bicross": lambda: our_cross.predict(pairs),
            "sentence-transformers": lambda: their_cross.predict(pairs),
        },
    }
    rows = []
    print(f"{'job':<18}{'bicross/s':>12}{'s-t/s':>12}{'ratio':>8}   ({len(texts)} texts, {ours.precision})")
    for job, sides in jobs.items():
        median = alternate(sides, args.rounds)
        ratio = median["sentence-transformers"] / median["bicross"]
        rates = {name: round(len(texts) / seconds, 1) for name, seconds in median.items()}
        rows.append({"job": job, "texts": len(texts), "per_second": rates, "ratio": round(ratio, 2)})
        print(f"{job:<18}{rates['bicross']:>12}{rates['sentence-transformers']:>12}{ratio:>8.2f}", flush=True)
    RESULTS.parent.mkdir(exist_ok=True)
    about = {"precision": ours.precision, "cores": os.cpu_count(), "rounds": args.rounds, "rows": rows}
    RESULTS.write_text(json.dumps(about, indent=1) + "\n")


if __name__ == "__main__":
    main()

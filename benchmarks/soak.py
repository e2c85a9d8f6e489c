"""Long use: 16 threads share the encoders for 50,000 calls, then 1,000,000 texts stream through. Memory must not grow.

Each call's answer is compared with the one that a lone call gave. Memory is read from ``/proc/self/statm`` after a
warm-up and at the end. Prints what it saw, writes ``benchmarks/results/soak.json``, and exits with 1 where an answer
differed or memory grew by more than 64 MiB (beyond the embeddings that the stream returns).

Run: ``python benchmarks/soak.py`` (a quarter of an hour on two cores)
"""

from __future__ import annotations

import argparse
import gc
import json
import os
import random
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
from measuring import technical_texts

from bicross import BiEncoder, CrossEncoder

RESULTS = Path(__file__).parent / "results" / "soak.json"
THREADS = 16
ALLOWED_MB = 64


def resident_mb() -> float:
    gc.collect()
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE") / 2**20


def calls(count: int) -> dict[str, object]:
    """``count`` calls from 16 threads: queries, documents and pairs, mixed."""
    bi, cross = BiEncoder(), CrossEncoder()
    texts = [text[: 20 + 7 * (i % 20)] for i, text in enumerate(technical_texts(64))]
    vectors = [bi.encode_document(text) for text in texts]
    logits = cross.predict([("read a file", text) for text in texts])

    def one(number: int) -> float:
        chosen = random.Random(number).sample(range(len(texts)), 1 + number % 2)
        if number % 3 == 0:
            found = cross.predict([("read a file", texts[i]) for i in chosen])
            return float(np.abs(found - logits[chosen]).max()) / 10  # logits have ten times the spread
        found = bi.encode_document([texts[i] for i in chosen])
        return float(1 - min(found[j] @ vectors[i] for j, i in enumerate(chosen)))

    with ThreadPoolExecutor(THREADS) as threads:
        worst = max(threads.map(one, range(2000)))
        before = resident_mb()
        for start in range(0, count, 5000):
            worst = max(worst, *threads.map(one, range(start, min(start + 5000, count))))
            print(f"{start + 5000} calls, {resident_mb():.0f} MiB", flush=True)
    return {
        "threads": THREADS,
        "calls": count,
        "worst_difference": round(worst, 5),
        "grown_mb": round(resident_mb() - before, 1),
    }


def stream(count: int) -> dict[str, object]:
    """``count`` texts through ``encode_document`` from a generator."""
    bi = BiEncoder()

    def texts(how_many: int) -> Iterator[str]:
        for i in range(how_many):
            yield f"entry {i}"

    bi.encode_document(texts(20_000), output="int8")
    before = resident_mb()
    small = bi.encode_document(texts(count), output="int8")
    result = small.nbytes / 2**20
    return {
        "texts": count,
        "result_mb": round(result, 1),
        "grown_mb_beyond_result": round(resident_mb() - before - result, 1),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--calls", type=int, default=50_000)
    parser.add_argument("--texts", type=int, default=1_000_000)
    args = parser.parse_args()
    called = calls(args.calls)
    print(called, flush=True)
    streamed = stream(args.texts)
    print(streamed)
    RESULTS.write_text(json.dumps({"calls": called, "stream": streamed}, indent=1) + "\n")
    if called["worst_difference"] > 0.01 or max(called["grown_mb"], streamed["grown_mb_beyond_result"]) > ALLOWED_MB:
        sys.exit("answers differed or memory grew")


if __name__ == "__main__":
    main()

"""Lengths padded to multiples of a few tokens, against none: kernels are compiled for a shape, so fewer come up.

Docstrings of the running Python, other ones in each round, since what was compiled for a shape is kept for a while: to
embed, to embed one at a time as queries are, and to read with a question, 20 pairs at a time as a search does. All take
turns in one process. Prints the ratios of medians and writes ``benchmarks/results/lengths.json``: above 1 it is faster
than no padding beyond the longest of a batch.

Run: ``python benchmarks/lengths.py``
"""

from __future__ import annotations

import json
import random
import statistics
from time import perf_counter

from measuring import RESULTS, technical_texts

from bicross import BiEncoder, CrossEncoder
from bicross.encoders.engines import resolve_precision

STEPS = (1, 8, 16, 32)
ROUNDS, EMBEDDED, QUERIES, READ = 5, 200, 60, 8


def shortened(text: str, rng: random.Random, most: int) -> str:
    words = text.split()
    return " ".join(words[: rng.randint(3, most)])


def main() -> None:
    rng = random.Random(0)
    texts = technical_texts(100_000)
    rng.shuffle(texts)
    rows = []
    for precision in (resolve_precision("auto"), "int8"):
        encoder, reranker = BiEncoder(precision=precision), CrossEncoder(precision=precision)
        taken: dict[tuple[str, int], list[float]] = {}
        for number in range(-1, ROUNDS):  # the first one is not counted
            for step in STEPS:
                encoder.engine.step = reranker.engine.step = step
                picked = [shortened(text, rng, 200) for text in rng.sample(texts, EMBEDDED)]
                queries = [shortened(text, rng, 20) for text in rng.sample(texts, QUERIES)]
                read = [[shortened(text, rng, 200) for text in rng.sample(texts, 20)] for _ in range(READ)]
                begun = [perf_counter()]
                encoder.encode_document(picked)
                begun.append(perf_counter())
                for query in queries:
                    encoder.encode_query(query)
                begun.append(perf_counter())
                for query, candidates in zip(queries, read, strict=False):
                    reranker.predict([(query, text) for text in candidates])
                begun.append(perf_counter())
                for place, work in enumerate(("embed", "queries", "20 pairs")):
                    if number >= 0:
                        taken.setdefault((work, step), []).append(begun[place + 1] - begun[place])
        for (work, step), seconds in taken.items():
            ratio = statistics.median(taken[work, 1]) / statistics.median(seconds)
            rows.append({"precision": precision, "work": work, "step": step, "ratio": round(ratio, 3)})
            print(rows[-1], flush=True)
    (RESULTS / "lengths.json").write_text(json.dumps(rows, indent=1) + "\n")


if __name__ == "__main__":
    main()

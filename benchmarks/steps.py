"""The few pairs that a search reads at a time: small batches, as bicross makes them, against full ones.

Pairs of documentation of uneven length, eight and fourteen at a time, and all at once: no search can have that, it is
the most that there is to gain. All take turns in one process. Prints the ratios of medians and writes
``benchmarks/results/steps.json``: above 1 it is faster than full batches.

Run: ``python benchmarks/steps.py``
"""

from __future__ import annotations

import json
from unittest import mock

from measuring import RESULTS, alternate, technical_texts

from bicross import CrossEncoder

ROUNDS = 7


def main() -> None:
    reranker = CrossEncoder()
    texts = technical_texts(56)
    rows = []
    for count in (8, 14):
        pairs = [("how do I read a file", text) for text in texts]
        steps = [pairs[i : i + count] for i in range(0, len(pairs), count)]

        def small(steps: list[list[tuple[str, str]]] = steps) -> None:
            for step in steps:
                reranker.predict(step)

        def full() -> None:
            with mock.patch.object(reranker.engine, "streams", 1):
                small()

        base, cut, together = alternate([full, small, lambda pairs=pairs: reranker.predict(pairs)], ROUNDS)
        rows.append({"pairs": count, "small": round(base / cut, 3), "all_at_once": round(base / together, 3)})
        print(rows[-1], flush=True)
    result = {"precision": reranker.precision, "rounds": ROUNDS, "rows": rows}
    (RESULTS / "steps.json").write_text(json.dumps(result, indent=1) + "\n")


if __name__ == "__main__":
    main()

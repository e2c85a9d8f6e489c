"""Embedding documents: bicross beside what people use, on the same weights and texts, in one process, taking turns.

The texts are docstrings of the running Python longer than a few lines. Fidelity is the mean cosine with the float32
embeddings of sentence-transformers; a ratio is to its default. Prints a table, writes
``benchmarks/results/encode.json`` (how it was measured: ``encode-about.json``) and the plot
``benchmarks/results/speed.png``.

Run: ``make bench``
"""

from __future__ import annotations

import argparse
import tempfile
from pathlib import Path

import numpy as np
from measuring import Row, about_run, alternate, gemm_ceiling, report, technical_texts
from peers import Peer, embedders

from bicross import BiEncoder


def cosine(a: np.ndarray, b: np.ndarray) -> float:
    """Mean over the rows; not every library gives vectors of exactly unit length."""
    return float(((a * b).sum(axis=1) / np.linalg.norm(a, axis=1) / np.linalg.norm(b, axis=1)).mean())


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--texts", type=int, default=128)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--only-ours", action="store_true", help="beside the default of sentence-transformers alone")
    args = parser.parse_args()
    texts = technical_texts(args.texts)
    best = BiEncoder()
    lengths = [best.encode([text]).tokens for text in texts]
    with tempfile.TemporaryDirectory() as work:
        systems = []
        for peer in embedders(best.folder, Path(work)):
            systems.append(peer)
            if args.only_ours:
                break
        precisions = dict.fromkeys((best.precision, "f32", "int8"))
        ours = {precision: BiEncoder(precision=precision) for precision in precisions}
        systems += [Peer("bicross", name, encoder.encode_document) for name, encoder in ours.items()]
        expected = systems[0].run(texts)
        found = [np.asarray(system.run(texts)) for system in systems]
        ceiling = [gemm_ceiling()]
        seconds = alternate([lambda run=system.run: run(texts) for system in systems], args.rounds)
        ceiling.append(gemm_ceiling())
    rows = [
        Row(
            system.system,
            system.precision,
            round(len(texts) / taken, 1),
            round(sum(lengths) / taken),
            round(seconds[0] / taken, 2),
            round(cosine(vectors, expected), 5),
        )
        for system, taken, vectors in zip(systems, seconds, found, strict=True)
    ]
    ours_seconds = seconds[[(s.system, s.precision) for s in systems].index(("bicross", best.precision))]
    about = about_run(best.folder, best.precision, lengths, args.rounds, ours_seconds, max(ceiling), pairs=False)
    report("encode", "embedding documents", about, rows)


if __name__ == "__main__":
    main()

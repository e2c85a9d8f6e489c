"""Scoring pairs: one query against 100 passages, bicross beside what people use, in one process, taking turns.

The passages are docstrings of the running Python. Fidelity is the rank correlation (Spearman) of a system's scores with
the float32 logits of sentence-transformers, so that systems which squash their scores can be compared. Prints a table,
writes ``benchmarks/results/rerank.json`` (how it was measured: ``rerank-about.json``) and the plot
``benchmarks/results/speed.png``.

Run: ``make bench``
"""

from __future__ import annotations

import argparse
import tempfile
from pathlib import Path

import numpy as np
from measuring import Row, about_run, alternate, gemm_ceiling, report, technical_texts
from peers import Peer, rerankers
from scipy.stats import spearmanr

from bicross import CrossEncoder

QUERY = "how do I parse a date from a string?"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--passages", type=int, default=100)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--only-ours", action="store_true", help="beside the default of sentence-transformers alone")
    args = parser.parse_args()
    passages = [text[:1000] for text in technical_texts(args.passages)]  # about 256 tokens at most
    best = CrossEncoder()
    lengths = [best.score([(QUERY, passage)]).tokens for passage in passages]

    def scorer(encoder: CrossEncoder):
        return lambda query, listed: encoder.predict([(query, passage) for passage in listed])

    with tempfile.TemporaryDirectory() as work:
        systems = []
        for peer in rerankers(best.folder, Path(work)):
            systems.append(peer)
            if args.only_ours:
                break
        precisions = dict.fromkeys((best.precision, "f32", "int8"))
        systems += [Peer("bicross", name, scorer(CrossEncoder(precision=name))) for name in precisions]
        expected = systems[0].run(QUERY, passages)
        found = [np.asarray(system.run(QUERY, passages)) for system in systems]
        ceiling = [gemm_ceiling()]
        seconds = alternate([lambda run=system.run: run(QUERY, passages) for system in systems], args.rounds)
        ceiling.append(gemm_ceiling())
    rows = [
        Row(
            system.system,
            system.precision,
            round(len(passages) / taken, 1),
            round(sum(lengths) / taken),
            round(seconds[0] / taken, 2),
            round(float(spearmanr(scores, expected).statistic), 5),
        )
        for system, taken, scores in zip(systems, seconds, found, strict=True)
    ]
    ours_seconds = seconds[[(s.system, s.precision) for s in systems].index(("bicross", best.precision))]
    about = about_run(best.folder, best.precision, lengths, args.rounds, ours_seconds, max(ceiling), pairs=True)
    report("rerank", "scoring pairs", about, rows)


if __name__ == "__main__":
    main()

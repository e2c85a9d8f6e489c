"""Join what the dense and the lexical side found into one order."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

#: The constant of reciprocal rank fusion, as in the paper.
RRF_K = 60


def reciprocal_ranks(sides: Sequence[Mapping[str, float]]) -> dict[str, float]:
    """Reciprocal rank fusion (Cormack, Clarke and Büttcher, SIGIR 2009): the sum of 1 / (60 + rank) over the sides.

    Each side gives scores, the best first. Equal scores share a rank, so that it never depends on anything else.
    """
    fused: dict[str, float] = {}
    for side in sides:
        rank, last = 0, None
        for place, (key, score) in enumerate(side.items(), start=1):
            if score != last:
                rank, last = place, score
            fused[key] = fused.get(key, 0.0) + 1 / (RRF_K + rank)
    return fused


def weighted_scores(dense: Mapping[str, float], lexical: Mapping[str, float], dense_weight: float) -> dict[str, float]:
    """Both scores, each stretched over 0 to 1 among what was found, summed by weight; what a side lacks counts 0."""
    fused: dict[str, float] = {}
    for scores, weight in ((dense, dense_weight), (lexical, 1 - dense_weight)):
        if scores:
            low, high = min(scores.values()), max(scores.values())
            for key, score in scores.items():
                fused[key] = fused.get(key, 0.0) + weight * ((score - low) / (high - low) if high > low else 1.0)
    return fused


def convex_scores(dense: Mapping[str, float], lexical: Mapping[str, float], lexical_weight: float) -> dict[str, float]:
    """The similarity, and BM25 as a share of the query's best, summed by weight (Bruch, Gai and Ingber, TOIS 2023).

    ``dense`` has the score of every chunk; one that is not in ``lexical`` has no word of the query.
    """
    best = max(lexical.values(), default=0.0) or 1.0
    words = lexical_weight / best
    return {key: (1 - lexical_weight) * score + words * lexical.get(key, 0.0) for key, score in dense.items()}

"""Fit the two weights of the final score."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from scipy.optimize import minimize

from bicross.calibrating.pools import Floats, Pool
from bicross.errors import UsageError


def fit_weights(pools: Sequence[Pool]) -> tuple[float, float]:
    """Weights of logit and evidence that make the relevant documents likeliest under a softmax over each pool.

    That is a conditional logit (McFadden 1974), or the ListNet loss (Cao et al., ICML 2007) with two parameters. A
    document counts by the chunk that is best by the weights, so it is fitted, looked at anew, and fitted again.

    Raises:
        UsageError: No pool has both a relevant document and another one.
    """
    scale = float(np.mean([p.evidence.std() for p in pools]) or 1.0)
    weights = np.array([1.0, 1.0 / scale])
    for _ in range(3):
        rows = [row for p in pools if (row := _best_chunks(p, weights)) is not None]
        if not rows:
            raise UsageError("no query has a relevant document among its candidates: the judgements fit nothing")
        weights = _conditional_logit(rows, scale, weights)
    return float(weights[0]), float(weights[1])


def _best_chunks(p: Pool, weights: Floats) -> tuple[Floats, Floats, float] | None:
    """(documents, 2): logit and evidence of each document's best chunk; its share of the gain; the pool's weight."""
    scores = np.column_stack([p.logits, p.evidence])
    order = np.lexsort((-(scores @ weights), p.documents))
    best = order[np.unique(p.documents[order], return_index=True)[1]]
    gain = np.maximum(p.grades[best], 0).astype(np.float64)
    if not gain.any() or gain.all():
        return None
    return scores[best], gain / gain.sum(), p.weight


def _conditional_logit(rows: Sequence[tuple[Floats, Floats, float]], scale: float, start: Floats) -> Floats:
    units = np.array([1.0, 1.0 / scale])  # both parameters of one size
    total = sum(weight for _, _, weight in rows)

    def loss(parameters: Floats) -> tuple[float, Floats]:
        value, gradient = 0.0, np.zeros(2)
        for x, share, weight in rows:
            z = x @ (parameters * units)
            z -= z.max()
            p = np.exp(z)
            value += weight / total * (np.log(p.sum()) - share @ z)
            gradient += weight / total * units * (x.T @ (p / p.sum() - share))
        return value, gradient

    found = minimize(loss, start / units, jac=True, method="L-BFGS-B", bounds=[(1e-3, None), (0.0, None)])
    return np.asarray(found.x * units)

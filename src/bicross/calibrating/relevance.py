"""Fit the relevance of a score: Platt's way or isotonic, whichever promises better on queries it was not fitted on."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from scipy.optimize import isotonic_regression, minimize
from scipy.special import expit

from bicross.calibrating.pools import Floats
from bicross.encoders.calibration import Calibration, Isotonic, Platt

#: An isotonic curve is thinned to so many knots.
KNOTS = 40

#: The relevance of a knot keeps away from 0 and 1, which no number of judgements shows.
LEAST = 0.0005


def fit_platt(scores: Floats, labels: Floats, weights: Floats) -> Platt:
    """Slope and intercept of greatest likelihood, with Platt's targets just inside of 0 and 1.

    Args:
        scores: (n,).
        labels: (n,): 0 or 1.
        weights: (n,).
    """
    positive, negative = weights[labels > 0].sum(), weights[labels <= 0].sum()
    share = len(weights) / weights.sum()  # the weights as numbers of judgements
    target = np.where(labels > 0, (positive * share + 1) / (positive * share + 2), 1 / (negative * share + 2))
    centre, scale = float(scores.mean()), float(scores.std()) or 1.0
    x, w = (scores - centre) / scale, weights / weights.sum()

    def loss(parameters: Floats) -> tuple[float, Floats]:
        z = parameters[0] * x + parameters[1]
        error = w * (expit(z) - target)
        return float(w @ (np.logaddexp(0, z) - target * z)), np.array([error @ x, error.sum()])

    slope, intercept = minimize(loss, [1.0, -2.0], jac=True, method="L-BFGS-B", bounds=[(1e-3, None), (None, None)]).x
    return Platt(float(slope / scale), float(intercept - slope * centre / scale))


def fit_isotonic(scores: Floats, labels: Floats, weights: Floats) -> Isotonic:
    """Isotonic regression by pool adjacent violators (Barlow 1972); a knot in the middle of each level.

    Args:
        scores: (n,).
        labels: (n,): 0 or 1.
        weights: (n,).
    """
    values, place = np.unique(scores, return_inverse=True)
    w = np.bincount(place, weights)
    fitted = isotonic_regression(np.bincount(place, weights * labels) / w, weights=w)
    middles = np.add.reduceat(w * values, fitted.blocks[:-1]) / np.add.reduceat(w, fitted.blocks[:-1])
    levels = np.clip(fitted.x[fitted.blocks[:-1]], LEAST, 1 - LEAST)
    if len(middles) > KNOTS:
        kept = np.unique(np.linspace(0, len(middles) - 1, KNOTS).round().astype(int))
        middles, levels = middles[kept], levels[kept]
    return Isotonic(tuple(middles.tolist()), tuple(levels.tolist()))


def fit_calibration(scores: Sequence[Floats], labels: Sequence[Floats], weights: Floats, folds: int = 5) -> Calibration:
    """The better of both by log loss on held-out queries, fitted on all.

    Args:
        scores: Of each query, (n,) each.
        labels: Likewise.
        weights: Of the queries.
        folds: The queries are dealt to so many, in turn.
    """
    sizes = np.array([len(row) for row in scores])
    fold = np.repeat(np.arange(len(scores)) % folds, sizes)
    x, y, w = np.concatenate(scores), np.concatenate(labels), np.repeat(weights / np.maximum(sizes, 1), sizes)
    losses = {}
    for fit in (fit_platt, fit_isotonic):
        said = np.empty(len(x))
        for held_out in range(folds):
            rest = fold != held_out
            said[~rest] = fit(x[rest], y[rest], w[rest])(x[~rest])
        losses[fit] = log_loss(said, y, w)
    return min(losses, key=lambda fit: losses[fit])(x, y, w)


def log_loss(relevance: Floats, labels: Floats, weights: Floats | None = None) -> float:
    """Mean negative logarithm of the relevance that was given to what happened, in nats."""
    p = np.clip(np.asarray(relevance, np.float64), 1e-7, 1 - 1e-7)
    return float(np.average(-np.where(labels > 0, np.log(p), np.log1p(-p)), weights=weights))

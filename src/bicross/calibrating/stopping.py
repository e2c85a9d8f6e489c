"""Learn when to stop reading, see ``bicross.search.stopping``."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from scipy.optimize import minimize
from scipy.special import expit

from bicross.calibrating.pools import TOP, Floats, Integers, Pool
from bicross.search.stopping import STEP, Stopping

#: Reading stops so early that nDCG@10 of held-out queries is lower by no more than this; two standard errors count in,
#: because where one query in some hundred loses much, few queries do not show it.
MOST_LOST = 0.0005

FOLDS = 5


@dataclass(frozen=True)
class Walk:
    """Reading one pool to its end: what could have been known at each look, and what stopping there would have given.

    Attributes:
        features: (looks, 2), as ``Stopping.features``.
        entered: (looks,): whether a deeper candidate came into the top.
        read: (looks + 1,): pairs read; the last is all.
        ndcg: (looks + 1,).
        weight: Of the query.
    """

    features: Floats
    entered: Floats
    read: Integers
    ndcg: Floats
    weight: float

    def stop(self, stopping: Stopping) -> int:
        """The look at which the rule stops."""
        ends = stopping.chance_of_change(self.features) < stopping.below
        return int(np.argmax(ends)) if ends.any() else len(self.read) - 1


def fit_expectation(pools: Sequence[Pool]) -> tuple[float, float, float]:
    """Intercept, slope and spread of the logit given the evidence; slope and spread within queries."""
    weights = np.array([p.weight for p in pools])
    x = [p.evidence - p.evidence.mean() for p in pools]
    y = [p.logits - p.logits.mean() for p in pools]
    over = sum(w * (a @ a) / len(a) for w, a in zip(weights, x, strict=True))
    slope = float(sum(w * (a @ b) / len(a) for w, a, b in zip(weights, x, y, strict=True)) / over) if over else 0.0
    slope = max(slope, 0.0)
    intercept = float(np.average([(p.logits - slope * p.evidence).mean() for p in pools], weights=weights))
    variance = np.average([np.square(b - slope * a).mean() for a, b in zip(x, y, strict=True)], weights=weights)
    return intercept, slope, float(np.sqrt(variance)) or 1.0


def walk(p: Pool, stopping: Stopping, logit: float, evidence: float) -> Walk:
    """Read a pool batch by batch as ``bicross.search.reranking`` does."""
    n = len(p.logits)
    final = logit * p.logits + evidence * p.evidence
    enough = int(np.searchsorted(p.first, TOP)) + 1  # candidates that hold as many documents
    looks = np.arange(min(enough + STEP // 2, n), n, STEP)
    features, entered, ndcg = np.empty((len(looks), 2)), np.empty(len(looks)), []
    for i, read in enumerate(looks.tolist()):
        best, _ = p.best(final[:read])
        last = float(np.partition(best, -TOP)[-TOP])
        features[i] = stopping.features(p.logits[:read], p.evidence, last, logit, evidence)
        entered[i] = (final[read:] > last).any()
        ndcg.append(p.ndcg(final[:read]))
    return Walk(features, entered, np.append(looks, n), np.array([*ndcg, p.ndcg(final)]), p.weight)


def pairs_read(p: Pool, stopping: Stopping, logit: float, evidence: float) -> int:
    """How far the rule has a pool read."""
    walked = walk(p, stopping, logit, evidence)
    return int(walked.read[walked.stop(stopping)])


def fit_chance(walks: Sequence[Walk]) -> tuple[float, float, float]:
    """The logistic regression of whether a deeper candidate enters; every query weighs the same."""
    used = [w for w in walks if len(w.entered)]
    if not used:
        return 0.0, 0.0, 0.0
    x = np.concatenate([w.features for w in used])
    y = np.concatenate([w.entered for w in used])
    weight = np.concatenate([np.full(len(w.entered), w.weight / len(w.entered)) for w in used])
    weight /= weight.sum()

    def loss(b: Floats) -> tuple[float, Floats]:
        z = b[0] + x @ b[1:]
        error = weight * (expit(z) - y)
        ridge = 1e-4 * b[1:]
        value = weight @ (np.logaddexp(0, z) - y * z) + 0.5 * ridge @ b[1:]
        return float(value), np.array([error.sum(), *(error @ x + ridge)])

    bounds = [(None, None), (0.0, None), (None, None)]  # more expected entrants never make it less likely
    found = minimize(loss, [0.0, 1.0, 0.0], jac=True, method="L-BFGS-B", bounds=bounds).x
    return float(found[0]), float(found[1]), float(found[2])


def fit_stopping(pools: Sequence[Pool], logit: float, evidence: float) -> Stopping:
    """Fit the rule, and stop as early as held-out queries allow.

    Args:
        pools: Read to their ends.
        logit: Weight of the final score.
        evidence: Likewise.
    """
    rule = Stopping(*fit_expectation(pools), (0.0, 0.0, 0.0), 0.0)
    walks = [walk(p, rule, logit, evidence) for p in pools]
    held_out: list[tuple[Walk, Floats]] = []
    for fold in range(FOLDS):
        fitted = replace(rule, chance=fit_chance([w for i, w in enumerate(walks) if i % FOLDS != fold]))
        held_out += [(w, fitted.chance_of_change(w.features)) for w in walks[fold::FOLDS]]
    below = _earliest(held_out)
    return replace(rule, chance=fit_chance(walks), below=below)


def _earliest(held_out: Sequence[tuple[Walk, Floats]]) -> float:
    """The highest chance at which to stop that loses no more than is allowed."""
    weights = np.array([w.weight for w, _ in held_out])
    weights /= weights.sum()
    for below in np.geomspace(0.9, 0.001, 60).tolist():
        lost = []
        for w, chances in held_out:
            ends = chances < below
            lost.append(w.ndcg[-1] - w.ndcg[np.argmax(ends) if ends.any() else -1])
        mean = weights @ lost
        error = np.sqrt(np.square(weights) @ np.square(np.array(lost) - mean))
        if mean + 2 * error <= MOST_LOST:
            return float(below)
    return 0.0

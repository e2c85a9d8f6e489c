"""Fit the numbers that join both stages, and say on held-out queries what they are worth."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from bicross.calibrating.pools import TOP, Floats, Pool
from bicross.calibrating.relevance import fit_calibration, log_loss
from bicross.calibrating.stopping import fit_stopping, pairs_read
from bicross.calibrating.weights import fit_weights
from bicross.encoders.calibration import Calibration
from bicross.evaluation.calibration_error import calibration_error
from bicross.search.stopping import Stopping
from bicross.search.two_stages import TwoStages, as_json, from_json

FOLDS = 5


@dataclass(frozen=True)
class Worth:
    """Means over queries of what a way to search gives.

    Attributes:
        ndcg: nDCG@10.
        log_loss: Of the relevance of all candidates read, in nats.
        calibration_error: Expected calibration error of the same.
        top_calibration_error: Of the first ten documents alone, which are those that people see.
        read: Share of the candidates that the cross-encoder reads.
    """

    ndcg: float
    log_loss: float
    calibration_error: float
    top_calibration_error: float
    read: float


@dataclass(frozen=True)
class _Seen:
    """One query, searched: nDCG@10, share read, and of each document its relevance and whether it is relevant."""

    ndcg: float
    read: float
    said: Floats
    relevant: Floats


def fit_two_stages(
    pools: Sequence[Pool], before_sha256: str, cross_encoder_sha256: str = "", *, evidence_times: float = 1.0
) -> TwoStages:
    """Weights, relevance and stopping for pools that were read to their ends; the same as they are stored.

    Args:
        pools: Candidates with logits, evidence and grades.
        before_sha256: See ``TwoStages``.
        cross_encoder_sha256: See ``TwoStages``.
        evidence_times: The weight of the evidence is so many times what was fitted: where the pools are of a kind that
            the cross-encoder knows better than others.

    Raises:
        UsageError: No pool has a relevant document.
    """
    logit, evidence = fit_weights(pools)
    evidence *= evidence_times
    calibration = fit_relevance(pools, lambda p: logit * p.logits + evidence * p.evidence)
    stopping = fit_stopping(pools, logit, evidence)
    numbers = TwoStages(before_sha256, logit, evidence, calibration, stopping, cross_encoder_sha256)
    return from_json(as_json(numbers))


def fit_relevance(pools: Sequence[Pool], score: Callable[[Pool], Floats]) -> Calibration:
    """Relevance from the score of the candidates of a pool, each document by its best."""
    scored = [p.best(score(p)) for p in pools]
    return fit_calibration(
        [best for best, _ in scored],
        [(grades > 0).astype(np.float64) for _, grades in scored],
        np.array([p.weight for p in pools]),
    )


def cross_validated(folds: Sequence[Sequence[Pool]]) -> Worth:
    """What fitted numbers are worth on queries that they were not fitted on: everything is fitted within the folds.

    Args:
        folds: For each fold all queries in the same order, as the first stage brings them that was fitted without the
            fold. Every so-many-th query is in it.
    """
    seen = []
    for fold, pools in enumerate(folds):
        fitted = fit_two_stages([p for i, p in enumerate(pools) if i % len(folds) != fold], "")
        seen += [
            _seen(p, fitted.logit, fitted.evidence, fitted.calibration, fitted.stopping)
            for p in pools[fold :: len(folds)]
        ]
    return _worth(seen)


def worth(pools: Sequence[Pool], numbers: TwoStages | None, calibration: Calibration) -> Worth:
    """What these numbers are worth; without any the bare logit and its calibration."""
    if numbers is None:
        return _worth([_seen(p, 1.0, 0.0, calibration, None) for p in pools])
    return _worth([_seen(p, numbers.logit, numbers.evidence, numbers.calibration, numbers.stopping) for p in pools])


def relevance_of(pools: Sequence[Pool], numbers: TwoStages) -> tuple[Floats, Floats]:
    """The relevance of every document of the pools, read to their ends, and whether it is relevant (0 or 1)."""
    seen = [_seen(p, numbers.logit, numbers.evidence, numbers.calibration, None) for p in pools]
    return np.concatenate([s.said for s in seen]), np.concatenate([s.relevant for s in seen])


def _seen(p: Pool, logit: float, evidence: float, calibration: Calibration, stopping: Stopping | None) -> _Seen:
    read = pairs_read(p, stopping, logit, evidence) if stopping else len(p.logits)
    final = (logit * p.logits + evidence * p.evidence)[:read]
    best, grades = p.best(final)
    order = np.argsort(-best, kind="stable")
    said = calibration(best[order]).astype(np.float64)
    return _Seen(p.ndcg(final), read / len(p.logits), said, (grades[order] > 0).astype(np.float64))


def _worth(seen: Sequence[_Seen]) -> Worth:
    said, relevant = (np.concatenate([getattr(s, name) for s in seen]) for name in ("said", "relevant"))
    top = [np.concatenate([getattr(s, name)[:TOP] for s in seen]) for name in ("said", "relevant")]
    return Worth(
        float(np.mean([s.ndcg for s in seen])),
        log_loss(said, relevant),
        calibration_error(said, relevant),
        calibration_error(*top),
        float(np.mean([s.read for s in seen])),
    )

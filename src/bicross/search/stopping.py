"""When the rest of the candidates can hardly change the top of the list.

A logit is expected of an unread candidate from what the first stage says of it (a straight line), moved by how far the
logits of this query have been from what was expected of them so far. With the spread around that line it tells how many
of the unread ones are expected above the document that is last of the top k now. That number, and how deep the reading
has got, give the chance that any of them enters: a logistic regression, fitted on judged and unjudged queries alike by
``bicross.calibrating``, as is the chance below which reading stops.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]

#: As many readings weigh as much as the expectation that a query is like the others.
PRIOR = 4.0

#: Candidates that are read between two looks.
STEP = 8


@dataclass(frozen=True)
class Stopping:
    """What was learnt.

    Attributes:
        intercept, slope: The logit expected of a candidate: ``intercept + slope * evidence``.
        spread: Standard deviation of the logits around it, within a query.
        chance: Intercept, and weights of the logarithms of the expected number of entrants and of the pairs read.
        below: Reading stops when the chance that a deeper candidate enters is less than this.
    """

    intercept: float
    slope: float
    spread: float
    chance: tuple[float, float, float]
    below: float

    def __post_init__(self) -> None:
        numbers = [self.intercept, self.slope, self.spread, *self.chance, self.below]
        if len(self.chance) != 3 or not np.isfinite(numbers).all() or self.spread <= 0:
            raise ValueError(f"these are not the numbers of a stopping rule: {numbers}")

    def expected(self, evidence: Floats) -> Floats:
        """The logit that a candidate is expected to get, by its first-stage score."""
        return self.intercept + self.slope * evidence

    def features(
        self, logits: Floats, evidence: Floats, last: float, logit_weight: float, evidence_weight: float
    ) -> Floats:
        """(2,): the logarithms of the entrants expected and of the pairs read.

        Args:
            logits: Of the candidates read, (n,).
            evidence: First-stage scores of all candidates, (m,), in retrieval order; the first n are read.
            last: Final score of the document that is the last of the top k.
            logit_weight: Of the final score.
            evidence_weight: Likewise.
        """
        read = len(logits)
        residual = (logits - self.expected(evidence[:read])).sum() / (read + PRIOR)
        unread = evidence[read:]
        final = logit_weight * (self.expected(unread) + residual) + evidence_weight * unread
        z = (final - last) / (logit_weight * self.spread)
        entrants = 0.5 * (1 + np.tanh(0.8 * z))  # near enough to the normal distribution
        return np.log([entrants.sum() + 1e-6, max(read, 1)])

    def chance_of_change(self, features: Floats) -> Floats:
        """The chance that a deeper candidate enters the top k, of features (..., 2)."""
        x = self.chance[0] + features @ np.asarray(self.chance[1:])
        return np.asarray(0.5 * (1 + np.tanh(0.5 * x)))


def last_of_top(final: Floats, documents: list[str], top_k: int) -> float | None:
    """Final score of the last document of the top k, each with its best chunk; None where there are fewer."""
    best: dict[str, float] = {}
    for score, document in zip(final.tolist(), documents, strict=True):
        if score > best.get(document, -np.inf):
            best[document] = score
    return sorted(best.values(), reverse=True)[top_k - 1] if len(best) >= top_k else None

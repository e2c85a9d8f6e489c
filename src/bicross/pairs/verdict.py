"""Whether two texts say the same, out of the cosine and the cross-encoder's logits for both directions.

The numbers that join them are fitted for one cross-encoder and one bi-encoder, and lie in ``bicross.json`` in the
cross-encoder's folder::

    {"pairs": {"before_sha256": "...", "logit": 1, "evidence": 40, "slope": 0.36, "intercept": -11.0,
               "highest_logit": 8.7}}
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from bicross.encoders import BiEncoder, CrossEncoder
from bicross.encoders.calibration import FILE, Calibration, calibration_of
from bicross.encoders.folder import read_json
from bicross.errors import ModelError

Numbers = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Verdict:
    """``score = logit * mean logit of both directions + evidence * cosine``.

    Attributes:
        name: See ``PairReport.verdict``.
        logit, evidence: The weights.
        calibration: The probability of a score; None where the score is a cosine.
        highest_logit: No pair of texts gets a higher one; infinite where that is not known.
    """

    name: str
    logit: float
    evidence: float
    calibration: Calibration | None
    highest_logit: float = math.inf

    def scores(self, logits: npt.ArrayLike, cosines: npt.ArrayLike) -> Numbers:
        """float64, of the shape of both."""
        joined = self.evidence * np.asarray(cosines, np.float64)
        return joined + self.logit * np.asarray(logits, np.float64) if self.logit else joined

    def probability(self, score: float) -> float | None:
        if self.calibration is None:
            return None
        return float(self.calibration(score))

    def bar(self, threshold: float) -> float:
        """The score that a threshold stands for."""
        if self.calibration is None:
            return threshold
        return self.calibration.least_score(threshold)

    def floor(self, bar: float, default: float) -> float:
        """The cosine below which no logits reach the bar, or ``default`` where nothing is known."""
        if not self.evidence or math.isinf(self.highest_logit):
            return default
        return min(1.0, max(-1.0, (bar - self.logit * self.highest_logit) / self.evidence))


BY_COSINE = Verdict("cosine", 0.0, 1.0, None, 0.0)


def verdict_of(bi_encoder: BiEncoder, cross_encoder: CrossEncoder | None) -> Verdict:
    """The verdict of these models.

    Without fitted numbers for both of them it is the mean logit alone, and its relevance for queries and documents.

    Raises:
        ModelError: The numbers cannot be understood.
    """
    if cross_encoder is None:
        return BY_COSINE
    joined = _read(cross_encoder.folder)
    identity = bi_encoder.identity
    if joined and joined[0] == identity["weights_sha256"] and "truncate_dim" not in identity:
        return joined[1]
    return Verdict("relevance", 1.0, 0.0, cross_encoder.calibration)


def _read(folder: Path) -> tuple[str, Verdict] | None:
    """The hash of the bi-encoder's weights, and the verdict."""
    stored = read_json(folder / FILE, default={})
    try:
        numbers = stored.get("pairs")
        if not numbers:
            return None
        verdict = Verdict(
            "joined",
            float(numbers["logit"]),
            float(numbers["evidence"]),
            calibration_of(numbers),
            float(numbers.get("highest_logit", math.inf)),
        )
        fitted_with = str(numbers["before_sha256"])
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise ModelError(f"{folder / FILE}: cannot be understood: {error!r}") from None
    if min(verdict.logit, verdict.evidence) <= 0:
        raise ModelError(f"{folder / FILE}: the weights of pairs must be positive")
    return fitted_with, verdict

"""From scores to relevance: what is fitted on judged pairs and stored beside a cross-encoder.

``bicross.json`` in the model folder holds, for the bare logit, one of the two::

    {"calibration": {"slope": 1.1, "intercept": -2.0}}
    {"calibration": {"scores": [-4.1, 0.2, 3.0], "relevance": [0.01, 0.2, 0.9]}}
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from bicross.encoders.folder import read_json
from bicross.errors import ModelError

Scores = npt.NDArray[np.float32]

FILE = "bicross.json"


@dataclass(frozen=True)
class Platt:
    """Platt scaling: relevance = logistic(slope * score + intercept) (Platt 1999). The default is the bare logistic.

    Raises:
        ValueError: The slope is not positive (it would turn the order around), or a number is not finite.
    """

    slope: float = 1.0
    intercept: float = 0.0

    def __post_init__(self) -> None:
        if not (self.slope > 0 and np.isfinite([self.slope, self.intercept]).all()):
            raise ValueError(f"a slope must be positive and finite, not {self.slope} (intercept {self.intercept})")

    def __call__(self, scores: npt.ArrayLike) -> Scores:
        """Relevance, float32 of the same shape, between 0 and 1 and never falling as the score rises."""
        x = self.slope * np.asarray(scores, np.float64) + self.intercept
        return np.asarray(0.5 * (1.0 + np.tanh(0.5 * x)), dtype=np.float32)  # tanh does not overflow

    def least_score(self, relevance: float) -> float:
        """The least score of which the relevance reaches ``relevance``; infinite where all or none do."""
        if relevance in (0, 1):
            return math.copysign(math.inf, relevance - 0.5)
        return (math.log(relevance / (1 - relevance)) - self.intercept) / self.slope


@dataclass(frozen=True)
class Isotonic:
    """Isotonic regression (Zadrozny and Elkan, KDD 2002): straight lines between knots, level outside of them.

    Raises:
        ValueError: There is no knot, scores do not rise strictly, or relevance falls or leaves 0 to 1.
    """

    scores: tuple[float, ...]
    relevance: tuple[float, ...]

    def __post_init__(self) -> None:
        x, y = np.asarray(self.scores, np.float64), np.asarray(self.relevance, np.float64)
        if not len(x) or x.shape != y.shape or not np.isfinite(x).all() or (np.diff(x) <= 0).any():
            raise ValueError("the scores of a calibration must be finite and rise, one for each relevance")
        if not ((y >= 0) & (y <= 1)).all() or (np.diff(y) < 0).any():
            raise ValueError("the relevance of a calibration must be between 0 and 1 and never fall")

    def __call__(self, scores: npt.ArrayLike) -> Scores:
        """Relevance, float32 of the same shape, between 0 and 1 and never falling as the score rises."""
        found = np.interp(np.asarray(scores, np.float64), self.scores, self.relevance)
        return np.asarray(found, dtype=np.float32)

    def least_score(self, relevance: float) -> float:
        """The least score of which the relevance reaches ``relevance``; infinite where all or none do."""
        if relevance <= self.relevance[0]:
            return -math.inf
        if relevance > self.relevance[-1]:
            return math.inf
        after = int(np.searchsorted(self.relevance, relevance))
        (x0, x1), (y0, y1) = self.scores[after - 1 : after + 1], self.relevance[after - 1 : after + 1]
        return x0 + (x1 - x0) * (relevance - y0) / (y1 - y0)


Calibration = Platt | Isotonic


def calibration_of(stored: Mapping[str, Any]) -> Calibration:
    """A calibration from its JSON values.

    Raises:
        KeyError, TypeError, ValueError: They are not those of one.
    """
    if "scores" in stored:
        return Isotonic(tuple(map(float, stored["scores"])), tuple(map(float, stored["relevance"])))
    return Platt(float(stored["slope"]), float(stored["intercept"]))


def read_calibration(folder: Path) -> Calibration:
    """What is stored in the folder for the bare logit; the bare logistic where there is nothing.

    Raises:
        ModelError: The file is broken, or would turn the order around.
    """
    try:
        own = read_json(folder / FILE, default={}).get("calibration")
        return calibration_of(own) if own else Platt()
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise ModelError(f"{folder / FILE}: the calibration cannot be understood: {error!r}") from None

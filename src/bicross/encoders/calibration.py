"""What is fitted on judged pairs and stored beside a cross-encoder: relevance from logits, and the final score.

Both live in ``bicross.json`` in the model folder::

    {"calibration": {"slope": 1.1, "intercept": -2.0},
     "fusion": {"retriever_sha256": "...", "logit": 0.8, "dense": 9.5, "slope": 1.0, "intercept": -7.0}}
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from bicross.encoders.folder import read_json
from bicross.errors import ModelError

Scores = npt.NDArray[np.float32]

FILE = "bicross.json"


@dataclass(frozen=True)
class Calibration:
    """Platt scaling: relevance = logistic(slope * score + intercept) (Platt 1999). The default is the bare logistic."""

    slope: float = 1.0
    intercept: float = 0.0

    def __call__(self, scores: Scores) -> Scores:
        x = self.slope * scores.astype(np.float64) + self.intercept
        return np.asarray(0.5 * (1.0 + np.tanh(0.5 * x)), dtype=np.float32)  # tanh does not overflow


@dataclass(frozen=True)
class Fusion:
    """The final score of the two stages: ``logit * w1 + dense * w2``, for one retriever, and its relevance.

    The weights only mean something for the bi-encoder they were fitted with, known by the hash of its weights.
    """

    retriever_sha256: str
    logit: float
    dense: float
    calibration: Calibration

    def __call__(self, logits: Scores, dense: Scores) -> Scores:
        return np.asarray(self.logit * logits + self.dense * dense, dtype=np.float32)


def read_calibration(folder: Path) -> tuple[Calibration, Fusion | None]:
    """What is stored in the folder; the bare logistic and no fusion where there is nothing.

    Raises:
        ModelError: The file is broken, or a slope is not positive (it would turn the order around).
    """
    stored = read_json(folder / FILE, default={})
    try:
        own = stored.get("calibration")
        calibration = Calibration(float(own["slope"]), float(own["intercept"])) if own else Calibration()
        fused = stored.get("fusion")
        fusion = fused and Fusion(
            str(fused["retriever_sha256"]),
            float(fused["logit"]),
            float(fused["dense"]),
            Calibration(float(fused["slope"]), float(fused["intercept"])),
        )
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise ModelError(f"{folder / FILE}: cannot be understood: {error!r}") from None
    if calibration.slope <= 0 or (fusion and fusion.calibration.slope <= 0):
        raise ModelError(f"{folder / FILE}: a slope must be positive")
    return calibration, fusion

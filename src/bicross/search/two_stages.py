"""The numbers that join both stages: the weights of the final score, its relevance, and when to stop reading.

They were fitted for what stood before the cross-encoder (a bi-encoder, and how its scores were joined with those of the
words) and mean nothing for anything else. ``bicross.json`` beside the cross-encoder holds those that came with it,
``fitted.json`` in an index those that ``bicross calibrate`` fitted there, which come first. In both they are a list
under ``two_stages``.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from bicross.encoders.calibration import Calibration, Isotonic, calibration_of
from bicross.errors import BicrossError, CorpusError
from bicross.search.code import share_of_code
from bicross.search.scripts import share_of_foreign
from bicross.search.stopping import Stopping

Floats = npt.NDArray[np.float64]

KEY = "two_stages"

#: What a cross-encoder may not have been made for.
Unread = Literal["code", "language"]


@dataclass(frozen=True)
class TwoStages:
    """Fitted numbers.

    Attributes:
        before_sha256: What stood before, see ``before``.
        logit, evidence: Weights of the final score, ``logit * w + evidence * v``, where the evidence is what the first
            stage sorted by.
        calibration: Relevance from the final score.
        stopping: When to stop reading; None reads everything.
        cross_encoder_sha256: Hash of the weights of the cross-encoder; empty for the one beside which they lie.
        most_code: Where more of the candidates' lines are program code, see ``code.py``, the logit does not count; None
            counts it always.
        most_foreign: So where more of their letters are not Latin, see ``scripts.py``.
    """

    before_sha256: str
    logit: float
    evidence: float
    calibration: Calibration
    stopping: Stopping | None = None
    cross_encoder_sha256: str = ""
    most_code: float | None = None
    most_foreign: float | None = None

    def __post_init__(self) -> None:
        if not (0 <= self.logit < np.inf and 0 <= self.evidence < np.inf):
            raise ValueError(f"weights must not be negative: logit {self.logit}, evidence {self.evidence}")

    def without_logit(self) -> TwoStages:
        """The numbers for candidates that the cross-encoder can't read: no weight to its logit, no stop to reading."""
        return replace(self, logit=0.0, stopping=None)

    def unread(self, texts: Sequence[str]) -> Unread | None:
        """What the cross-encoder was not made for, if these candidates are that."""
        if self.most_code is not None and share_of_code(texts) > self.most_code:
            return "code"
        if self.most_foreign is not None and share_of_foreign(texts) > self.most_foreign:
            return "language"
        return None

    def final(self, logits: npt.ArrayLike, evidence: npt.ArrayLike) -> Floats:
        """The final score, float64, of logits and first-stage scores of the same shape."""
        return self.logit * np.asarray(logits, np.float64) + self.evidence * np.asarray(evidence, np.float64)


def before(encoder: Mapping[str, Any], first_stage: str) -> str:
    """The identity of what stands before the cross-encoder, as a hash.

    Args:
        encoder: The identity of the bi-encoder, as in the manifest of an index.
        first_stage: How candidates are scored: ``dense``, ``rrf`` or the digest of a fitted first stage.
    """
    # cosines of shortened vectors lie elsewhere
    known = [encoder.get("weights_sha256"), encoder.get("truncate_dim"), first_stage]
    return hashlib.sha256(json.dumps(known).encode()).hexdigest()


def as_json(numbers: TwoStages) -> dict[str, Any]:
    """Plain values, rounded; relevance still rises where it did, and ``from_json`` gives what is applied."""
    stored: dict[str, Any] = {
        "before_sha256": numbers.before_sha256,
        "cross_encoder_sha256": numbers.cross_encoder_sha256,
        "logit": _short(numbers.logit),
        "evidence": _short(numbers.evidence),
        "calibration": calibration_json(numbers.calibration),
        "stopping": None,
        "most_code": numbers.most_code,
        "most_foreign": numbers.most_foreign,
    }
    if numbers.stopping:
        values = {name: _short(value) for name, value in vars(numbers.stopping).items() if name != "chance"}
        stored["stopping"] = values | {"chance": [_short(number) for number in numbers.stopping.chance]}
    return stored


def calibration_json(calibration: Calibration) -> dict[str, Any]:
    """Plain values of a calibration, rounded; of knots that fall together the last stays."""
    if not isinstance(calibration, Isotonic):
        return {"slope": _short(calibration.slope), "intercept": _short(calibration.intercept)}
    knots = dict(zip(map(_short, calibration.scores), (round(y, 5) for y in calibration.relevance), strict=True))
    return {"scores": list(knots), "relevance": list(knots.values())}


def from_json(stored: Mapping[str, Any]) -> TwoStages:
    """What ``as_json`` wrote.

    Raises:
        KeyError, TypeError, ValueError: It did not write this.
    """
    stopping, code, foreign = (stored.get(key) for key in ("stopping", "most_code", "most_foreign"))
    return TwoStages(
        str(stored["before_sha256"]),
        float(stored["logit"]),
        float(stored["evidence"]),
        calibration_of(stored["calibration"]),
        stopping
        and Stopping(
            float(stopping["intercept"]),
            float(stopping["slope"]),
            float(stopping["spread"]),
            tuple(map(float, stopping["chance"])),  # type: ignore[arg-type]
            float(stopping["below"]),
        ),
        str(stored.get("cross_encoder_sha256", "")),
        None if code is None else float(code),
        None if foreign is None else float(foreign),
    )


def read_two_stages(file: Path, error: type[BicrossError] = CorpusError) -> list[TwoStages]:
    """The numbers in a file, which may have none or not be there.

    Raises:
        BicrossError: Of the class ``error``: the file is damaged.
    """
    try:
        stored = json.loads(file.read_text(encoding="utf-8"))
        return [from_json(numbers) for numbers in stored.get(KEY, [])]
    except FileNotFoundError:
        return []
    except (OSError, KeyError, TypeError, ValueError, AttributeError) as reason:
        raise error(
            f"{file}: the numbers under {KEY!r} cannot be understood ({reason!r}); "
            "fit them again with bicross calibrate, or remove the file"
        ) from None


def _short(number: float) -> float:
    return float(f"{number:.6g}")

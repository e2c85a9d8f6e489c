"""How good the answers are: judged queries in, measures with their certainty and their cost out."""

from bicross.evaluation.calibration_error import calibration_error
from bicross.evaluation.evaluating import evaluate
from bicross.evaluation.outcome import Evaluation

__all__ = ["Evaluation", "calibration_error", "evaluate"]

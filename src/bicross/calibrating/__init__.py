"""Fit on judged queries what is stored beside a model or in an index: weights, relevance, when to stop reading."""

from bicross.calibrating.calibrate import Calibrated, calibrate
from bicross.calibrating.fitting import Worth, fit_two_stages
from bicross.calibrating.storing import store

__all__ = ["Calibrated", "Worth", "calibrate", "fit_two_stages", "store"]

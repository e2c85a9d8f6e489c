"""Fit the few numbers of a search to judged queries of the user's own; needs no torch."""

from bicross.calibrating.calibrate import Calibrated, calibrate, keep
from bicross.calibrating.fitting import Worth, fit_two_stages

__all__ = ["Calibrated", "Worth", "calibrate", "fit_two_stages", "keep"]

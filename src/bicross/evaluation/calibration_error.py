"""How far probabilities of relevance are from what they promise."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from bicross.errors import UsageError

BINS = 10


def calibration_error(relevance: npt.ArrayLike, labels: npt.ArrayLike) -> float:
    """Expected calibration error: of hits said to be relevant with 0.7, are 70 % relevant?

    Ten bins of equal width over 0 to 1; the distance between mean relevance and share of relevant ones in each,
    weighted by how many fall into it (Naeini, Cooper and Hauskrecht, AAAI 2015; bins of equal width as in Guo et al.,
    ICML 2017).

    Args:
        relevance: (n,) floats from 0 to 1, as ``Hit.relevance``.
        labels: (n,) bools or 0 and 1: whether the hit is relevant.

    Returns:
        Between 0, which is perfect, and 1; NaN when there is nothing to look at.

    Raises:
        UsageError: The lengths differ, or a number is outside 0 to 1.
    """
    said, true = np.asarray(relevance, np.float64), np.asarray(labels, np.float64)
    if said.ndim != 1 or said.shape != true.shape:
        raise UsageError(f"relevance has shape {said.shape} and labels {true.shape}; they must be lists of one length")
    for name, numbers in (("relevance", said), ("labels", true)):
        if not ((numbers >= 0) & (numbers <= 1)).all():
            raise UsageError(f"{name} must be between 0 and 1")
    if not len(said):
        return float("nan")
    bins = np.minimum((said * BINS).astype(np.int64), BINS - 1)
    return float(np.abs(np.bincount(bins, said - true, BINS)).sum() / len(said))

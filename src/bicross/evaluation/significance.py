"""Whether a difference is more than chance: paired tests, Holm's correction, intervals."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import numpy as np
import numpy.typing as npt

Test = Literal["randomisation", "t-test"]
Values = npt.NDArray[np.float64]

#: Fixed, so that the same values give the same numbers.
SEED = 2007

RESAMPLES = 9999

#: Resamples at once: what they take in memory is this times the number of queries.
BATCH = 500


def p_value(differences: Values, test: Test) -> float:
    """Two-sided p of paired differences.

    ``randomisation`` turns signs around at random, and all ways where there are fewer than 10,000 (Fisher 1935;
    Smucker, Allan and Carterette, CIKM 2007, https://doi.org/10.1145/1321440.1321528); ``t-test`` is Student's.

    Args:
        differences: (n,) one a query.
        test: Which one.

    Returns:
        1 where nothing differs or there is one query only.
    """
    from scipy import stats

    if len(differences) < 2 or not differences.any():
        return 1.0
    if test == "t-test":
        if np.ptp(differences) == 0:  # no spread: the smallest doubt that numbers can say
            return 0.0
        return float(stats.ttest_1samp(differences, 0.0).pvalue)
    found = stats.permutation_test(
        (differences,),
        np.mean,
        permutation_type="samples",
        n_resamples=RESAMPLES,
        batch=BATCH,
        vectorized=True,
        rng=np.random.default_rng(SEED),
    )
    return float(found.pvalue)


def holm(p_values: Sequence[float]) -> list[float]:
    """Each p corrected for having asked several questions (Holm, Scandinavian Journal of Statistics 6, 1979)."""
    adjusted = [0.0] * len(p_values)
    highest = 0.0
    for place, i in enumerate(sorted(range(len(p_values)), key=lambda i: p_values[i])):
        highest = max(highest, (len(p_values) - place) * p_values[i])
        adjusted[i] = min(1.0, highest)
    return adjusted


def interval(values: Values) -> tuple[float, float]:
    """95 % confidence interval of the mean, the percentiles of 9,999 bootstrap samples (Efron 1979)."""
    from scipy import stats

    if len(values) < 2:
        return float(values.mean()), float(values.mean())
    found = stats.bootstrap(
        (values,),
        np.mean,
        n_resamples=RESAMPLES,
        batch=BATCH,
        method="percentile",
        rng=np.random.default_rng(SEED),
    ).confidence_interval
    return float(found.low), float(found.high)

"""The expected calibration error against its definition."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bicross.errors import UsageError
from bicross.evaluation import calibration_error


@given(st.lists(st.tuples(st.floats(0, 1), st.booleans()), min_size=1, max_size=60))
def test_it_is_the_definition(hits: list[tuple[float, bool]]) -> None:
    expected = 0.0
    for number in range(10):
        inside = [hit for hit in hits if min(int(hit[0] * 10), 9) == number]
        if inside:
            gap = np.mean([label for _, label in inside]) - np.mean([relevance for relevance, _ in inside])
            expected += len(inside) / len(hits) * abs(gap)
    relevance, labels = zip(*hits, strict=True)
    assert calibration_error(relevance, labels) == pytest.approx(expected, abs=1e-9)


def test_sure_and_right_is_0_sure_and_wrong_is_1() -> None:
    assert calibration_error([0.0, 1.0, 1.0], [0, 1, 1]) == 0
    assert calibration_error([0.0, 1.0], [True, False]) == 1
    assert calibration_error([0.75] * 4, [1, 1, 1, 0]) == 0


def test_what_it_cannot_take() -> None:
    assert math.isnan(calibration_error([], []))
    with pytest.raises(UsageError, match="lists of one length"):
        calibration_error([0.1, 0.2], [1])
    with pytest.raises(UsageError, match="relevance must be between 0 and 1"):
        calibration_error([1.5], [1])
    with pytest.raises(UsageError, match="relevance must be between 0 and 1"):
        calibration_error([float("nan")], [1])

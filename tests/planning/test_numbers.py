"""Numbers as people write them."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bicross.errors import UsageError
from bicross.planning import whole_number
from bicross.planning.numbers import MOST, duration, positive, size


@pytest.mark.parametrize(
    ("text", "number"),
    [("1e6", 10**6), ("100k", 10**5), ("2.5M", 2_500_000), ("1_000", 1000), ("1,000", 1000), (" 7 ", 7), ("1E3", 1000)],
)
def test_notations(text: str, number: int) -> None:
    assert whole_number(text, "documents") == number


@given(st.integers(1, MOST))
def test_whole_numbers_are_exact(number: int) -> None:
    assert whole_number(number, "n") == whole_number(str(number), "n") == whole_number(f"{number:,}", "n") == number


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("0", "must be 1 or more"),
        ("-5", "must be 1 or more"),
        ("1.5", "must be a whole number"),
        ("0.0001k", "must be 1 or more"),
        ("many", "not a number"),
        ("", "not a number"),
        ("k", "not a number"),
        ("nan", "not a number"),
        ("inf", "not a number"),
        ("1e16", "cannot be planned"),
        ("1e999999999", "cannot be planned"),
    ],
)
def test_what_is_no_number_of_things(text: str, says: str) -> None:
    with pytest.raises(UsageError, match=says):
        whole_number(text, "documents")


@pytest.mark.parametrize("value", [0.0, -1.0, float("nan"), float("inf")])
def test_what_is_no_length(value: float) -> None:
    with pytest.raises(UsageError, match="latency"):
        positive(value, "latency")
    with pytest.raises(UsageError, match="1 or more"):
        positive(0.5, "peak", 1)


def test_units() -> None:
    assert [duration(s) for s in (0.0015, 90, 1800, 7200, 86400 * 90)] == ["1.5 ms", "90 s", "30 min", "2 h", "90 days"]
    assert duration(50 * 3600) == "50 h"
    assert [duration(n * 365.25 * 86400) for n in (3.5, 12345)] == ["3.5 years", "12,345 years"]
    assert [size(b) for b in (2500, 3e6, 4.2e9, 5e12)] == ["2.5 kB", "3 MB", "4.2 GB", "5 TB"]

"""Tests of significance against enumeration, definitions and scipy."""

from __future__ import annotations

from itertools import combinations, product

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from bicross.evaluation.significance import holm, interval, p_value


@given(st.lists(st.floats(0, 1), min_size=1, max_size=6))
def test_holm_is_the_closure_of_bonferroni(p_values: list[float]) -> None:
    everyone = range(len(p_values))
    sets = [chosen for size in everyone for chosen in combinations(everyone, size + 1)]
    for i, adjusted in enumerate(holm(p_values)):
        worst = max(len(chosen) * min(p_values[j] for j in chosen) for chosen in sets if i in chosen)
        assert adjusted == pytest.approx(min(1.0, worst))


def test_holm_by_hand() -> None:
    assert holm([0.01, 0.04, 0.03]) == pytest.approx([0.03, 0.06, 0.06])
    assert holm([]) == []


@settings(max_examples=25)
@given(st.lists(st.integers(-8, 8), min_size=2, max_size=8))
def test_randomisation_of_few_queries_tries_every_sign(eighths: list[int]) -> None:
    differences = np.array(eighths) / 8
    means = [np.mean(np.array(signs) * differences) for signs in product((1, -1), repeat=len(differences))]
    expected = np.mean([abs(mean) >= abs(differences.mean()) - 1e-12 for mean in means])
    assert p_value(differences, "randomisation") == pytest.approx(expected)


def test_randomisation_of_many_queries_is_near_the_t_test_and_repeats() -> None:
    differences = np.random.default_rng(1).normal(0.02, 0.2, 300)
    p = p_value(differences, "randomisation")
    assert p == p_value(differences, "randomisation")
    assert p == pytest.approx(p_value(differences, "t-test"), abs=0.02)


@settings(max_examples=25)
@given(st.lists(st.tuples(st.floats(0, 1), st.floats(0, 1)), min_size=3, max_size=30))
def test_the_t_test_is_the_paired_one(pairs: list[tuple[float, float]]) -> None:
    a, b = np.array(pairs).round(3).T
    if np.ptp(a - b) > 1e-6:
        assert p_value(a - b, "t-test") == pytest.approx(stats.ttest_rel(a, b).pvalue)


@pytest.mark.parametrize("test", ["randomisation", "t-test"])
def test_no_difference_and_one_query_say_nothing(test: str) -> None:
    assert p_value(np.zeros(20), test) == 1
    assert p_value(np.array([0.4]), test) == 1


def test_an_interval_holds_the_mean_and_narrows() -> None:
    values = np.random.default_rng(2).random(400)
    low, high = interval(values)
    few = interval(values[:40])
    assert low < values.mean() < high
    assert high - low < few[1] - few[0]
    assert high - low == pytest.approx(2 * 1.96 * values.std() / 20, rel=0.1)
    assert interval(np.array([0.5])) == (0.5, 0.5)
    assert interval(np.full(9, 0.25)) == (0.25, 0.25)

"""n against n(n−1)/2, exactly."""

from __future__ import annotations

from math import comb

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bicross.planning import MachineProfile, plan_all_pairs, plan_pairs


@given(st.integers(0, 10**40))
def test_pairs_are_exact_for_numbers_of_any_size(sentences: int) -> None:
    plan = plan_pairs(sentences)
    assert (plan.encodings, plan.pairs) == (sentences, comb(sentences, 2))


def test_the_known_case() -> None:
    assert plan_pairs(100_000).pairs == 4_999_950_000


def test_by_hand(profile: MachineProfile) -> None:
    # 50 tokens: 52 with the special ones, 6 ms; a pair 103, 19 ms
    plan = plan_all_pairs(profile, 1000, [50.0, 50.0], neighbours=10)
    assert plan.encode_s == pytest.approx(1000 * 0.006)
    assert plan.compare_s == pytest.approx(499_500 * 1e-9)
    assert plan.score_s == pytest.approx(499_500 * 0.019)
    assert plan.candidates == 10_000
    assert plan.both_s == pytest.approx(6 + 499_500e-9 + 190)
    assert plan.use == "both"
    assert "499,500 pairs" in plan.why


@given(st.integers(1, 10**9), st.integers(1, 1000))
def test_the_cheaper_way_is_advised(profile: MachineProfile, sentences: int, neighbours: int) -> None:
    plan = plan_all_pairs(profile, sentences, [20.0, 70.0, 400.0], neighbours)
    assert plan.candidates == min(sentences * neighbours, comb(sentences, 2))
    assert (plan.use == "cross-encoder") == (plan.score_s <= plan.both_s)


def test_few_sentences_are_simply_read(profile: MachineProfile) -> None:
    plan = plan_all_pairs(profile, 5, [50.0], neighbours=10)
    assert (plan.use, plan.candidates) == ("cross-encoder", 10)

"""The package as a whole: light to import, no torch, its own words kept."""

from __future__ import annotations

import subprocess
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

import bicross
from bicross import plan_pairs
from bicross.errors import UsageError


def test_importing_is_light_and_searching_needs_no_torch() -> None:
    code = (
        "import sys, bicross; heavy = {'openvino', 'numpy', 'huggingface_hub', 'torch', 'rich'} & set(sys.modules);"
        "assert not heavy, heavy; from bicross import BiEncoder, CrossEncoder, Searcher, open;"
        "BiEncoder().encode_query('x'); assert not {'torch', 'transformers'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_every_public_name_is_there() -> None:
    for name in bicross.__all__:
        assert getattr(bicross, name).__doc__
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        _ = bicross.nothing


@given(st.integers(0, 10**7))
def test_pairs_are_n_choose_two(sentences: int) -> None:
    plan = plan_pairs(sentences)
    assert plan.encodings == sentences
    assert plan.pairs == sum(range(sentences)) if sentences < 1000 else plan.pairs * 2 == sentences * (sentences - 1)


def test_a_negative_number_of_sentences() -> None:
    with pytest.raises(UsageError, match="cannot be negative"):
        plan_pairs(-1)

"""Metadata may have any names at all: what the engine cannot name is stored all the same."""

from __future__ import annotations

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import bicross
from bicross import BiEncoder, Document
from bicross.index import LocalIndex

NAMES = st.one_of(
    st.text(max_size=6),
    st.text(alphabet="\"\\[].`' \x00\n$", max_size=4),
    st.sampled_from(["", "a\\", '"', "[]", "a.b"]),
)
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53), 2**53) | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(NAMES, inner, max_size=2),
    max_leaves=5,
)


@pytest.fixture(scope="module")
def opened(tmp_path_factory: pytest.TempPathFactory, bi_encoder: BiEncoder) -> LocalIndex:
    with bicross.create(tmp_path_factory.mktemp("odd") / "index") as index:
        yield index


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.dictionaries(NAMES, VALUES, max_size=3))
def test_any_names(opened: LocalIndex, metadata: dict) -> None:
    opened.add([Document("odd", "a text", metadata=metadata)], optimise=False)
    assert opened.get("odd")[0].metadata == metadata

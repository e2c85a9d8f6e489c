"""Embeddings in fewer bytes: the scale is kept, and gives the numbers back as nearly as their bits allow."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as npst

from bicross import BiEncoder, compact
from bicross.errors import UsageError

VECTORS = npst.arrays(
    np.float32, st.tuples(st.integers(1, 5), st.integers(1, 70)), elements=st.floats(-50, 50, width=32)
)


@given(vectors=VECTORS)
def test_int8_is_within_half_a_step(vectors: np.ndarray) -> None:
    small = compact(vectors, "int8")
    assert small.values.dtype == np.int8
    assert small.scale.shape == (len(vectors),)
    assert (np.abs(small.restore() - vectors) <= small.scale[:, None] * 0.5001 + 1e-30).all()


@given(vectors=VECTORS)
def test_binary_keeps_signs_and_magnitude(vectors: np.ndarray) -> None:
    small = compact(vectors, "binary")
    assert small.values.dtype == np.uint8
    assert small.values.shape == (len(vectors), -(-vectors.shape[1] // 8))
    restored = small.restore()
    assert restored.shape == vectors.shape
    assert ((restored > 0) == (vectors > 0))[np.broadcast_to(small.scale[:, None] > 0, vectors.shape)].all()
    np.testing.assert_allclose(np.abs(restored), np.abs(vectors).mean(axis=1, keepdims=True) * np.ones_like(vectors))


def test_outputs_of_the_encoder(bi_encoder: BiEncoder) -> None:
    texts = [f"text number {i} about museums" for i in range(20)]
    exact = bi_encoder.encode_document(texts)
    small = bi_encoder.encode_document(texts, output="int8")
    assert (len(small), small.dimension, small.nbytes) == (20, 384, 20 * 388)
    assert (small.restore() * exact).sum(axis=1).min() > 0.999
    bits = bi_encoder.encode_document(iter(texts), output="binary")
    assert bits.values.shape == (20, 48)
    cosine = (bits.restore() * exact).sum(axis=1) / np.linalg.norm(bits.restore(), axis=1)
    assert cosine.min() > 0.7
    assert bi_encoder.encode_query([], output="binary").values.shape == (0, 48)


def test_numbers_that_are_none_are_named() -> None:
    with pytest.raises(UsageError, match=r"embeddings\[1\] holds NaN"):
        compact(np.array([[1, 2], [np.nan, 1]], np.float32), "int8")

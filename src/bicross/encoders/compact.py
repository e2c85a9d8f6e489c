"""Embeddings in fewer bytes: int8 or one bit a number, with the scale that gives the numbers back."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from bicross.errors import UsageError

Vectors = npt.NDArray[np.float32]

Compaction = Literal["int8", "binary"]


@dataclass(frozen=True)
class CompactEmbeddings:
    """Embeddings in a quarter or a thirty-second of the bytes.

    Attributes:
        values: ``int8``: int8 (texts, dimension), from -127 to 127. ``binary``: uint8 (texts, dimension / 8 rounded
            up), the signs, 1 for positive, the first number in the highest bit, as ``numpy.packbits`` lays them.
        scale: float32 (texts,). ``int8``: embedding ≈ values * scale. ``binary``: embedding ≈ ±scale, where the scale
            is the mean magnitude, which loses least (Rastegari et al. 2016).
        dimension: Numbers in an embedding.
        kind: ``int8`` or ``binary``.
    """

    values: npt.NDArray[Any]
    scale: Vectors
    dimension: int
    kind: Compaction

    def __len__(self) -> int:
        return len(self.values)

    @property
    def nbytes(self) -> int:
        """Bytes of values and scales."""
        return int(self.values.nbytes + self.scale.nbytes)

    def restore(self) -> Vectors:
        """The embeddings as near as they are known: float32 (texts, dimension)."""
        if self.kind == "int8":
            return np.asarray(self.values * self.scale[:, None], dtype=np.float32)
        bits = np.unpackbits(self.values, axis=1, count=self.dimension)
        return np.asarray((bits.astype(np.float32) * 2 - 1) * self.scale[:, None], dtype=np.float32)


def compact(embeddings: Vectors, kind: str) -> CompactEmbeddings:
    """Store float32 embeddings (texts, dimension) as int8 or bits, each with a scale of its own.

    Raises:
        UsageError: The kind is unknown, or an embedding holds NaN or infinite numbers.
    """
    if kind not in ("int8", "binary"):
        raise UsageError(f"output {kind!r} is unknown; choose float32, int8 or binary")
    vectors = np.atleast_2d(np.asarray(embeddings, dtype=np.float32))
    if not (finite := np.isfinite(vectors).all(axis=1)).all():
        raise UsageError(f"embeddings[{int(np.argmin(finite))}] holds NaN or infinite numbers")
    size = np.abs(vectors)
    if kind == "binary":
        return CompactEmbeddings(np.packbits(vectors > 0, axis=1), size.mean(axis=1), vectors.shape[1], "binary")
    scale = np.maximum(size.max(axis=1), np.finfo(np.float32).tiny * 127) / np.float32(127)
    values = np.rint(vectors / scale[:, None]).astype(np.int8)
    return CompactEmbeddings(values, scale, vectors.shape[1], "int8")

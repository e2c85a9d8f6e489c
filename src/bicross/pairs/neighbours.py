"""The pairs of rows that are near each other, exactly, by matrix products of bounded size."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import numpy.typing as npt

Vectors = npt.NDArray[np.float32]
Positions = npt.NDArray[np.int32]

#: Cosines that are computed at a time: 64 MiB, and several times as much where all of them are above the floor.
BLOCK = 2**24


def near_pairs(
    rows: Vectors,
    floor: float,
    neighbours: int,
    *,
    block: int = BLOCK,
    advance: Callable[[int], None] = lambda count: None,
) -> tuple[Positions, Positions, Vectors]:
    """Pairs with a cosine of at least ``floor`` that are among the nearest ``neighbours`` of one of both rows.

    Half of the n x n cosines are computed, and none is kept that cannot belong to the answer: memory is of the order
    of ``n * neighbours + block``.

    Args:
        rows: float32 (n, dimension), of unit length.
        floor: The lowest cosine.
        neighbours: How many of each row, at least 1.
        block: Cosines at a time.
        advance: Called with the number of rows done.

    Returns:
        left, right: int32 (pairs,), left < right; cosines: float32 (pairs,), falling; equal ones by left, then right.
    """
    n = len(rows)
    left, right = np.empty(0, np.int32), np.empty(0, np.int32)
    cosines = np.empty(0, np.float32)
    # a cosine below these of both rows cannot belong to the answer
    least = np.full(n, floor, np.float32)
    height = max(1, block // max(1, n))
    found = [(left, right, cosines)]
    waiting = 0
    for start in range(0, n, height):
        stop = min(start + height, n)
        products = rows[start:stop] @ rows[start:].T
        near = products >= np.minimum(least[start:stop, None], least[None, start:])
        for i in range(stop - start):
            near[i, : i + 1] = False  # itself, and pairs that an earlier row has
        above, beside = np.nonzero(near)
        places = (above + start).astype(np.int32), (beside + start).astype(np.int32)
        found.append((*places, products[above, beside]))
        waiting += len(above)
        if waiting > max(4 * len(found[0][0]), block // 4) or stop == n:
            left, right, cosines = (np.concatenate(parts) for parts in zip(*found, strict=True))
            found = [_nearest_of_each(left, right, cosines, neighbours, least)]
            waiting = 0
        advance(stop - start)
    left, right, cosines = found[0]
    cosines = _cosines(rows, left, right)
    order = np.lexsort((right, left, -cosines))
    return left[order], right[order], cosines[order]


def _nearest_of_each(
    left: Positions, right: Positions, cosines: Vectors, neighbours: int, least: Vectors
) -> tuple[Positions, Positions, Vectors]:
    """Only pairs among the nearest of one of both rows; raises ``least`` of rows that have enough neighbours."""
    ends, others, both = np.concatenate([left, right]), np.concatenate([right, left]), np.tile(cosines, 2)
    order = np.lexsort((others, -both, ends))
    sorted_ends = ends[order]
    rank = np.arange(len(order)) - np.searchsorted(sorted_ends, sorted_ends)
    last = order[rank == neighbours - 1]
    least[ends[last]] = both[last]
    near = np.zeros(len(order), np.bool_)
    near[order] = rank < neighbours
    keep = near[: len(left)] | near[len(left) :]
    return left[keep], right[keep], cosines[keep]


def _cosines(rows: Vectors, left: Positions, right: Positions, at_once: int = 2**16) -> Vectors:
    """The same to the last bit whatever the blocks were, which the sums of a matrix product are not."""
    parts = (slice(start, start + at_once) for start in range(0, len(left), at_once))
    exact = [np.einsum("ij,ij->i", rows[left[part]], rows[right[part]]) for part in parts]
    return np.minimum(np.concatenate(exact), np.float32(1)) if exact else np.empty(0, np.float32)

"""Near pairs against all cosines at once."""

from __future__ import annotations

from itertools import combinations

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from bicross.pairs.neighbours import near_pairs


def unit_rows(seed: int, n: int) -> np.ndarray:
    rows = np.random.default_rng(seed).standard_normal((n, 4)).astype(np.float32)
    return rows / np.linalg.norm(rows, axis=1, keepdims=True)


@settings(max_examples=200, deadline=None)
@given(
    seed=st.integers(0, 2**32 - 1),
    n=st.integers(1, 40),
    floor=st.floats(-1, 1),
    neighbours=st.integers(1, 45),
    block=st.integers(1, 2000),
)
def test_blocks_do_not_change_the_answer(seed: int, n: int, floor: float, neighbours: int, block: int) -> None:
    rows = unit_rows(seed, n)
    left, right, cosines = near_pairs(rows, floor, neighbours, block=block)
    found = list(zip(left.tolist(), right.tolist(), strict=True))

    every = rows.astype(np.float64) @ rows.T.astype(np.float64)
    np.fill_diagonal(every, -np.inf)
    nearest = np.argsort(-every, axis=1)[:, :neighbours]
    expected = {
        (i, j) for i, j in combinations(range(n), 2) if every[i, j] >= floor and (j in nearest[i] or i in nearest[j])
    }
    # rounding may decide at the floor itself
    sure = {(i, j) for i, j in expected | set(found) if abs(every[i, j] - floor) > 1e-5}
    assert set(found) & sure == expected & sure
    assert len(set(found)) == len(found)
    assert np.all(np.diff(cosines) <= 0)
    assert np.allclose(cosines, [every[i, j] for i, j in found], atol=1e-5)

    whole = near_pairs(rows, floor, neighbours)
    if sure == expected | set(found):
        assert [part.tolist() for part in whole] == [left.tolist(), right.tolist(), cosines.tolist()]


def test_advance_counts_the_rows() -> None:
    done: list[int] = []
    near_pairs(unit_rows(0, 37), 0.5, 3, block=100, advance=done.append)
    assert sum(done) == 37
    assert len(done) > 1

"""How many of its candidates the cross-encoder reads before the rest can hardly enter the first ten.

Measured by ``benchmarks/second_stage.py`` with the models that come with bicross; true of nothing else.
"""

from __future__ import annotations

from itertools import pairwise

#: Pairs read in the mean, over the collections there, by candidates.
PAIRS_READ = ((20, 19.6), (50, 30.1), (100, 33.7))

#: Pairs that are read at first (enough for ten documents, and a few more), and then between two looks; see
#: ``bicross.search.reranking``.
FIRST, STEP = 14, 8


def pairs_read(candidates: int) -> float:
    """What is read of so many: all of a few, of more than were measured as many as of the most that were."""
    points = ((FIRST, float(FIRST)), *PAIRS_READ)
    if candidates <= FIRST:
        return float(candidates)
    for (x0, y0), (x1, y1) in pairwise(points):
        if candidates <= x1:
            return y0 + (y1 - y0) * (candidates - x0) / (x1 - x0)
    return points[-1][1]

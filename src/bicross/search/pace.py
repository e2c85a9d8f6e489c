"""How long the cross-encoder takes, learnt from what it took: what a budget of milliseconds is kept by."""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Sequence
from contextlib import suppress
from itertools import accumulate
from time import perf_counter

import numpy as np

#: What was seen last: so many scorings. Other work on the machine comes and goes.
REMEMBERED = 48

#: Of those seen, so many were no slower than what is reckoned with.
QUANTILE = 0.9

#: So often has time to be too short for a single pair until the slowest scoring is forgotten: where the machine is that
#: slow indeed, no more than one search in so many finds out by being late.
REFUSALS = 100

#: A scoring is as long as its slowest core. It may take so much of the time that is left, and the next ones use up the
#: rest in ever smaller steps: one that takes half as long again as reckoned still ends in time.
SHARE = 0.65

#: A last round, a pair on each core, may take so much of it.
LAST_SHARE = 0.9

#: Milliseconds kept for what comes after the last scoring, and the share of the budget that is kept besides.
KEPT_MS = 2.0
KEPT_SHARE = 0.03


def busiest(characters: Sequence[int], cores: int) -> float:
    """The characters that the busiest core reads of pairs that are shared out evenly; 0 of none."""
    return _share(sum(characters), len(characters), cores) if characters else 0.0


def _share(total: int, count: int, cores: int) -> float:
    return total / count * math.ceil(count / cores)


class Pace:
    """Milliseconds a character of the busiest core, of scorings that happened. Threads may share it."""

    def __init__(self) -> None:
        self._seen: deque[float] = deque(maxlen=REMEMBERED)
        self._refused = 0

    @property
    def known(self) -> bool:
        return bool(self._seen)

    def saw(self, characters: float, milliseconds: float) -> None:
        """Note how long it took while the busiest core read so many characters."""
        self._seen.append(milliseconds / max(characters, 1))

    def refused(self) -> None:
        """Nothing was read, as it would take too long. Now and then the slowest scoring is dropped: what keeps
        everything from being read would else never be seen to have passed.
        """
        self._refused += 1
        if self._refused % REFUSALS == 0 and len(self._seen) > 1:
            with suppress(ValueError):  # another thread was faster
                self._seen.remove(max(self._seen))

    def milliseconds(self, characters: float) -> float:
        """What so many characters will take a core; unbounded while nothing was seen."""
        return characters * float(np.quantile(list(self._seen), QUANTILE)) if self._seen else float("inf")


class Clock:
    """A budget that began at ``started``, a time of ``perf_counter``.

    Args:
        budget_ms: Milliseconds.
        started: When it began.
        pace: Of the cross-encoder.
        cores: That share the pairs.
    """

    def __init__(self, budget_ms: float, started: float, pace: Pace, cores: int = 1) -> None:
        self._cores = cores
        self._whole = budget_ms / 1e3
        self._end = started + (budget_ms * (1 - KEPT_SHARE) - KEPT_MS) / 1e3
        self.pace = pace

    def fits(self, characters: Sequence[int]) -> int:
        """How many of the next pairs may be scored now, given the characters of each; 0 when time is up."""
        left = self._end - perf_counter()
        pace = self.pace.milliseconds(1) / 1e3
        reckoned = [
            pace * _share(total, count, self._cores) for count, total in enumerate(accumulate(characters), start=1)
        ]

        def most(reckoned: Sequence[float], seconds: float) -> int:
            return max((count for count, taken in enumerate(reckoned, start=1) if taken <= seconds), default=0)

        count = most(reckoned, left * SHARE) or most(reckoned[: self._cores], left * LAST_SHARE)
        if not count and left > self._whole / 2:
            self.pace.refused()
        return count

"""Equal scores in an order that depends on the content alone, also where only some of them are among the best."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Protocol

from bicross.index.records import Found

#: Points that are asked for beyond the last one, in case it shares its score with others.
SPARE = 16

#: So many times as many are asked for, at most: of more equal ones than that any are as good.
MOST = 16


class Scored(Protocol):
    """A point that an engine found; best first."""

    @property
    def score(self) -> float: ...
    @property
    def id(self) -> object: ...


def best(ask: Callable[[int], Sequence[Scored]], limit: int) -> Found:
    """The best ``limit`` points of what ``ask`` gives when it is asked for a number; of equal ones those named first.

    An engine gives any of several equal ones for the last place, so it is asked for more, until the next is worse.
    """
    asked = limit + SPARE
    most = MOST * asked
    while True:
        points = ask(asked)
        if len(points) < asked or asked >= most or points[-1].score < points[limit - 1].score:
            break
        asked *= 2
    ordered = sorted((-float(point.score), str(point.id)) for point in points)
    return {name: -score for score, name in ordered[:limit]}

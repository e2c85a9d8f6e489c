"""Token-budgeted batches: texts of like length go together, so that little of the work is padding."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import closing
from itertools import chain, islice
from typing import TypeVar

import numpy as np
import numpy.typing as npt

from bicross.encoders.engines import Engine
from bicross.encoders.tokenising import Tokenised

#: Texts, and characters of them, that are tokenised at a time: bounds the memory of long work, leaves enough to sort.
WINDOW = 4096
WINDOW_CHARACTERS = 8_000_000

#: Batches a stream from which on what some streams wait for at the end no longer counts, and tokens of a batch below
#: which calling the engine does.
FEW, SMALL = 8, 128

In = TypeVar("In")
Out = TypeVar("Out")


def windows(items: Iterable[In], characters: Callable[[In], int]) -> Iterator[list[In]]:
    """Cut a stream into lists of at most ``WINDOW`` items, or about ``WINDOW_CHARACTERS`` characters."""
    window: list[In] = []
    size = 0
    for item in items:
        window.append(item)
        size += characters(item)
        if len(window) == WINDOW or size >= WINDOW_CHARACTERS:
            yield window
            window, size = [], 0
    if window:
        yield window


def one_ahead(work: Callable[[In], Out], items: Iterable[In]) -> Iterator[Out]:
    """``work(item)`` for each item; the next is worked on in a second thread while the caller uses the last."""
    source = iter(items)
    start = list(islice(source, 2))
    if len(start) < 2:  # a query: not worth a thread
        yield from map(work, start)
        return
    with ThreadPoolExecutor(1, thread_name_prefix="bicross-tokenise") as thread:
        ready: Future[Out] = thread.submit(work, start[0])
        for item in chain(start[1:], source):
            following = thread.submit(work, item)
            yield ready.result()
            ready = following
        yield ready.result()


def plan_batches(lengths: Sequence[int], budget: int, streams: int = 1) -> list[list[int]]:
    """Positions grouped so that ``len(batch) * longest in it <= budget`` (a longer text goes alone); longest first.

    Args:
        lengths: Tokens of each text.
        budget: Tokens of a batch, padding included.
        streams: Batches that run at once. Of little work the batches are made smaller, so that no stream waits long
            for another, and little is padding.
    """
    if streams > 1:
        budget = min(budget, max(SMALL, sum(lengths) // (FEW * streams)))
    batches: list[list[int]] = []
    for position in sorted(range(len(lengths)), key=lambda i: (-lengths[i], i)):
        # sorted: the first of a batch is its longest
        if batches and lengths[batches[-1][0]] * (len(batches[-1]) + 1) <= budget:
            batches[-1].append(position)
        else:
            batches.append([position])
    return batches


def run_in_batches(
    engine: Engine, items: Sequence[Tokenised], advance: Callable[[int], None] = lambda count: None
) -> npt.NDArray[np.float32]:
    """Run every item through the engine: float32 (items, engine.width), rows in the order of ``items``.

    Args:
        engine: Gives one row per item.
        items: The texts or pairs.
        advance: Called with the number of items done after each batch.
    """
    plan = plan_batches([len(item) for item in items], engine.token_budget, engine.streams)
    rows = np.empty((len(items), engine.width), np.float32)
    batches = ([items[i] for i in positions] for positions in plan)
    with closing(engine.run(batches)) as outputs:  # whatever happens here, the engine gets its requests back
        for positions, output in zip(plan, outputs, strict=True):
            rows[positions] = output
            advance(len(positions))
    return rows

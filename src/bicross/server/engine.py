"""One engine for many requests: what waits goes through it together, in token-budgeted batches, urgent work first.

There is no window in which requests are gathered: while the engine is busy, the next ones gather by themselves, and
each batch takes of them what fits together (continuous batching; Yu et al., Orca, OSDI 2022).
"""

from __future__ import annotations

import threading
from bisect import bisect_left, insort
from collections import OrderedDict, deque
from collections.abc import Generator, Iterable, Sequence
from contextlib import closing
from contextvars import ContextVar
from dataclasses import dataclass, field
from hashlib import blake2b
from itertools import chain, count
from time import monotonic

import numpy as np
import numpy.typing as npt

from bicross.encoders.batching import SMALL
from bicross.encoders.engines import Engine, whole_steps
from bicross.encoders.tokenising import Tokenised
from bicross.errors import BicrossError
from bicross.server.metrics import EngineMetrics

Rows = npt.NDArray[np.float32]

#: After so many urgent batches one that can wait has its turn, so that it goes on under any load.
TURN = 8

#: Seconds between looks whether anybody still waits for the answer.
LOOK = 0.25


class AbandonedError(BicrossError):
    """Nobody waits for the result any more, or its time was up; the work was dropped."""


@dataclass
class Work:
    """What a request is to the engines: how urgent, until when, and whether somebody still waits.

    Attributes:
        urgent: Goes before work that is not.
        deadline: A time of ``monotonic``; None for no end.
        gone: Set when nobody waits any more.
    """

    urgent: bool = False
    deadline: float | None = None
    gone: threading.Event = field(default_factory=threading.Event)

    @property
    def over(self) -> str:
        """Why there is no use in going on; empty where there is."""
        if self.gone.is_set():
            return "nobody waits for the answer any more"
        return "the time for it was up" if self.deadline is not None and monotonic() > self.deadline else ""


#: The work that this thread does. What has none can wait and has no end.
working: ContextVar[Work | None] = ContextVar("working", default=None)


class _Job:
    """What one call waits for."""

    def __init__(self, work: Work, items: Sequence[Tokenised], width: int) -> None:
        self.work = work
        self.items = items
        self.rows = np.empty((len(items), width), np.float32)
        self.left = len(items)
        self.error: BaseException | None = None
        self.done = threading.Event()

    def fail(self, error: BaseException) -> None:
        self.error = error
        self.done.set()


#: Tokens as padded, number in the order of arrival, job, place in the job.
_Item = tuple[int, int, _Job, int]


class _Lane:
    """Items of one urgency that wait: by age, and by length. The caller holds the lock."""

    def __init__(self) -> None:
        self._by_age: deque[_Item] = deque()
        self._by_length: list[_Item] = []
        self.tokens = 0

    def __len__(self) -> int:
        return len(self._by_length)

    def put(self, items: Iterable[_Item]) -> None:
        for item in items:
            self._by_age.append(item)
            insort(self._by_length, item, key=_order)
            self.tokens += item[0]

    def withdraw(self, job: _Job) -> None:
        """Forget what is left of a job."""
        left = [item for item in self._by_length if item[2] is job]
        if left:
            self.tokens -= sum(item[0] for item in left)
            self._by_length = [item for item in self._by_length if item[2] is not job]
            self._by_age = deque(item for item in self._by_age if item[2] is not job)

    def take(self, budget: int, call_tokens: int) -> list[_Item]:
        """The oldest item and those of like length, together at most ``budget`` tokens with padding.

        An item joins as long as it makes no more padding than the call that it spares.
        """
        waiting = self._by_length
        low = bisect_left(waiting, _order(self._by_age[0]), key=_order)
        high = low + 1
        longest = waiting[low][0]
        while high < len(waiting):
            length, number = waiting[high][0], high - low
            if length * (number + 1) > budget or (length - longest) * number > call_tokens:
                break
            longest, high = length, high + 1
        while low > 0 and longest * (high - low + 1) <= budget and longest - waiting[low - 1][0] <= call_tokens:
            low -= 1
        taken = waiting[low:high]
        del waiting[low:high]
        self.tokens -= sum(item[0] for item in taken)
        numbers = {item[1] for item in taken}
        self._by_age = deque(item for item in self._by_age if item[1] not in numbers)
        return taken


def _order(item: _Item) -> tuple[int, int]:
    return item[:2]


class SharedEngine:
    """An engine in front of another one, for threads that each wait for a few rows.

    Args:
        engine: Does the work. A batch at a time is on each of its streams.
        metrics: Is told about batches, the queue and the cache.
        remembered: Rows of urgent work that are kept, those used last: the same query, or pair, again costs nothing.
            They are found by their tokens, and this engine runs one model, so a row cannot be another model's.
    """

    def __init__(self, engine: Engine, metrics: EngineMetrics, remembered: int = 0) -> None:
        self._engine = engine
        self.precision, self.width = engine.precision, engine.width
        self.token_budget, self.call_tokens = engine.token_budget, engine.call_tokens
        self.step, self.streams = engine.step, engine.streams
        self._metrics = metrics
        self._remembered = remembered
        self._cache: OrderedDict[bytes, Rows] = OrderedDict()
        self._cache_lock = threading.Lock()
        self._changed = threading.Condition()
        self._urgent, self._other = _Lane(), _Lane()
        self._numbers = count()
        self._in_a_row = 0
        self._closed = False
        self._threads = [
            threading.Thread(target=self._serve, name=f"bicross-engine-{n}", daemon=True) for n in range(self.streams)
        ]
        for thread in self._threads:
            thread.start()

    @property
    def waiting_tokens(self) -> int:
        """Tokens of all items that no batch has taken yet."""
        return self._urgent.tokens + self._other.tokens

    def close(self) -> None:
        """Let the threads end when nothing waits any more."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()
        for thread in self._threads:
            thread.join()

    def run(self, batches: Iterable[Sequence[Tokenised]]) -> Generator[Rows, None, None]:
        """As of any engine. What the caller has put into one batch may run in several, with what others wait for.

        Raises:
            AbandonedError: The work of this thread is over, see ``Work``.
        """
        listed = [list(batch) for batch in batches]
        items = list(chain.from_iterable(listed))
        work = working.get() or Work()
        rows = self._rows(items, work) if items else np.empty((0, self.width), np.float32)
        start = 0
        for batch in listed:
            yield rows[start : start + len(batch)]
            start += len(batch)

    def _rows(self, items: list[Tokenised], work: Work) -> Rows:
        job = _Job(work, items, self.width)
        keys = [_key(item) for item in items] if self._remembered and work.urgent else []
        new = self._recall(keys, job.rows) if keys else list(range(len(items)))
        if not new:
            return job.rows
        job.left = len(new)
        lane = self._urgent if work.urgent else self._other
        with self._changed:
            lane.put((whole_steps(len(items[place]), self.step), next(self._numbers), job, place) for place in new)
            self._changed.notify(min(len(new), self.streams))
            self._show_queue()
        while not job.done.wait(LOOK):
            if work.over:
                job.fail(AbandonedError(work.over))
        if job.error is not None:
            with self._changed:
                lane.withdraw(job)
                self._show_queue()
            raise job.error
        if keys:
            self._remember([(keys[place], job.rows[place].copy()) for place in new])
        return job.rows

    def _serve(self) -> None:
        """Batch after batch, as one of the streams."""
        while True:
            with self._changed:
                while not (len(self._urgent) or len(self._other)):
                    if self._closed:
                        return
                    self._changed.wait()
                lane = self._next_lane()
                share = max(SMALL, lane.tokens // self.streams)
                taken = lane.take(min(self.token_budget, share), self.call_tokens)
                self._show_queue()
            self._run(taken)

    def _next_lane(self) -> _Lane:
        """The urgent one, and now and then the other one."""
        if not len(self._other) or (len(self._urgent) and self._in_a_row < TURN):
            self._in_a_row += 1
            return self._urgent
        self._in_a_row = 0
        return self._other

    def _run(self, taken: list[_Item]) -> None:
        try:
            with closing(self._engine.run([[job.items[place] for _, _, job, place in taken]])) as outputs:
                (rows,) = outputs
        except Exception as error:  # it belongs to those who wait
            for _, _, job, _ in taken:
                job.fail(error)
            return
        tokens = sum(len(job.items[place]) for _, _, job, place in taken)
        self._metrics.ran(tokens, max(padded for padded, *_ in taken) * len(taken), self.token_budget)
        with self._changed:
            for row, (_, _, job, place) in zip(rows, taken, strict=True):
                job.rows[place] = row
                job.left -= 1
                if not job.left:
                    job.done.set()

    def _show_queue(self) -> None:
        self._metrics.queued(len(self._urgent) + len(self._other), self.waiting_tokens)

    # -- rows that were made before ------------------------------------------------------------------------------

    def _recall(self, keys: list[bytes], rows: Rows) -> list[int]:
        """Fill in what is known; the places of the others."""
        new = []
        with self._cache_lock:
            for place, key in enumerate(keys):
                row = self._cache.get(key)
                if row is None:
                    new.append(place)
                else:
                    rows[place] = row
                    self._cache.move_to_end(key)
        self._metrics.recalled(len(keys) - len(new), len(new))
        return new

    def _remember(self, known: list[tuple[bytes, Rows]]) -> None:
        with self._cache_lock:
            self._cache.update(known)
            while len(self._cache) > self._remembered:
                self._cache.popitem(last=False)


def _key(item: Tokenised) -> bytes:
    return blake2b(item.ids.tobytes() + item.types.tobytes(), digest_size=16).digest()

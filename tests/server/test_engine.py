"""Threads that share an engine get what they would get alone, urgent ones first."""

from __future__ import annotations

import threading
from collections.abc import Generator, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from time import monotonic

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bicross import BiEncoder, CrossEncoder
from bicross.encoders.tokenising import Tokenised
from bicross.server.engine import AbandonedError, SharedEngine, Work, _Job, _Lane, working
from bicross.server.metrics import EngineMetrics, Metrics


class Echo:
    """An engine whose rows are the first token and the number of tokens; batches wait until they are let through."""

    precision, width, token_budget, call_tokens, step, streams = "f32", 2, 64, 4, 1, 1

    def __init__(self) -> None:
        self.gate = threading.Event()
        self.batches: list[list[int]] = []

    def run(self, batches: Iterable[Sequence[Tokenised]]) -> Generator[np.ndarray, None, None]:
        for batch in batches:
            self.gate.wait(10)
            self.batches.append([int(item.ids[0]) for item in batch])
            if any(item.ids[0] == 666 for item in batch):
                raise ValueError("a batch that fails")
            yield np.array([[item.ids[0], len(item)] for item in batch], np.float32)


def item(first: int, length: int = 4) -> Tokenised:
    ids = np.full(length, first, np.int32)
    return Tokenised(ids, ids * 0)


@pytest.fixture
def echo() -> Echo:
    return Echo()


@pytest.fixture
def shared(echo: Echo) -> Iterator[SharedEngine]:
    engine = SharedEngine(echo, EngineMetrics(Metrics(), "echo"), 10)
    yield engine
    echo.gate.set()
    engine.close()


def ask(engine: SharedEngine, items: list[Tokenised], work: Work | None = None) -> list[list[float]]:
    working.set(work)
    (rows,) = engine.run([items])
    return rows.tolist()


def until(condition) -> None:
    end = monotonic() + 10
    while not condition():
        assert monotonic() < end
        threading.Event().wait(0.005)


def test_many_threads_get_their_own_rows(shared: SharedEngine, echo: Echo) -> None:
    echo.gate.set()
    with ThreadPoolExecutor(32) as pool:
        asked = [[item(100 * n + k, 1 + (7 * n + 3 * k) % 30) for k in range(1 + n % 5)] for n in range(200)]
        got = list(pool.map(lambda items: ask(shared, items), asked))
    assert got == [[[i.ids[0], len(i)] for i in items] for items in asked]


def test_urgent_work_goes_first_and_other_work_goes_on(shared: SharedEngine, echo: Echo) -> None:
    with ThreadPoolExecutor(40) as pool:
        first = pool.submit(ask, shared, [item(0, 60)])
        until(lambda: shared.waiting_tokens == 0)  # on its way, held at the gate
        bulk = pool.submit(ask, shared, [item(1, 60), item(2, 60)])
        until(lambda: shared.waiting_tokens == 120)
        urgent = [pool.submit(ask, shared, [item(10 + n, 60)], Work(urgent=True)) for n in range(20)]
        until(lambda: shared.waiting_tokens == 120 + 20 * 60)
        echo.gate.set()
        for future in (first, bulk, *urgent):
            future.result(10)
    order = [batch[0] for batch in echo.batches]
    assert order[0] == 0 and set(order[1:8]) <= set(range(10, 30))
    assert order.index(1) < len(order) - 5  # not starved


def test_what_nobody_waits_for_is_dropped(shared: SharedEngine, echo: Echo) -> None:
    gone, late = Work(), Work(deadline=monotonic() + 0.1)
    with ThreadPoolExecutor(4) as pool:
        held = pool.submit(ask, shared, [item(0, 60)])
        until(lambda: shared.waiting_tokens == 0)
        lost = [pool.submit(ask, shared, [item(n, 60)], work) for n, work in ((1, gone), (2, late))]
        until(lambda: shared.waiting_tokens == 120)
        gone.gone.set()
        for future, why in zip(lost, ("nobody waits", "time"), strict=True):
            with pytest.raises(AbandonedError, match=why):
                future.result(10)
        assert shared.waiting_tokens == 0
        echo.gate.set()
        held.result(10)
    assert echo.batches == [[0]]


def test_an_error_reaches_those_of_the_batch_alone(shared: SharedEngine, echo: Echo) -> None:
    echo.gate.set()
    with pytest.raises(ValueError, match="a batch that fails"):
        ask(shared, [item(666), item(1, 50), item(2, 30)])
    assert shared.waiting_tokens == 0
    assert ask(shared, [item(5)]) == [[5, 4]]


def test_rows_are_remembered_for_urgent_work_and_the_oldest_go(shared: SharedEngine, echo: Echo) -> None:
    echo.gate.set()
    work = Work(urgent=True)
    for n in range(12):
        ask(shared, [item(n)], work)
    assert ask(shared, [item(11), item(0), item(5)], work) == [[11, 4], [0, 4], [5, 4]]
    assert echo.batches[12:] == [[0]]
    ask(shared, [item(11)], None)  # what is not urgent neither asks the cache nor fills it
    assert echo.batches[13:] == [[11]]


@given(st.lists(st.integers(1, 200), min_size=1, max_size=40), st.integers(1, 400), st.integers(0, 50))
def test_a_batch_has_the_oldest_item_and_keeps_to_the_budget(lengths: list[int], budget: int, call: int) -> None:
    lane = _Lane()
    job = _Job(Work(), [], 1)
    lane.put((length, number, job, 0) for number, length in enumerate(lengths))
    left = dict(enumerate(lengths))
    while left:
        oldest = min(left)
        taken = {number: length for length, number, *_ in lane.take(budget, call)}
        assert oldest in taken
        assert len(taken) == 1 or max(taken.values()) * len(taken) <= budget
        padding = [max(taken.values()) - length for length in taken.values()]
        assert sum(padding) <= call * len(taken) ** 2 and (call or not any(padding))
        assert taken.items() <= left.items()
        left = {number: length for number, length in left.items() if number not in taken}
        assert (len(lane), lane.tokens) == (len(left), sum(left.values()))


def test_real_encoders_say_the_same_merged(bi_encoder: BiEncoder, cross_encoder: CrossEncoder) -> None:
    texts = [f"{'A sentence about pumps and valves. ' * (n % 7 + 1)}Number {n}." for n in range(60)]
    alone = bi_encoder.encode_document(texts)
    pairs = [("which pump?", text) for text in texts]
    logits = cross_encoder.predict(pairs)
    metrics = Metrics()
    for encoder, call, expected, atol in (
        (BiEncoder(), lambda e, n: e.encode_document(texts[n : n + 3]), alone, 0.01),
        (CrossEncoder(), lambda e, n: e.predict(pairs[n : n + 3]), logits, 0.06),
    ):
        encoder.engine = SharedEngine(encoder.engine, EngineMetrics(metrics, "real"))
        with ThreadPoolExecutor(20) as pool:
            got = list(pool.map(lambda n, e=encoder, c=call: c(e, n), range(0, 60, 3)))
        encoder.engine.close()
        np.testing.assert_allclose(np.concatenate(got), expected, atol=atol)

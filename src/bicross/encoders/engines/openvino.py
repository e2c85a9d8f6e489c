"""The OpenVINO engine, for CPUs: compiled once, used by any number of threads."""

from __future__ import annotations

import queue
from collections import deque
from collections.abc import Generator, Iterable, Sequence
from contextlib import suppress
from functools import lru_cache

import numpy as np
import numpy.typing as npt
import openvino as ov

from bicross.encoders.engines.engine import whole_steps
from bicross.encoders.tokenising import Tokenised
from bicross.errors import UsageError

PRECISIONS = ("auto", "f32", "bf16", "int8")


#: What is compiled for the shape of a batch is kept for so many layers and shapes. With the library's 5,000, memory
#: grows by a megabyte every few batches for hours. Fewer than a hundred cost a query time, more than these save none.
KERNELS = "300"


@lru_cache(maxsize=1)
def core() -> ov.Core:
    return ov.Core()


def resolve_precision(precision: str) -> str:
    """``f32``, ``bf16`` or ``int8``: ``auto`` takes bf16 where the CPU computes in it.

    Raises:
        UsageError: Unknown precision, or bf16 on a CPU without it (it would be emulated, slower than f32).
    """
    if precision not in PRECISIONS:
        raise UsageError(f"precision {precision!r} is unknown; choose one of {', '.join(PRECISIONS)}")
    if precision == "auto":
        return "bf16" if _has_bf16() else "f32"
    if precision == "bf16" and not _has_bf16():
        raise UsageError("this CPU does not compute in bf16; choose precision f32")
    return precision


def _has_bf16() -> bool:
    return "BF16" in core().get_property("CPU", "OPTIMIZATION_CAPABILITIES")


class OpenVinoEngine:
    """A compiled graph with one output.

    Args:
        model: The graph; inputs as in ``graphs.transformer``, of which it may lack ``token_type_ids``.
            It must say how many numbers an output row has.
        precision: ``f32``, ``bf16``, or ``int8``: then what the graph leaves in floating point runs in ``auto``.
        pad_id: Token id of padding.
        max_tokens: The most that the model can read.
    """

    #: Larger batches leave the caches of a core and are hard to share out between cores; smaller ones cost calls.
    token_budget = 1024

    #: From calls with one text and with sixteen: a text of 30 tokens alone takes a quarter longer, one of 94 a twelfth.
    call_tokens = 8

    #: Kernels are compiled for a shape, which in int8 takes as long as running them: with lengths padded to multiples
    #: few shapes come up.
    step = 16

    def __init__(self, model: ov.Model, precision: str, pad_id: int, max_tokens: int) -> None:
        self.precision = precision
        self.width = int(model.output(0).get_partial_shape()[-1].get_length())
        self._pad_id, self._max_tokens = pad_id, max_tokens
        self._inputs = [next(iter(port.get_names())) for port in model.inputs]
        # One stream a core: no core waits for another inside a layer.
        self._compiled = core().compile_model(
            model,
            "CPU",
            {
                "INFERENCE_PRECISION_HINT": resolve_precision("auto") if precision == "int8" else precision,
                "PERFORMANCE_HINT": "THROUGHPUT",
                "CPU_RUNTIME_CACHE_CAPACITY": KERNELS,
            },
        )
        self.streams = int(self._compiled.get_property("OPTIMAL_NUMBER_OF_INFER_REQUESTS"))
        # Requests are lent: each is used by one thread at a time, and a caller that finds none waits.
        # Twice as many as streams: one that is done has its next batch at hand, though results are taken in order.
        self._idle: queue.SimpleQueue[ov.InferRequest] = queue.SimpleQueue()
        for _ in range(2 * self.streams):
            self._idle.put(self._compiled.create_infer_request())

    def run(self, batches: Iterable[Sequence[Tokenised]]) -> Generator[npt.NDArray[np.float32], None, None]:
        """Yield the output of each batch, in order; several are under way at once where requests are idle."""
        running: deque[ov.InferRequest] = deque()

        def finish() -> npt.NDArray[np.float32]:
            request = running.popleft()
            try:
                request.wait()
                return np.array(request.get_output_tensor(0).data, dtype=np.float32)
            finally:
                self._idle.put(request)

        try:
            for batch in batches:
                longest = max(len(item) for item in batch)
                inputs = padded(batch, self._pad_id, min(whole_steps(longest, self.step), self._max_tokens))
                while (request := self._borrow(must=not running)) is None:
                    yield finish()
                running.append(request)
                request.start_async({name: inputs[name] for name in self._inputs})
            while running:
                yield finish()
        finally:
            while running:
                with suppress(RuntimeError):  # an error of a batch that nobody will read any more
                    finish()

    def _borrow(self, *, must: bool) -> ov.InferRequest | None:
        """An idle request. Only a caller that holds none may wait for one, so callers cannot block each other."""
        try:
            return self._idle.get(block=must)
        except queue.Empty:
            return None


def padded(items: Sequence[Tokenised], pad_id: int, width: int = 0) -> dict[str, npt.NDArray[np.int64]]:
    """The arrays of one batch, int64 (items, tokens of the longest, or ``width`` if more), padded on the right."""
    shape = (len(items), max(width, *(len(item) for item in items)))
    ids, mask, types = np.full(shape, pad_id, np.int64), np.zeros(shape, np.int64), np.zeros(shape, np.int64)
    for row, item in enumerate(items):
        ids[row, : len(item)] = item.ids
        mask[row, : len(item)] = 1
        types[row, : len(item)] = item.types
    return {"input_ids": ids, "attention_mask": mask, "token_type_ids": types}

"""The OpenVINO engine: compiled once, used by any number of threads."""

from __future__ import annotations

import queue
from collections import deque
from collections.abc import Generator, Iterable
from contextlib import suppress
from functools import lru_cache

import numpy as np
import numpy.typing as npt
import openvino as ov

from bicross.errors import UsageError

Batch = dict[str, npt.NDArray[np.int64]]

PRECISIONS = ("auto", "f32", "bf16")


@lru_cache(maxsize=1)
def _core() -> ov.Core:
    return ov.Core()


def resolve_precision(precision: str) -> str:
    """``f32`` or ``bf16``: ``auto`` takes bf16 where the CPU computes in it.

    Raises:
        UsageError: Unknown precision, or bf16 on a CPU without it (it would be emulated, slower than f32).
    """
    if precision not in PRECISIONS:
        raise UsageError(f"precision {precision!r} is unknown; choose one of {', '.join(PRECISIONS)}")
    has_bf16 = "BF16" in _core().get_property("CPU", "OPTIMIZATION_CAPABILITIES")
    if precision == "auto":
        return "bf16" if has_bf16 else "f32"
    if precision == "bf16" and not has_bf16:
        raise UsageError("this CPU does not compute in bf16; choose precision f32")
    return precision


class OpenVinoEngine:
    """A compiled graph with one output.

    Args:
        model: The graph.
        precision: ``f32`` or ``bf16``: what the matrix products are computed in. Outputs are float32 either way.
    """

    def __init__(self, model: ov.Model, precision: str) -> None:
        self.precision = precision
        self._compiled = _core().compile_model(
            model, "CPU", {"INFERENCE_PRECISION_HINT": precision, "PERFORMANCE_HINT": "THROUGHPUT"}
        )
        count = int(self._compiled.get_property("OPTIMAL_NUMBER_OF_INFER_REQUESTS"))
        # Requests are lent: each is used by one thread at a time, and a caller that finds none waits.
        self._idle: queue.SimpleQueue[ov.InferRequest] = queue.SimpleQueue()
        for _ in range(count):
            self._idle.put(self._compiled.create_infer_request())

    def run(self, batches: Iterable[Batch]) -> Generator[npt.NDArray[np.float32], None, None]:
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
                while (request := self._borrow(must=not running)) is None:
                    yield finish()
                running.append(request)
                request.start_async(batch)
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

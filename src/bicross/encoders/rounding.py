"""Make a model's linear layers int8: look at what they read on real texts, choose scales, round.

Rounding to nearest throws away more than need be. Three things are done about it. The spread of the inputs is moved
into the weights where that leaves the smaller error (SmoothQuant, Xiao et al. 2023). The few neurons of each feed
forward part with by far the largest numbers stay in floating point (the idea of LLM.int8, Dettmers et al. 2022). And
the weights are rounded one column after the other, each time making up for the error in the columns that are left
(GPTQ, Frantar et al. 2023).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from bicross.encoders.batching import plan_batches
from bicross.encoders.engines.openvino import OpenVinoEngine, core, padded
from bicross.encoders.families import Architecture, Floats, Tensors
from bicross.encoders.graphs import reading_graph
from bicross.encoders.int8 import Int8Linear
from bicross.encoders.tokenising import Tokenised

#: Neurons of each feed forward part that stay in floating point.
KEPT = 16

#: Rows of a layer's input that scales are tried on.
_SAMPLE = 3072

#: How much of the inputs' spread is moved into the weights: what is tried.
_STRENGTHS = (0.5, 0.65, 0.8, 0.95)


@dataclass
class _Reading:
    """What a layer reads, added up over the calibration texts: of (tokens, inputs) float32."""

    gram: Floats
    low: Floats
    high: Floats
    sample: list[Floats]
    tokens: int = 0

    @staticmethod
    def of(inputs: int) -> _Reading:
        zero = np.zeros(inputs, np.float32)
        return _Reading(np.zeros((inputs, inputs), np.float32), zero.copy(), zero.copy(), [])

    def add(self, rows: Floats, sampled: int) -> None:
        self.gram += rows.T @ rows
        self.low = np.minimum(self.low, rows.min(axis=0))
        self.high = np.maximum(self.high, rows.max(axis=0))
        self.sample.append(rows[:: max(1, len(rows) // max(1, sampled))].copy())
        self.tokens += len(rows)

    def without(self, columns: npt.NDArray[np.int64]) -> _Reading:
        left = np.setdiff1d(np.arange(len(self.low)), columns)
        rows = [block[:, left] for block in self.sample]
        return _Reading(self.gram[np.ix_(left, left)], self.low[left], self.high[left], rows, self.tokens)


def int8_layers(
    tensors: Tensors,
    shape: Architecture,
    items: Sequence[Tokenised],
    pad_id: int,
    advance: Callable[[int], None] = lambda count: None,
) -> dict[str, Int8Linear]:
    """The feed forward part of each layer in int8: two thirds of a transformer's work.

    Queries, keys, values and the layer behind them stay in floating point: int8 would gain little there
    and cost the answers that matter (``docs/decisions/int8.md``).

    Args:
        tensors: The weights.
        shape: The numbers of the model.
        items: What it is calibrated on: a few hundred texts or pairs like those it will read.
        pad_id: Token id of padding.
        advance: Called after each layer of the transformer.
    """
    family = shape.family
    layers: dict[str, Int8Linear] = {}
    for number in range(shape.layers):
        name = family.layer.format(number)
        inner, outer = f"{name}{family.inner}", f"{name}{family.outer}"
        read = _read(tensors, shape, [inner, outer], items, pad_id)
        peak = np.maximum(-read[outer].low, read[outer].high) * np.abs(tensors(f"{outer}.weight")).max(axis=0)
        kept = np.sort(np.argsort(-peak)[: min(KEPT, len(peak) // 8)])
        left = np.setdiff1d(np.arange(len(peak)), kept)
        weight, bias = tensors(f"{inner}.weight")[left], tensors(f"{inner}.bias")[left]
        layers[inner] = _quantised(weight, bias, read[inner], np.zeros(0, np.int64))
        weight = np.ascontiguousarray(tensors(f"{outer}.weight")[:, left])
        layers[outer] = _quantised(weight, tensors(f"{outer}.bias"), read[outer].without(kept), kept)
        advance(1)
    return layers


def _read(
    tensors: Tensors, shape: Architecture, names: Sequence[str], items: Sequence[Tokenised], pad_id: int
) -> dict[str, _Reading]:
    """What the named layers read when the model runs over the items in float32."""
    graph = reading_graph(tensors, shape, names)
    widths = [int(port.get_partial_shape()[-1].get_length()) for port in graph.outputs]
    readings = [_Reading.of(width) for width in widths]
    request = core().compile_model(graph, "CPU", {"INFERENCE_PRECISION_HINT": "f32"}).create_infer_request()
    plan = plan_batches([len(item) for item in items], OpenVinoEngine.token_budget)
    for positions in plan:
        inputs = padded([items[i] for i in positions], pad_id)
        request.infer(inputs)
        real = inputs["attention_mask"].astype(bool)
        for reading, tensor in zip(readings, request.output_tensors, strict=True):
            reading.add(np.asarray(tensor.data[real], dtype=np.float32), _SAMPLE // len(plan) + 1)
    return dict(zip(names, readings, strict=True))


def _quantised(weight: Floats, bias: Floats, read: _Reading, kept: npt.NDArray[np.int64]) -> Int8Linear:
    sample = np.concatenate(read.sample)
    exact = sample @ weight.T
    reach = np.maximum(np.maximum(-read.low, read.high), 1e-4)
    strength = np.maximum(np.abs(weight).max(axis=0), 1e-4)

    def scaling(share: float) -> tuple[float, Floats, tuple[float, float]]:
        """Mean squared error, scale of the inputs, and the range of the scaled inputs."""
        scale = reach**share / strength ** (1 - share)
        scale = np.asarray(scale / np.exp(np.log(scale).mean()), dtype=np.float32)
        limits = _range(float((read.low / scale).min()), float((read.high / scale).max()))
        scaled = weight * scale
        step = _steps(scaled)
        rounded = np.rint(scaled / step[:, None]) * step[:, None]
        error = exact - _rounded(sample / scale, limits) @ rounded.T
        return float((error**2).mean()), scale, limits

    _, scale, limits = min((scaling(share) for share in _STRENGTHS), key=lambda tried: tried[0])
    scaled = weight * scale
    step = _steps(scaled)
    gram = np.asarray(read.gram / read.tokens / np.outer(scale, scale), dtype=np.float32)
    stored = _round_in_turn(scaled, gram, step)
    found = _rounded(sample / scale, limits) @ (stored * step[:, None]).T
    bias = np.asarray(bias + (exact - found).mean(axis=0), dtype=np.float32)
    return Int8Linear(stored.astype(np.int8), step, bias, scale, limits, kept)


def _range(low: float, high: float) -> tuple[float, float]:
    """256 steps from about ``low`` to about ``high``, of which one is exactly zero."""
    step = max(high - min(low, 0.0), 1e-6) / 255
    zero = round(-min(low, 0.0) / step)
    return -zero * step, (255 - zero) * step


def _rounded(rows: Floats, limits: tuple[float, float]) -> Floats:
    low, high = limits
    step = (high - low) / 255
    return np.asarray(np.clip(np.rint((rows - low) / step), 0, 255) * step + low, dtype=np.float32)


def _steps(weight: Floats) -> Floats:
    """The size of one step in each row."""
    return np.asarray(np.maximum(np.abs(weight).max(axis=1), 1e-9) / 127, dtype=np.float32)


def _round_in_turn(weight: Floats, gram: Floats, step: Floats, block: int = 128) -> Floats:
    """GPTQ: whole numbers from -127 to 127, as float32, shape of ``weight``."""
    size = weight.shape[1]
    order = np.argsort(-np.diag(gram))  # the inputs that carry most first, while there are others to make up for them
    work = weight[:, order].copy()
    damped = gram[np.ix_(order, order)].astype(np.float64)
    damped += np.eye(size) * 0.01 * np.diag(damped).mean()
    upper = np.linalg.cholesky(np.linalg.inv(damped)).T.astype(np.float32)
    result = np.empty_like(work)
    for start in range(0, size, block):
        end = min(start + block, size)
        errors = np.empty((len(work), end - start), np.float32)
        for i in range(start, end):
            result[:, i] = np.clip(np.rint(work[:, i] / step), -127, 127)
            error = (work[:, i] - result[:, i] * step) / upper[i, i]
            work[:, i:end] -= np.outer(error, upper[i, i:end])
            errors[:, i - start] = error
        work[:, end:] -= errors @ upper[start:end, end:]
    return np.asarray(result[:, np.argsort(order)])

"""What a machine can do: the numbers that plans are made from."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from itertools import pairwise
from typing import Any

from bicross.errors import UsageError


@dataclass(frozen=True)
class Curve:
    """A cost that depends on a length: straight lines between measured points.

    Below the first point it is flat, beyond the last one it goes on as between the last two.

    Attributes:
        points: (length, cost), lengths rising.
    """

    points: tuple[tuple[float, float], ...]

    def at(self, length: float) -> float:
        """The cost at a length; never below 0."""
        if len(self.points) == 1 or length <= self.points[0][0]:
            return self.points[0][1]
        right = min(bisect_right(self.points, length, key=lambda point: point[0]), len(self.points) - 1)
        (x0, y0), (x1, y1) = self.points[right - 1], self.points[right]
        return max(0.0, y0 + (y1 - y0) * (length - x0) / (x1 - x0))

    def mean(self, lengths: Iterable[float]) -> float:
        """The mean cost over lengths."""
        costs = [self.at(length) for length in lengths]
        return sum(costs) / len(costs)


@dataclass(frozen=True)
class Speeds:
    """The encoders in one precision. Tokens count the special ones.

    Attributes:
        encode: Seconds a text by its tokens, when there are many.
        query: Seconds of one text on its own, by its tokens.
        score: Seconds a pair by its tokens, when there are many.
        step: Seconds a pair by its tokens, when eight at a time are scored and looked at.
    """

    encode: Curve
    query: Curve
    score: Curve
    step: Curve


@dataclass(frozen=True)
class MachineProfile:
    """One machine with one bi-encoder and one cross-encoder, measured.

    Attributes:
        machine, cores: The CPU by name, and the cores that this process may use.
        bi_encoder, cross_encoder: The models.
        precision: What ``auto`` stands for here.
        speeds: By precision.
        chunk_tokens: The most tokens of a chunk, special ones not counted.
        text_special, pair_special: Special tokens around one text (a prompt included) and around a pair.
        pair_tokens: The most tokens of a pair that the cross-encoder reads.
        dimension: Numbers in an embedding.
        store: Seconds to chunk a text, take its words and store it, by the tokens of the chunk; all but embedding.
        disk: Bytes on disk of a chunk by its tokens.
        empty: Bytes on disk that an index takes beside its chunks.
        retrieve: Seconds of a hybrid search with the texts it brings, by the number of them, among ``indexed`` chunks.
        indexed: How many chunks there were.
        dot: Seconds to compare two embeddings, when there are many.
        start: Seconds to open both models.
        memory: Bytes of the process with both models at work.
        spread: How far apart the rounds of the measurement were: largest minus smallest by the median, the median of
            all cells.
        load: Processes that wanted a core when the measurement began (load average of a minute).
    """

    machine: str
    cores: int
    bi_encoder: str
    cross_encoder: str
    precision: str
    speeds: Mapping[str, Speeds]
    chunk_tokens: int
    text_special: int
    pair_special: int
    pair_tokens: int
    dimension: int
    store: Curve
    disk: Curve
    empty: int
    retrieve: Curve
    indexed: int
    dot: float
    start: float
    memory: int
    spread: float
    load: float

    def at(self, precision: str) -> Speeds:
        """The speeds in a precision; ``auto`` is the one that the encoders choose.

        Raises:
            UsageError: It was not measured here.
        """
        wanted = self.precision if precision == "auto" else precision
        if wanted in self.speeds:
            return self.speeds[wanted]
        known = ", ".join(["auto", *self.speeds])
        if wanted == "int8":
            raise UsageError(
                "int8 cannot be planned: one of the models has no int8 file; make it with: bicross quantise MODEL"
            )
        raise UsageError(f"precision {precision!r} was not measured on this machine; choose one of {known}")

    def as_dict(self) -> dict[str, Any]:
        """Plain values, for JSON."""
        return asdict(self)

    @staticmethod
    def from_dict(values: Mapping[str, Any]) -> MachineProfile:
        """What ``as_dict`` gave, also by way of JSON.

        Raises:
            KeyError, TypeError, ValueError: It is something else.
        """
        speeds = {name: Speeds(**{k: _curve(c) for k, c in s.items()}) for name, s in values["speeds"].items()}
        curves = {name: _curve(values[name]) for name in ("store", "disk", "retrieve")}
        return MachineProfile(**{**values, "speeds": speeds, **curves})


def _curve(values: Mapping[str, Any]) -> Curve:
    points = tuple((float(x), float(y)) for x, y in values["points"])
    if not points or any(a[0] >= b[0] for a, b in pairwise(points)):
        raise ValueError("the points of a curve must rise")
    return Curve(points)

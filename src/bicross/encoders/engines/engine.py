"""What an engine is: it runs a model over batches."""

from __future__ import annotations

from collections.abc import Generator, Iterable, Sequence
from dataclasses import dataclass
from typing import Literal, Protocol

import numpy as np
import numpy.typing as npt

from bicross.encoders.tokenising import Tokenised


@dataclass(frozen=True)
class Head:
    """What a model ends in.

    Attributes:
        output: ``embedding`` of a text, or ``logits`` of a pair.
        pooling: For an embedding: ``mean`` over the tokens, ``cls`` (the first token) or ``max``.
        normalise: For an embedding: whether it is divided by its Euclidean length.
    """

    output: Literal["embedding", "logits"]
    pooling: str = ""
    normalise: bool = False

    @property
    def reads_first_token(self) -> bool:
        """Whether it reads the first token alone, so that the last layer need compute no other."""
        return self.output == "logits" or self.pooling == "cls"


def whole_steps(tokens: int, step: int) -> int:
    """The least multiple of ``step`` that is not less."""
    return -(-tokens // step) * step


class Engine(Protocol):
    """A model ready to run. Threads may share it.

    Attributes:
        precision: What the matrix products are computed in; outputs are float32 whatever it is.
        width: Numbers in an output row: the dimension of an embedding, or the labels of a pair.
        token_budget: Tokens in a batch at which this engine is fastest.
        call_tokens: Tokens that it reads in the time that a call costs: more padding than that is dearer than a batch.
        step: Lengths are padded to multiples of it.
        streams: Batches that it works on at once.
    """

    precision: str
    width: int
    token_budget: int
    call_tokens: int
    step: int
    streams: int

    def run(self, batches: Iterable[Sequence[Tokenised]]) -> Generator[npt.NDArray[np.float32], None, None]:
        """Yield float32 (items, width) for each batch, in order; several may be under way at once."""
        ...

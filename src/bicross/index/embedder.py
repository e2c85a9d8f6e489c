"""What an index needs of a bi-encoder. ``bicross.BiEncoder`` has it; so may an encoder of the user's own."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt


class EncodedTexts(Protocol):
    """Embeddings (texts, dimension) float32, tokens read, and which texts were cut."""

    @property
    def embeddings(self) -> npt.NDArray[np.float32]: ...
    @property
    def tokens(self) -> int: ...
    @property
    def truncated(self) -> npt.NDArray[np.bool_]: ...


class Embedder(Protocol):
    """A bi-encoder as the index sees it."""

    name: str
    dimension: int
    query_prompt: str
    document_prompt: str

    @property
    def identity(self) -> dict[str, Any]:
        """What an embedding depends on; equal identities give comparable vectors."""
        ...

    @property
    def chunk_tokens(self) -> int:
        """The most tokens a chunk may have for the model to read all of it."""
        ...

    def token_spans(self, text: str) -> list[tuple[int, int]]: ...

    def encode(
        self,
        texts: str | Sequence[str],
        prompt: str = "",
        label: str = "texts",
        show_progress: bool | None = None,
        advance: Callable[[int], None] | None = None,
    ) -> EncodedTexts: ...

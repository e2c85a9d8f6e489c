"""Tokens for the encoders: no shared state is ever changed, so threads can share a tokeniser."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
import numpy.typing as npt
from tokenizers import Encoding, Tokenizer

from bicross.encoders.folder import read_json
from bicross.errors import ModelError


@dataclass(frozen=True)
class Tokenised:
    """One text, or one pair of texts, as the model reads it.

    Attributes:
        ids, types: int64 arrays of the same length, special tokens included.
        truncated: Whether tokens were cut off to fit the limit.
    """

    ids: npt.NDArray[np.int64]
    types: npt.NDArray[np.int64]
    truncated: bool

    def __len__(self) -> int:
        return len(self.ids)


class TextTokeniser:
    """The tokeniser of a model folder with a fixed limit.

    Truncation is set once, here: changing it on a tokeniser that other threads use is an error in the library
    underneath. Pairs lose tokens from the longer text first, as in sentence-transformers.

    Args:
        folder: The model folder; it must hold ``tokenizer.json``.
        max_tokens: Special tokens included.
    """

    def __init__(self, folder: Path, max_tokens: int) -> None:
        self._file = folder / "tokenizer.json"
        self.max_tokens = max_tokens
        self._cut = _read_tokeniser(self._file)
        self._cut.enable_truncation(max_tokens, strategy="longest_first")
        self.special_tokens = self._cut.num_special_tokens_to_add(False)
        self.pad_id = _pad_id(folder, self._cut)

    @cached_property
    def _whole(self) -> Tokenizer:
        """Without truncation. Read when first asked for: only indexing needs it, and reading takes a while."""
        tokeniser = _read_tokeniser(self._file)
        tokeniser.no_truncation()
        return tokeniser

    def __call__(self, texts: Sequence[str] | Sequence[tuple[str, str]]) -> list[Tokenised]:
        encodings: list[Encoding] = self._cut.encode_batch(list(texts))
        return [
            Tokenised(np.array(e.ids, dtype=np.int64), np.array(e.type_ids, dtype=np.int64), bool(e.overflowing))
            for e in encodings
        ]

    def spans(self, text: str) -> list[tuple[int, int]]:
        """Start and end of each token in ``text``, in characters, without special tokens."""
        offsets: list[tuple[int, int]] = self._whole.encode(text, add_special_tokens=False).offsets
        return offsets


def _read_tokeniser(file: Path) -> Tokenizer:
    if not file.is_file():
        raise ModelError(f"{file}: missing; bicross needs the fast tokeniser file of a model")
    try:
        tokeniser = Tokenizer.from_file(str(file))
    except Exception as error:  # the library raises nothing narrower
        raise ModelError(f"{file}: broken: {error}") from None
    tokeniser.no_padding()
    return tokeniser


def _pad_id(folder: Path, tokeniser: Tokenizer) -> int:
    config = read_json(folder / "config.json")
    if isinstance(config.get("pad_token_id"), int):
        return int(config["pad_token_id"])
    return tokeniser.token_to_id("[PAD]") or 0

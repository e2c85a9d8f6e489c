"""Tokens for the encoders: no shared state is ever changed, so threads can share a tokeniser."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Literal

import numpy as np
import numpy.typing as npt
from tokenizers import Encoding, Tokenizer

from bicross.encoders.folder import read_json
from bicross.errors import ModelError, UsageError

Ids = npt.NDArray[np.int32]

#: What happens to a pair that is longer than the model reads.
OnLong = Literal["truncate", "error", "max_passage"]
ON_LONG: tuple[OnLong, ...] = ("truncate", "error", "max_passage")


@dataclass(frozen=True)
class Tokenised:
    """One text, or one pair of texts, as the model reads it.

    Attributes:
        ids, types: int32 arrays of the same length, special tokens included.
        lost: Tokens of the text, or of both texts, that were cut off to fit the limit.
    """

    ids: Ids
    types: Ids
    lost: int = 0

    def __len__(self) -> int:
        return len(self.ids)


class TextTokeniser:
    """The tokeniser of a model folder with a fixed limit.

    The library underneath only ever splits text into tokens: special tokens are put around them and the cut is made
    here. So nothing is switched on a tokeniser that other threads use, and a query is split once for all its documents.

    Args:
        folder: The model folder; it must hold ``tokenizer.json``.
        max_tokens: Special tokens included.
    """

    def __init__(self, folder: Path, max_tokens: int) -> None:
        self._tokeniser = _read_tokeniser(folder / "tokenizer.json")
        self.max_tokens = max_tokens
        self._single = _template(self._tokeniser, 1)
        self.special_tokens = self._single.special_tokens
        self.pad_id = _pad_id(folder, self._tokeniser)

    @cached_property
    def _paired(self) -> _Template:
        return _template(self._tokeniser, 2)

    def texts(self, texts: Sequence[str], name: Callable[[int], str]) -> list[Tokenised]:
        """Tokens of each text.

        Args:
            texts: The texts.
            name: What to call the text at a position in a message.

        Raises:
            UsageError: A text holds half a surrogate pair, which stands for no character.
        """
        room = self.max_tokens - self.special_tokens
        return [self._single.join([ids[:room]], max(0, len(ids) - room)) for ids in self._split(texts, name)]

    def pairs(
        self, pairs: Sequence[tuple[str, str]], on_long: OnLong, name: Callable[[int], str]
    ) -> tuple[list[Tokenised], npt.NDArray[np.int64]]:
        """Tokens of each pair of a query and a document.

        Query and document share the limit. Of a pair that is too long the query is kept whole up to a quarter of the
        limit (or more, where the document leaves room), and the document is cut.

        Args:
            pairs: The pairs.
            on_long: ``truncate`` cuts; ``error`` refuses; ``max_passage`` gives a document in overlapping passages,
                each an item of its own.
            name: What to call the pair at a position in a message.

        Returns:
            The items, and for each the position of its pair.

        Raises:
            UsageError: A pair is too long and ``on_long`` is ``error``; or as in ``texts``.
        """
        first: dict[str, int] = {}  # where each distinct query stands first
        for position, (query, _) in enumerate(pairs):
            first.setdefault(query, position)
        places = list(first.values())
        asked = dict(zip(first, self._split(list(first), lambda i: f"the query of {name(places[i])}"), strict=True))
        documents = self._split([document for _, document in pairs], lambda i: f"the document of {name(i)}")
        room = self.max_tokens - self._paired.special_tokens
        items: list[Tokenised] = []
        owners: list[int] = []
        for position, ((query, _), document) in enumerate(zip(pairs, documents, strict=True)):
            whole = asked[query]
            if (needed := len(whole) + len(document)) > room and on_long == "error":
                raise UsageError(
                    f"{name(position)} has {needed} tokens and the model reads {room}; "
                    "shorten it, or choose on_long='truncate' or 'max_passage'"
                )
            kept = whole[: max(self.max_tokens // 4, room - len(document))]
            space = room - len(kept)
            starts = _passages(len(document), space) if on_long == "max_passage" else [0]
            lost = len(whole) - len(kept) + (max(0, len(document) - space) if on_long == "truncate" else 0)
            for start in starts:
                items.append(self._paired.join([kept, document[start : start + space]], lost))
                owners.append(position)
        return items, np.array(owners, dtype=np.int64)

    def spans(self, text: str) -> list[tuple[int, int]]:
        """Start and end of each token in ``text``, in characters, without special tokens."""
        offsets: list[tuple[int, int]] = self._tokeniser.encode(text, add_special_tokens=False).offsets
        return offsets

    def _split(self, texts: Sequence[str], name: Callable[[int], str]) -> list[Ids]:
        try:
            encodings: list[Encoding] = self._tokeniser.encode_batch_fast(list(texts), add_special_tokens=False)
        except TypeError:  # the library cannot take a string that has no UTF-8, and does not say which one
            for position, text in enumerate(texts):
                _check_unicode(text, name(position))
            raise
        return [np.array(e.ids, dtype=np.int32) for e in encodings]


def _check_unicode(text: str, name: str) -> None:
    try:
        text.encode()
    except UnicodeEncodeError as error:
        raise UsageError(
            f"{name} has half a surrogate pair at character {error.start} ({text[error.start]!a}); "
            "decode the text again, with errors='replace' if need be"
        ) from None


def _passages(tokens: int, space: int) -> list[int]:
    """Where passages of ``space`` tokens start that cover a document; a quarter of each is in the next one, too."""
    last = max(0, tokens - space)
    return [*range(0, last, space - space // 4), last]


@dataclass(frozen=True)
class _Template:
    """What a model's tokeniser puts around one text or two.

    Attributes:
        around: Ids and types of the special tokens before, between and after the texts.
        types: Type of each text's tokens.
    """

    around: tuple[tuple[Ids, Ids], ...]
    types: tuple[int, ...]

    @property
    def special_tokens(self) -> int:
        return sum(len(ids) for ids, _ in self.around)

    def join(self, texts: Sequence[Ids], lost: int) -> Tokenised:
        pieces = [self.around[0]]
        for ids, kind, after in zip(texts, self.types, self.around[1:], strict=True):
            pieces += [(ids, np.full(len(ids), kind, dtype=np.int32)), after]
        ids, types = (np.concatenate(rows) for rows in zip(*pieces, strict=True))
        return Tokenised(ids, types, lost)


def _template(tokeniser: Tokenizer, texts: int) -> _Template:
    """Learned from an example, since each family of models has its own special tokens."""
    example: Encoding = tokeniser.encode("a", "a" if texts == 2 else None)
    owners = example.sequence_ids  # which text a token is of; None for a special token
    places = [[i for i, owner in enumerate(owners) if owner == text] for text in range(texts)]
    if not all(places):
        raise ModelError("tokenizer.json: the letter a gives no token; the tokeniser is of no use")
    ids, types = np.array(example.ids, dtype=np.int32), np.array(example.type_ids, dtype=np.int32)
    starts, ends = [0, *(p[-1] + 1 for p in places)], [*(p[0] for p in places), len(ids)]
    around = tuple((ids[start:end], types[start:end]) for start, end in zip(starts, ends, strict=True))
    return _Template(around, tuple(int(types[p[0]]) for p in places))


def _read_tokeniser(file: Path) -> Tokenizer:
    if not file.is_file():
        raise ModelError(f"{file}: missing; bicross needs the fast tokeniser file of a model")
    try:
        tokeniser = Tokenizer.from_file(str(file))
    except Exception as error:  # the library raises nothing narrower
        raise ModelError(f"{file}: broken: {error}") from None
    tokeniser.no_padding()
    tokeniser.no_truncation()
    return tokeniser


def _pad_id(folder: Path, tokeniser: Tokenizer) -> int:
    config = read_json(folder / "config.json")
    if isinstance(config.get("pad_token_id"), int):
        return int(config["pad_token_id"])
    return tokeniser.token_to_id("[PAD]") or 0

"""The two nouns of the text side."""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any

from bicross.errors import DocumentError

#: Longer ids are refused: an id stands in every chunk, every hit and every message.
MAX_ID = 10_000

#: Deeper metadata is refused: JSON parsers stop at some depth, the strictest that we use at 128.
MAX_DEPTH = 100


@dataclass(frozen=True)
class Document:
    """What a user gives.

    Attributes:
        id: The user's own identifier. Stable, unique in a corpus, never a position. At most 10,000 characters.
        text: The whole text.
        title: Put in front of every chunk when it is embedded; may be empty.
        metadata: JSON values that come back with every hit.
        source: The absolute path of the file it was read from, "-" for standard input, "" when it came from Python.
        pages: Where each page starts in ``text``, page 1 first; empty when there are no pages.

    Raises:
        DocumentError: A value cannot be stored: an id that is no string, a NaN, an object that JSON does not have.
    """

    id: str
    text: str
    title: str = ""
    metadata: Mapping[str, Any] = field(default_factory=dict)
    source: str = ""
    pages: tuple[int, ...] = ()

    def __post_init__(self) -> None:
        for name in ("id", "text", "title", "source"):
            value = getattr(self, name)
            if not isinstance(value, str):
                raise DocumentError(f"document {short(self.id)}: its {name} is {type(value).__name__}, not a string")
        if not self.id:
            raise DocumentError("a document has an empty id")
        if len(self.id) > MAX_ID:
            raise DocumentError(
                f"document {short(self.id)}: its id has {len(self.id):,} characters; at most {MAX_ID:,} can be stored"
            )
        for name in ("id", "text", "title", "metadata", "source"):
            if problem := _problem(getattr(self, name)):
                raise DocumentError(f"document {short(self.id)}: its {name} {problem}")
        if any(after < before for before, after in pairwise((0, *self.pages, len(self.text)))):
            raise DocumentError(f"document {short(self.id)}: its pages are not rising offsets in its text")

    @property
    def content_hash(self) -> str:
        """Hex SHA-256 of title, text, metadata and pages. Equal hashes: nothing has to be embedded again."""
        content: list[Any] = [self.title, self.text, dict(self.metadata)]
        if self.pages:
            content.append(list(self.pages))
        return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()


def short(value: object, limit: int = 60) -> str:
    """A value as messages show it: on one line, and only its beginning when it is long."""
    if isinstance(value, str):
        return repr(value) if len(value) <= limit else f"{value[:limit]!r}…"
    shown = repr(value)
    return shown if len(shown) <= limit else f"{shown[:limit]}…"


def _problem(value: Any, depth: int = 0) -> str | None:
    """Why a value cannot be stored and come back as it was; None when it can."""
    match value:
        case None | bool():
            return None
        case str():
            try:
                value.encode()  # fails for lone surrogates alone
            except UnicodeEncodeError:
                return "holds half of a surrogate pair"
            return None
        case int():
            return None if -(2**63) <= value < 2**63 else "holds a whole number of more than 64 bits"
        case float():
            return None if math.isfinite(value) else f"holds {value}, which is no JSON number"
        case list() | tuple() | Mapping() if depth == MAX_DEPTH:
            return f"holds values that are nested more than {MAX_DEPTH} levels deep"
        case list() | tuple():
            return next(filter(None, (_problem(item, depth + 1) for item in value)), None)
        case Mapping():
            if not all(isinstance(key, str) for key in value):
                return "has a key that is not a string"
            return next(filter(None, (_problem(item, depth + 1) for item in (*value, *value.values()))), None)
        case other:
            return f"holds a {type(other).__name__}; JSON values are strings, numbers, lists and objects"


@dataclass(frozen=True)
class Chunk:
    """A passage of a document: the unit that is embedded.

    ``document.text[start:end] == text`` always holds; offsets count characters. ``page`` is the page, from 1, on
    which the chunk starts; None when the document has no pages.
    """

    id: str
    document_id: str
    text: str
    start: int
    end: int
    title: str = ""
    page: int | None = None

    @property
    def embedded_text(self) -> str:
        """What the models read: the title, then the passage."""
        return f"{self.title}\n{self.text}" if self.title else self.text

"""The two nouns of the text side."""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from bicross.errors import DocumentError


@dataclass(frozen=True)
class Document:
    """What a user gives.

    Attributes:
        id: The user's own identifier. Stable, unique in a corpus, never a position.
        text: The whole text.
        title: Put in front of every chunk when it is embedded; may be empty.
        metadata: JSON values that come back with every hit.

    Raises:
        DocumentError: A value cannot be stored: an id that is no string, a NaN, an object that JSON does not have.
    """

    id: str
    text: str
    title: str = ""
    metadata: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        for name in ("id", "text", "title"):
            value = getattr(self, name)
            if not isinstance(value, str):
                raise DocumentError(f"document {self.id!r}: its {name} is {type(value).__name__}, not a string")
        if not self.id:
            raise DocumentError("a document has an empty id")
        for name in ("id", "text", "title", "metadata"):
            if problem := _problem(getattr(self, name)):
                raise DocumentError(f"document {self.id!r}: its {name} {problem}")

    @property
    def content_hash(self) -> str:
        """Hex SHA-256 of title, text and metadata. Equal hashes mean that nothing has to be embedded again."""
        content = [self.title, self.text, dict(self.metadata)]
        return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()


def _problem(value: Any) -> str | None:
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
            return None if -(2**63) <= value < 2**63 else f"holds {value:.3e}, more than 64 bits"
        case float():
            return None if math.isfinite(value) else f"holds {value}, which is no JSON number"
        case list() | tuple():
            return next(filter(None, map(_problem, value)), None)
        case Mapping():
            if not all(isinstance(key, str) for key in value):
                return "has a key that is not a string"
            return next(filter(None, map(_problem, (*value, *value.values()))), None)
        case other:
            return f"holds a {type(other).__name__}; JSON values are strings, numbers, lists and objects"


@dataclass(frozen=True)
class Chunk:
    """A passage of a document: the unit that is embedded.

    ``document.text[start:end] == text`` always holds; offsets count characters.
    """

    id: str
    document_id: str
    text: str
    start: int
    end: int
    title: str = ""

    @property
    def embedded_text(self) -> str:
        """What the models read: the title, then the passage."""
        return f"{self.title}\n{self.text}" if self.title else self.text

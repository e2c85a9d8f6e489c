"""The two nouns of the text side."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True)
class Document:
    """What a user gives.

    Attributes:
        id: The user's own identifier. Stable, unique in a corpus, never a position.
        text: The whole text.
        title: Put in front of every chunk when it is embedded; may be empty.
        metadata: JSON values that come back with every hit.
    """

    id: str
    text: str
    title: str = ""
    metadata: Mapping[str, Any] = field(default_factory=dict)

    @property
    def content_hash(self) -> str:
        """Hex SHA-256 of title, text and metadata. Equal hashes mean that nothing has to be embedded again."""
        content = [self.title, self.text, dict(self.metadata)]
        return hashlib.sha256(json.dumps(content, sort_keys=True, default=str).encode()).hexdigest()


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

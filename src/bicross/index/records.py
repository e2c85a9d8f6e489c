"""What is stored of a chunk, and the way back."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from hashlib import blake2b
from typing import Any, Protocol, TypeVar

import numpy as np
import numpy.typing as npt

from bicross.documents import Chunk
from bicross.index.fields import field_values
from bicross.index.lexical import TermWeights

Vectors = npt.NDArray[np.float32]


class Named(Protocol):
    """What has the id of a document."""

    @property
    def id(self) -> str: ...


D = TypeVar("D", bound=Named)

#: A chunk on its way to the engine: payload, vector (dimension,), weighted terms.
Row = tuple[dict[str, Any], Vectors, TermWeights]

#: Scores by the engine's name of a chunk, best first.
Found = dict[str, float]

#: How the engine keeps a vector: half the bytes of float32, with an error of a similarity below 1e-4.
DTYPE = np.float16


@dataclass(frozen=True)
class EncodedDocument:
    """A document that is ready to be stored.

    Attributes:
        id, content_hash, source, metadata: As of the ``Document``.
        chunks: At least one, in order.
        vectors: (chunks, dimension) float32.
        truncated: Of each chunk, whether the model did not read it to its end.
    """

    id: str
    content_hash: str
    chunks: Sequence[Chunk]
    vectors: Vectors
    truncated: Sequence[bool]
    metadata: Mapping[str, Any]
    source: str = ""


@dataclass(frozen=True)
class Stored:
    """A chunk as the engine gives it back; ``vector`` and ``terms`` only where they were asked for."""

    chunk: Chunk
    number: int
    content_hash: str
    truncated: bool
    metadata: Mapping[str, Any]
    vector: Vectors | None = None
    terms: TermWeights | None = None


@dataclass(frozen=True)
class Version:
    """A document with one content, and how many chunks it has."""

    document_id: str
    content_hash: str
    chunks: int


def rows(document: EncodedDocument, terms: Iterable[TermWeights]) -> list[Row]:
    """What the engine is given of each chunk."""
    return list(zip(_payloads(document), document.vectors, terms, strict=True))


def _payloads(document: EncodedDocument) -> list[dict[str, Any]]:
    """What is stored beside the vectors of each chunk."""
    # the engine's Python binding takes True for 1, so that filters find booleans only as words
    booleans: dict[str, list[str]] = {}
    for name, value in field_values(document.metadata):
        if isinstance(value, bool):
            booleans.setdefault(name.replace('"', "'"), []).append(str(value).lower())
    return [
        {
            "document_id": document.id,
            "hash": document.content_hash,
            "number": number,
            "title": chunk.title,
            "text": chunk.text,
            "start": chunk.start,
            "end": chunk.end,
            "page": chunk.page,
            "truncated": bool(truncated),
            "metadata": dict(document.metadata),
            "booleans": booleans,
        }
        for number, (chunk, truncated) in enumerate(zip(document.chunks, document.truncated, strict=True))
    ]


def stored(payload: Mapping[str, Any], vector: Vectors | None = None, terms: TermWeights | None = None) -> Stored:
    """A payload that came back."""
    number, page = int(payload["number"]), payload.get("page")
    chunk = Chunk(
        chunk_id(payload["document_id"], number),
        payload["document_id"],
        payload["text"],
        int(payload["start"]),
        int(payload["end"]),
        payload["title"],
        None if page is None else int(page),
    )
    metadata = payload.get("metadata") or {}
    return Stored(chunk, number, payload["hash"], bool(payload["truncated"]), metadata, vector, terms)


def chunk_id(document_id: str, number: int) -> str:
    return f"{document_id}#{number}"


def digest(chunks: Sequence[Stored]) -> str:
    """Checksums of all that is stored of a document, bit by bit: 32 hex digits of BLAKE2b (RFC 7693) over texts and
    metadata, a colon, 32 over the vectors.
    """
    texts, vectors = blake2b(digest_size=16), blake2b(digest_size=16)
    for item in chunks:
        chunk = item.chunk
        fields = [item.number, item.content_hash, chunk.text, chunk.title, chunk.start, chunk.end, chunk.page]
        texts.update(json.dumps([*fields, item.truncated, dict(item.metadata)], sort_keys=True).encode())
        if item.vector is not None and item.terms is not None:
            for array in (item.vector, item.terms.terms, item.terms.weights):
                vectors.update(array.tobytes())
    return f"{texts.hexdigest()}:{vectors.hexdigest()}"

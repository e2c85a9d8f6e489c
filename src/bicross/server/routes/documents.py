"""``/documents``: what the index holds. A write that was answered is on disk."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import APIRouter
from pydantic import Field

from bicross.documents import Document
from bicross.errors import UsageError
from bicross.index import AddReport
from bicross.server.intake import RefusedError
from bicross.server.routes.shared import Asked, MayWrite, Server, ThisServer, begin, check_number

router = APIRouter(prefix="/documents", tags=["documents"])

Id = Annotated[str, Field(min_length=1, description="Your own identifier.")]


class GivenDocument(Asked):
    """A document to store."""

    id: Id
    text: Annotated[str, Field(description="The whole text; it is cut into chunks.")]
    title: Annotated[str, Field(description="Put in front of every chunk; may be empty.")] = ""
    metadata: Annotated[dict[str, Any], Field(description="Comes back with every hit, and can be filtered by.")] = (
        Field(default_factory=dict)
    )


class Documents(Asked):
    """Documents to store: new ones, and new versions of those that are there."""

    documents: Annotated[list[GivenDocument], Field(min_length=1)]


class Ids(Asked):
    """Documents to delete."""

    ids: Annotated[list[Id], Field(min_length=1)]


class Deleted(Asked):
    """What was deleted, and which ids were not there."""

    deleted: int
    unknown: list[str]


class StoredChunk(Asked):
    """A passage of a document."""

    chunk_id: str
    text: str
    start: Annotated[int, Field(description="Where it stands in the text, in characters.")]
    end: int
    page: int | None
    truncated: Annotated[bool, Field(description="Whether the bi-encoder did not read it to its end.")]


class StoredDocument(Asked):
    """A document as it is stored."""

    id: str
    title: str
    metadata: dict[str, Any]
    chunks: list[StoredChunk]


@router.post("", dependencies=[MayWrite])
@router.put("", dependencies=[MayWrite])
def upsert(asked: Documents, server: ThisServer) -> AddReport:
    """Store documents. When this is answered they are on disk and are found."""
    begin(urgent=False)
    check_number(len(asked.documents), f"{len(asked.documents):,} at once", server)
    most = server.settings.limits.text_characters
    for given in asked.documents:
        if len(given.text) + len(given.title) > most:
            raise UsageError(f"document {given.id[:60]!r} has more than {most:,} characters")
    documents = [Document(given.id, given.text, given.title, given.metadata) for given in asked.documents]
    with server.serving.opened() as opened:
        report = opened.index.upsert(documents)
        server.serving.count(opened.index)
    return report


@router.delete("", dependencies=[MayWrite])
def delete(asked: Ids, server: ThisServer) -> Deleted:
    """Delete documents. When this is answered they are found no more."""
    begin(urgent=False)
    check_number(len(asked.ids), f"{len(asked.ids):,} at once", server)
    return _delete(asked.ids, server)


@router.delete("/{document_id:path}", dependencies=[MayWrite])
def delete_one(document_id: str, server: ThisServer) -> Deleted:
    """Delete a document."""
    deleted = _delete([document_id], server)
    if not deleted.deleted:
        raise RefusedError(404, "no document of that id is stored", "unknown")
    return deleted


@router.get("/{document_id:path}")
def get(document_id: str, server: ThisServer) -> StoredDocument:
    """A document with its chunks, in order."""
    with server.serving.opened() as opened:
        found = opened.index.get(document_id)
    if not found:
        raise RefusedError(404, "no document of that id is stored", "unknown")
    chunks = [
        StoredChunk(
            chunk_id=c.chunk.id,
            text=c.chunk.text,
            start=c.chunk.start,
            end=c.chunk.end,
            page=c.chunk.page,
            truncated=c.truncated,
        )
        for c in found
    ]
    return StoredDocument(id=document_id, title=found[0].chunk.title, metadata=dict(found[0].metadata), chunks=chunks)


def _delete(ids: list[str], server: Server) -> Deleted:
    distinct = list(dict.fromkeys(ids))
    with server.serving.opened() as opened:
        unknown = opened.index.delete(distinct)
        server.serving.count(opened.index)
    return Deleted(deleted=len(distinct) - len(unknown), unknown=unknown)

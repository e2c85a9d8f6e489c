"""For assistants: the Model Context Protocol, with two tools over one index (https://modelcontextprotocol.io)."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Protocol

from mcp.server import MCPServer
from mcp_types import ToolAnnotations
from pydantic import BaseModel, Field

import bicross
from bicross.errors import IndexLockedError, UsageError
from bicross.search import SearchResult
from bicross.server.metrics import Metrics
from bicross.server.remote import RemoteIndex, where_served
from bicross.server.serving import Serving
from bicross.server.settings import Limits

#: What an assistant gets at once, so that no answer fills what it can hold.
MOST_HITS, MOST_CHARACTERS = 50, 40_000

#: Characters of a query.
LONGEST_QUERY = 10_000

INSTRUCTIONS = (
    "Search the user's own documents. Ask in whole sentences or words; hits come with a relevance between 0 and 1, and "
    "with the id by which get_document gives the whole document."
)


class Answers(Protocol):
    """What the tools ask: an index in this process, or the server that has it open."""

    def search(self, query: str, **options: Any) -> SearchResult:
        """As ``Searcher.search``."""
        ...

    def get(self, document_id: str) -> Mapping[str, Any]:
        """``title``, ``metadata``, and ``chunks`` with ``text`` and ``start``."""
        ...


class OwnIndex:
    """An index that this process has open."""

    def __init__(self, serving: Serving) -> None:
        self._serving = serving

    def search(self, query: str, **options: Any) -> SearchResult:
        with self._serving.opened() as opened:
            return opened.searcher.search(query, **options)

    def get(self, document_id: str) -> Mapping[str, Any]:
        with self._serving.opened() as opened:
            found = opened.index.get(document_id)
        if not found:
            raise UsageError("no document of that id is stored")
        chunks = [{"text": c.chunk.text, "start": c.chunk.start, "end": c.chunk.end} for c in found]
        return {"title": found[0].chunk.title, "metadata": dict(found[0].metadata), "chunks": chunks}


class FoundPassage(BaseModel):
    """A document that was found, by its best passage."""

    document_id: str
    title: str
    text: str
    relevance: float | None
    page: int | None
    metadata: dict[str, Any]


class Found(BaseModel):
    """Best first."""

    hits: list[FoundPassage]
    note: str


class WholeDocument(BaseModel):
    """The text of a document, or a part of it."""

    document_id: str
    title: str
    metadata: dict[str, Any]
    text: str
    next_start: Annotated[int | None, Field(description="Where to go on; null at the end.")]


def build_mcp(answers: Answers) -> MCPServer:
    """The server with its tools."""
    server = MCPServer("bicross", version=bicross.__version__, instructions=INSTRUCTIONS)
    reads = ToolAnnotations(read_only_hint=True, open_world_hint=False)

    @server.tool(annotations=reads)
    def search(
        query: Annotated[str, Field(min_length=1, max_length=LONGEST_QUERY, description="What to look for.")],
        top_k: Annotated[int, Field(ge=1, le=MOST_HITS, description="Documents to return.")] = 10,
        filter: Annotated[
            str | None, Field(description='Only documents whose metadata fit: year >= 2020 and lang == "en".')
        ] = None,
        min_relevance: Annotated[
            float | None, Field(ge=0, le=1, description="Leave out what is less relevant.")
        ] = None,
    ) -> Found:
        """Find the documents that answer a query best."""
        result = answers.search(query, top_k=top_k, filter=filter, min_relevance=min_relevance)
        hits: list[FoundPassage] = []
        room = MOST_CHARACTERS
        for hit in result.hits:
            text = hit.text[:room]
            room -= len(text)
            if text:
                relevance = None if hit.relevance is None else round(hit.relevance, 3)
                hits.append(
                    FoundPassage(
                        document_id=hit.document_id,
                        title=hit.title,
                        text=text,
                        relevance=relevance,
                        page=hit.page,
                        metadata=dict(hit.metadata),
                    )
                )
        left = len(result.hits) - len(hits)
        return Found(hits=hits, note=f"{left} more hits did not fit; ask for fewer" if left else "")

    @server.tool(annotations=reads)
    def get_document(
        document_id: Annotated[str, Field(min_length=1, max_length=10_000, description="As search gave it.")],
        start: Annotated[int, Field(ge=0, description="Character to begin at.")] = 0,
        length: Annotated[int, Field(ge=1, le=MOST_CHARACTERS, description="Characters, at most.")] = 10_000,
    ) -> WholeDocument:
        """The text of a document, as much as is asked for."""
        found = answers.get(document_id)
        text = joined(found["chunks"])
        end = start + length
        return WholeDocument(
            document_id=document_id,
            title=found["title"],
            metadata=dict(found["metadata"]),
            text=text[start:end],
            next_start=end if end < len(text) else None,
        )

    return server


def joined(chunks: list[Mapping[str, Any]]) -> str:
    """The text that chunks were cut from; what lay between them is a blank line."""
    text = ""
    end = 0
    for chunk in chunks:
        if chunk["start"] >= end:
            text += ("\n\n" if text else "") + chunk["text"]
        else:  # it repeats the end of the one before
            text += chunk["text"][end - chunk["start"] :]
        end = max(end, chunk["end"])
    return text


def open_answers(
    path: str | Path, *, cross_encoder: str | None, device: str, precision: str
) -> tuple[Answers, Serving | None]:
    """The index in a folder, or the server that has it open; and what is to be closed in the end.

    Raises:
        BicrossError: Neither can be had.
    """
    try:
        serving = Serving(path, Metrics(), Limits(), cross_encoder=cross_encoder, device=device, precision=precision)
    except IndexLockedError:
        if url := where_served(Path(path).resolve()):
            return RemoteIndex(url), None
        raise
    return OwnIndex(serving), serving

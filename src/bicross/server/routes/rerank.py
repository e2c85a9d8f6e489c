"""``/v1/rerank`` in the shape of Jina's and Cohere's API, and ``/v2/rerank`` in that of Cohere's.

https://docs.cohere.com/reference/rerank, https://jina.ai/reranker
"""

from __future__ import annotations

from typing import Annotated, Any
from uuid import uuid4

from fastapi import APIRouter
from pydantic import Field

from bicross.server.routes.shared import Budget, Foreign, Server, ThisServer, begin, check_text, check_texts

router = APIRouter(tags=["as other services"])


class TextDocument(Foreign):
    """A document with its text in a field."""

    text: str


class RerankRequest(Foreign):
    """Documents to put in order for a query."""

    query: str
    documents: Annotated[list[str | TextDocument], Field(min_length=1)]
    top_n: Annotated[int | None, Field(ge=1, description="So many best ones.")] = None
    return_documents: bool = False
    model: Annotated[str, Field(description="Any name; the server's cross-encoder reads.")] = ""
    budget_ms: Budget = None


class Result(Foreign):
    """A document: its place in the request, and its relevance between 0 and 1."""

    index: int
    relevance_score: float
    document: TextDocument | None = None


class Reranked(Foreign):
    """Best first."""

    id: str
    model: str
    results: list[Result]
    usage: dict[str, int]
    meta: dict[str, Any]


@router.post("/v1/rerank", response_model_exclude_none=True)
def rerank_v1(asked: RerankRequest, server: ThisServer) -> Reranked:
    """Put documents in order for a query."""
    return _reranked(asked, server, "1")


@router.post("/v2/rerank", response_model_exclude_none=True)
def rerank_v2(asked: RerankRequest, server: ThisServer) -> Reranked:
    """Put documents in order for a query."""
    return _reranked(asked, server, "2")


def _reranked(asked: RerankRequest, server: Server, version: str) -> Reranked:
    begin(urgent=True, budget_ms=asked.budget_ms)
    texts = [given if isinstance(given, str) else given.text for given in asked.documents]
    check_text(asked.query, "query", server)
    check_texts(texts, "documents", server)
    model = server.serving.cross_encoder
    scored = model.score([(asked.query, text) for text in texts], show_progress=False)
    order = (-scored.logits).argsort(kind="stable")[: asked.top_n]
    relevance = model.relevance(scored.logits)
    results = [
        Result(
            index=int(place),
            relevance_score=float(relevance[place]),
            document=TextDocument(text=texts[place]) if asked.return_documents else None,
        )
        for place in order
    ]
    return Reranked(
        id=str(uuid4()),
        model=asked.model or model.name,
        results=results,
        usage={"total_tokens": scored.tokens},
        meta={"api_version": {"version": version}, "billed_units": {"search_units": 1}},
    )

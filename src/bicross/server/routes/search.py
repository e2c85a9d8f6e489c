"""``/search``: candidates, then the best of them on top."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Query, Request
from fastapi.responses import StreamingResponse
from pydantic import Field

from bicross.errors import BicrossError, UsageError
from bicross.index.lexical import matches
from bicross.search import Hit, Reading, SearchResult, StageCost
from bicross.server.intake import error_body
from bicross.server.routes.shared import Asked, Server, ThisServer, begin, check_text
from bicross.server.serving import Opened

router = APIRouter(tags=["search"])


class SearchRequest(Asked):
    """A query, and how to search. What is not said is as in ``bicross search``."""

    query: Annotated[str, Field(description="What to look for.")]
    top_k: Annotated[int, Field(ge=1, description="Documents to return.")] = 10
    candidates: Annotated[int, Field(ge=1, description="The most chunks that the cross-encoder reads.")] = 50
    rerank: Annotated[bool, Field(description="Second stage: yes or no.")] = True
    mode: Annotated[
        Literal["hybrid", "dense", "lexical"], Field(description="First stage: by meaning, by words, or both.")
    ] = "hybrid"
    filter: Annotated[
        str | None, Field(description='Only documents whose metadata fit: year >= 2020 and lang == "en".')
    ] = None
    dense_weight: Annotated[
        float | None, Field(ge=0, le=1, description="Fuse weighted scores by this weight of the meaning.")
    ] = None
    fusion: Annotated[
        Literal["fitted", "rrf"] | None, Field(description="Fuse by fitted weights, or by reciprocal ranks.")
    ] = None
    min_relevance: Annotated[
        float | None, Field(ge=0, le=1, description="Leave out hits of less relevance; perhaps none is left.")
    ] = None
    budget_ms: Annotated[
        float | None, Field(gt=0, description="Milliseconds it may take; the cross-encoder reads as far as it gets.")
    ] = None
    read_all: Annotated[
        bool, Field(description="Read every candidate, also where the rest can hardly enter the top.")
    ] = False
    highlight: Annotated[bool, Field(description="Say where words of the query stand in each hit.")] = False
    stream: Annotated[
        bool,
        Field(description="Answer with server-sent events: retrieved (the order of the first stage), then result."),
    ] = False


@dataclass(frozen=True)
class FoundHit(Hit):
    """A hit, and where words of the query stand in its text: start and end, in characters, where that was asked."""

    matches: Sequence[tuple[int, int]] = ()


class SearchAnswer(Asked):
    """What was found, best first, with what each stage did and cost."""

    query: str
    hits: list[FoundHit]
    stages: list[StageCost]
    milliseconds: float
    retrieved: Annotated[list[str], Field(description="Documents in the order of the first stage alone.")]
    reading: Annotated[Reading | None, Field(description="How far the cross-encoder read, and why it stopped.")]
    weights: Annotated[dict[str, float], Field(description="What a score is the sum of.")]
    weighing: Annotated[dict[str, Any] | None, Field(description="How meaning and words were weighed.")]


class Facet(Asked):
    """A value of a field, and how many documents have it."""

    value: str | int | bool
    documents: int


@router.post("/search", response_model=SearchAnswer)
def search(asked: SearchRequest, request: Request, server: ThisServer) -> Any:
    """Search in two stages."""
    begin()
    request.scope["bicross.asked"] = asked.query
    _check(asked, server)
    if asked.stream:
        return StreamingResponse(_events(asked, server), media_type="text/event-stream")
    with server.serving.opened() as opened:
        return _answer(asked, _search(asked, opened, server), opened)


@router.get("/fields")
def fields(server: ThisServer) -> dict[str, str]:
    """Name and type of each metadata field that documents have."""
    with server.serving.opened() as opened:
        return {str(name): kind for name, kind in opened.index.stats().fields.items()}


@router.get("/facets", response_model=list[Facet])
def facets(
    server: ThisServer,
    field: Annotated[str, Query(description="A metadata field.")],
    filter: Annotated[str | None, Query(description="Of documents that fit.")] = None,
    limit: Annotated[int, Query(ge=1, le=1000, description="Values, the most frequent first.")] = 20,
) -> Any:
    """How many documents have each value of a metadata field."""
    with server.serving.opened() as opened:
        found = opened.index.facets(field, filter=filter, limit=limit)
    return [{"value": value, "documents": documents} for value, documents in found]


def _check(asked: SearchRequest, server: Server) -> None:
    check_text(asked.query, "query", server)
    most = server.settings.limits.top_k
    for name, value in (("top_k", asked.top_k), ("candidates", asked.candidates)):
        if value > most:
            raise UsageError(f"{name} is {value}; this server gives at most {most}")


def _search(asked: SearchRequest, opened: Opened, server: Server) -> SearchResult:
    chosen = opened.searcher if asked.rerank else opened.first_stage
    result = chosen.search(
        asked.query,
        top_k=asked.top_k,
        candidates=asked.candidates,
        mode=asked.mode,
        filter=asked.filter,
        dense_weight=asked.dense_weight,
        fusion=asked.fusion,
        min_relevance=asked.min_relevance,
        budget_ms=asked.budget_ms,
        read_all=asked.read_all,
    )
    server.metrics.searched(result)
    server.traces.searched(result)
    return result


def _answer(asked: SearchRequest, result: SearchResult, opened: Opened) -> dict[str, Any]:
    language = opened.index.manifest.fingerprint.lexical_language
    return {
        "query": result.query,
        "hits": [
            FoundHit(**vars(hit), matches=matches(hit.text, result.query, language) if asked.highlight else ())
            for hit in result.hits
        ],
        "stages": result.stages,
        "milliseconds": result.milliseconds,
        "retrieved": result.retrieved,
        "reading": result.reading,
        "weights": dict(result.weights),
        "weighing": asdict(result.weighing) if result.weighing else None,
    }


def _events(asked: SearchRequest, server: Server) -> Iterator[str]:
    """The first stage's hits as soon as they are there, then the answer."""
    with server.serving.opened() as opened:
        try:
            if asked.rerank:
                second = {"rerank": False, "min_relevance": None, "budget_ms": None, "read_all": False}
                first = asked.model_copy(update=second)
                yield _event("retrieved", _plain(first, _search(first, opened, server), opened))
            yield _event("result", _plain(asked, _search(asked, opened, server), opened))
        except BicrossError as error:
            yield _event("error", error_body(str(error), "usage" if isinstance(error, UsageError) else "server"))


def _plain(asked: SearchRequest, result: SearchResult, opened: Opened) -> dict[str, Any]:
    return SearchAnswer.model_validate(_answer(asked, result, opened)).model_dump(mode="json")


def _event(name: str, value: Any) -> str:
    return f"event: {name}\ndata: {json.dumps(value, ensure_ascii=False)}\n\n"

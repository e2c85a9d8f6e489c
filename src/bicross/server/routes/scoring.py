"""``/score``, ``/pairs`` and ``/plan``: what the encoders say of texts, and what it would cost."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from fastapi import APIRouter
from pydantic import Field

from bicross.machine import plan
from bicross.pairs import PairReport, find_pairs
from bicross.server.routes.shared import Asked, Budget, ThisServer, begin, check_number, check_texts

router = APIRouter(tags=["scoring"])


class ScoreRequest(Asked):
    """Pairs to read."""

    pairs: Annotated[list[tuple[str, str]], Field(min_length=1, description="Each a query and a document.")]
    scores: Annotated[
        Literal["logit", "relevance", "activated"],
        Field(description="The raw logit, a calibrated relevance between 0 and 1, or the model's own activation."),
    ] = "logit"
    budget_ms: Budget = None


class Scores(Asked):
    """In the order of the pairs."""

    scores: list[float] | list[list[float]]
    model: str


class PairsRequest(Asked):
    """Texts to compare with each other, as ``bicross pairs`` does."""

    texts: Annotated[list[str], Field(min_length=2, description="Their ids are their places: 0, 1 …")]
    rerank: Annotated[bool, Field(description="Let the cross-encoder decide, or cosines alone.")] = True
    threshold: Annotated[float | None, Field(description="The lowest probability, or cosine.")] = None
    top: Annotated[int | None, Field(ge=1, description="So many best pairs.")] = None
    neighbours: Annotated[int, Field(ge=1)] = 50
    floor: Annotated[float | None, Field(ge=-1, le=1)] = None
    budget: Annotated[int | None, Field(ge=0, description="The most candidates that are read.")] = None
    budget_ms: Budget = None


class PlanRequest(Asked):
    """A job to reckon, as ``bicross plan`` does."""

    documents: Annotated[int | None, Field(ge=1, le=10**13)] = None
    queries_per_day: Annotated[int, Field(ge=1, le=10**13)] = 10_000
    latency_ms: Annotated[float, Field(gt=0, le=3.6e6)] = 200.0
    all_pairs: Annotated[int | None, Field(ge=2, le=10**10, description="So many texts, each with each.")] = None
    words: Annotated[float | None, Field(gt=0, le=1e6, description="Of a document, or of a text.")] = None
    query_tokens: Annotated[float, Field(gt=0, le=512)] = 10.0
    candidates: Annotated[int, Field(ge=1, le=1000)] = 50
    neighbours: Annotated[int, Field(ge=1, le=1000)] = 10
    peak: Annotated[float, Field(ge=1, le=1000)] = 4.0


@router.post("/score")
def score(asked: ScoreRequest, server: ThisServer) -> Scores:
    """Read pairs with the cross-encoder."""
    begin(urgent=True, budget_ms=asked.budget_ms)
    check_texts([query for query, _ in asked.pairs], "queries of pairs", server)
    check_texts([document for _, document in asked.pairs], "documents of pairs", server)
    model = server.serving.cross_encoder
    found = model.predict(asked.pairs, scores=asked.scores, show_progress=False)
    return Scores(scores=found.tolist(), model=model.name)


@router.post("/pairs")
def pairs(asked: PairsRequest, server: ThisServer) -> PairReport:
    """Near-duplicates and paraphrases among texts."""
    begin(urgent=False, budget_ms=asked.budget_ms)
    check_number(len(asked.texts), f"{len(asked.texts):,} texts", server)
    with server.serving.opened() as opened:
        return find_pairs(
            asked.texts,
            bi_encoder=server.serving.bi_encoder,
            cross_encoder=opened.searcher.cross_encoder,
            rerank=asked.rerank,
            threshold=asked.threshold,
            top=asked.top,
            neighbours=asked.neighbours,
            floor=asked.floor,
            budget=asked.budget,
            show_progress=False,
        )


@router.post("/plan", response_model=None)
def reckon(asked: PlanRequest, server: ThisServer) -> dict[str, Any]:
    """What a job takes on this machine. The first call measures it, which takes a minute."""
    begin(urgent=False)
    return plan(
        asked.documents,
        queries_per_day=asked.queries_per_day,
        latency_ms=asked.latency_ms,
        all_pairs=asked.all_pairs,
        words=asked.words,
        query_tokens=asked.query_tokens,
        candidates=asked.candidates,
        neighbours=asked.neighbours,
        peak=asked.peak,
        bi_encoder=server.serving.bi_encoder.name,
        cross_encoder=server.serving.cross_encoder.name,
    ).as_dict()

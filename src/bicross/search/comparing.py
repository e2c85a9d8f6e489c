"""The same query through each way to answer it, side by side, with what each cost."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from statistics import median
from time import perf_counter
from typing import Any, Literal, get_args

from bicross.encoders import CrossEncoder
from bicross.errors import UsageError
from bicross.index import Candidate, Mode
from bicross.search.hit import Hit, SearchResult, StageScore
from bicross.search.two_stage import Searcher

#: Words alone; the bi-encoder alone; both fused; both fused and reranked; the cross-encoder over every chunk.
WayName = Literal["lexical", "dense", "hybrid", "two_stages", "cross_encoder"]

#: The cross-encoder reads every chunk without being asked to where that is forecast to take at most this long.
AT_ONCE_MS = 10_000

#: Pairs that are scored before anything is timed, so that no way pays for what is loaded or compiled once.
_WARMING = 16

#: What takes milliseconds is timed so often; the median counts.
_TIMES = 3


@dataclass(frozen=True)
class Cost:
    """What one query took, and what had to be there before.

    Attributes:
        milliseconds: Wall time, warm.
        tokens: Read by a model.
        encodings: Texts that the bi-encoder embedded: the query, or none.
        pairs: That the cross-encoder scored.
        ahead: Texts that had to be embedded once, ahead of time: every chunk of the index, or none.
        measured: False for a forecast: pairs by the speed that reranking had a moment before.
    """

    milliseconds: float
    tokens: int
    encodings: int
    pairs: int
    ahead: int
    measured: bool = True


@dataclass(frozen=True)
class Way:
    """One way to answer the query.

    Attributes:
        name: See ``WayName``.
        hits: The best documents, best first; empty where the cost is a forecast.
        order: Ids of all documents whose rank by this way is known, best first; it begins with those of the hits.
        cost: What it took.
    """

    name: WayName
    hits: list[Hit]
    order: list[str]
    cost: Cost

    def rank(self, document_id: str) -> int | None:
        """From 1; None for a document that lies deeper than was looked."""
        return self.order.index(document_id) + 1 if document_id in self.order else None


@dataclass(frozen=True)
class Comparison:
    """A query through each way.

    Attributes:
        query: As it was asked.
        chunks: That fit the filter; all of the index without one.
        ways: In the order of ``WayName``.
        first_stage: Documents among which the second stage chose, in the order of the first (ids).
    """

    query: str
    chunks: int
    ways: list[Way]
    first_stage: list[str]

    def way(self, name: WayName) -> Way:
        """One of the ways."""
        return self.ways[get_args(WayName).index(name)]

    def moved(self, way: Way, document_id: str) -> int | None:
        """Places that a document stands higher (or lower, below 0) by this way than in the first stage; None where one
        of both ranks is not known.
        """
        rank = way.rank(document_id)
        if rank is None or document_id not in self.first_stage:
            return None
        return self.first_stage.index(document_id) + 1 - rank

    def only(self, way: Way) -> set[str]:
        """Ids of the hits that no other way has among its own."""
        others = {hit.document_id for other in self.ways if other is not way for hit in other.hits}
        return {hit.document_id for hit in way.hits} - others

    def as_dict(self) -> dict[str, Any]:
        """Plain values for JSON: each hit with its rank by every way, how far it moved, whether it is only here."""
        return {"query": self.query, "chunks": self.chunks, "ways": [self._way_as_dict(way) for way in self.ways]}

    def _way_as_dict(self, way: Way) -> dict[str, Any]:
        only = self.only(way)
        hits = [
            {
                **hit.as_dict(),
                "ranks": {other.name: other.rank(hit.document_id) for other in self.ways},
                "moved": self.moved(way, hit.document_id),
                "only_here": hit.document_id in only,
            }
            for hit in way.hits
        ]
        return {"way": way.name, **asdict(way.cost), "hits": hits}


def compare(
    searcher: Searcher,
    query: str,
    *,
    top_k: int = 10,
    candidates: int = 50,
    filter: str | None = None,
    every_document: bool | None = None,
) -> Comparison:
    """Answer a query by words, by the bi-encoder, by both, by two stages, and by the cross-encoder alone.

    Each way retrieves for itself and is timed by itself, after a warm-up: the first stage three times, of which the
    median counts, whatever reranks once.

    Args:
        searcher: With a cross-encoder.
        query: Not empty.
        top_k: Documents of each way.
        candidates: Chunks that the second stage reads; so deep the other ways are looked into for ranks, too.
        filter: See ``Searcher.search``.
        every_document: Whether the cross-encoder alone reads every chunk, or the cost of that is a forecast. By default
            it does where the forecast is no longer than ``AT_ONCE_MS``.

    Raises:
        UsageError: The searcher has no cross-encoder, or see ``Searcher.search``.
    """
    judge, index = searcher.cross_encoder, searcher.index
    if judge is None:
        raise UsageError("comparing needs a searcher with a cross-encoder")
    searcher.search(query, top_k=1, candidates=min(candidates, _WARMING), filter=filter)
    first, stored = Searcher(index), index.count().chunks
    ways: list[Way] = []
    for mode in get_args(Mode):
        times = []
        for _ in range(_TIMES):
            started = perf_counter()
            result = first.search(query, top_k=top_k, mode=mode, filter=filter)
            times.append(_since(started))
        deep = index.search(query, top_k=max(top_k, candidates), mode=mode, filter=filter)  # for ranks alone
        deeper = [candidate.chunk.document_id for candidate in deep]
        ways.append(_way(mode, result, median(times), deeper, 0 if mode == "lexical" else stored))
    ways.sort(key=lambda way: get_args(WayName).index(way.name))
    started = perf_counter()
    both = searcher.search(query, top_k=top_k, candidates=candidates, filter=filter)
    ways.append(_way("two_stages", both, _since(started), [], stored))
    condition = index.condition(filter)
    chunks = stored if condition is None else index.engine.count(condition)
    forecast = _forecast(both, chunks)
    if forecast.milliseconds <= AT_ONCE_MS if every_document is None else every_document:
        ways.append(_alone(judge, query, index.every(condition), top_k))
    else:
        ways.append(Way("cross_encoder", [], [], forecast))
    return Comparison(query, chunks, ways, both.retrieved)


def _since(started: float) -> float:
    return 1e3 * (perf_counter() - started)


def _way(name: WayName, result: SearchResult, milliseconds: float, deeper: list[str], ahead: int) -> Way:
    items = {stage.stage: stage.items for stage in result.stages}
    tokens = sum(stage.tokens for stage in result.stages)
    cost = Cost(milliseconds, tokens, items.get("embed query", 0), items.get("rerank", 0), ahead)
    order = list(dict.fromkeys([*(hit.document_id for hit in result.hits), *deeper]))
    return Way(name, result.hits, order, cost)


def _forecast(result: SearchResult, chunks: int) -> Cost:
    """What the cross-encoder takes for so many chunks, by what it took to rerank."""
    stages = {stage.stage: stage for stage in result.stages}
    if "rerank" not in stages:  # nothing was found, so there is nothing to read
        return Cost(0, 0, 0, chunks, 0, measured=False)
    reranked = stages["rerank"]
    times = chunks / reranked.items
    return Cost(times * reranked.milliseconds, round(times * reranked.tokens), 0, chunks, 0, measured=False)


def _alone(judge: CrossEncoder, query: str, every: list[Candidate], top_k: int) -> Way:
    """Every chunk read by the cross-encoder, ordered by the logit alone."""
    started = perf_counter()
    scored = judge.score([(query, candidate.chunk.embedded_text) for candidate in every])
    milliseconds = _since(started)
    relevance = judge.relevance(scored.logits)
    best: dict[str, int] = {}  # the best chunk of each document
    by_logit = sorted(
        range(len(every)), key=lambda i: (-scored.logits[i], every[i].chunk.document_id, every[i].chunk.start)
    )
    for i in by_logit:
        best.setdefault(every[i].chunk.document_id, i)
    hits = []
    for rank, (document_id, i) in enumerate(list(best.items())[:top_k], start=1):
        chunk, logit = every[i].chunk, float(scored.logits[i])
        scores: Mapping[str, StageScore] = {"cross_encoder": StageScore(logit, rank)}
        place = (chunk.title, chunk.start, chunk.end, chunk.page)
        cut = bool(scored.truncated[i])
        hits.append(
            Hit(
                document_id,
                chunk.id,
                chunk.text,
                logit,
                float(relevance[i]),
                scores,
                cut,
                *place,
                metadata=every[i].metadata,
            )
        )
    return Way("cross_encoder", hits, list(best), Cost(milliseconds, scored.tokens, 0, len(every), 0))

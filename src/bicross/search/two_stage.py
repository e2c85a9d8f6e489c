"""Wide and cheap, then narrow and exact: the bi-encoder finds candidates, the cross-encoder orders them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from time import perf_counter

import numpy as np

from bicross.encoders import CrossEncoder
from bicross.encoders.calibration import Fusion
from bicross.errors import UsageError
from bicross.index import Candidate, LocalIndex, Mode
from bicross.index.local import MOST_CHUNKS
from bicross.index.retrieval import Fusion as FirstFusion
from bicross.index.retrieval import Weighing, check_mode
from bicross.search.hit import Hit, SearchResult, StageCost, StageScore

Retrieve = Callable[[int], list[Candidate]]

_Scored = tuple[Hit, dict[str, float]]  # a hit, and the number of each stage


class Searcher:
    """Both stages over one index. Threads may share it.

    Args:
        index: An open index.
        cross_encoder: Reranks the candidates; None leaves the order of the first stage.

    Raises:
        UsageError: The cross-encoder gives several labels a pair.
    """

    def __init__(self, index: LocalIndex, cross_encoder: CrossEncoder | None = None) -> None:
        if cross_encoder is not None:
            cross_encoder.check_orders()
        self.index = index
        self.cross_encoder = cross_encoder

    @property
    def fusion(self) -> Fusion | None:
        """The weights that join both stages' scores: only where they were fitted with this index's bi-encoder."""
        fusion = self.cross_encoder.fusion if self.cross_encoder else None
        made = self.index.manifest.fingerprint.encoder
        whole = "truncate_dim" not in made  # cosines of shortened vectors lie elsewhere
        return fusion if fusion and whole and fusion.retriever_sha256 == made.get("weights_sha256") else None

    def search(
        self,
        query: str,
        *,
        top_k: int = 10,
        candidates: int = 50,
        mode: Mode = "hybrid",
        filter: str | None = None,
        dense_weight: float | None = None,
        fusion: FirstFusion | None = None,
    ) -> SearchResult:
        """The best documents for a query.

        Args:
            query: Not empty.
            top_k: Documents to return.
            candidates: Chunks that the first stage hands to the second: the number of pairs that the cross-encoder
                reads. More are taken where they hold fewer than ``top_k`` documents. Without a cross-encoder it has
                no effect.
            mode: How the first stage finds them: by meaning (``dense``), by words (``lexical``) or both (``hybrid``).
            filter: Only documents whose metadata fit, see ``bicross.index.filters``.
            dense_weight: See ``LocalIndex.search``.
            fusion: See ``LocalIndex.search``.

        Returns:
            Hits, one a document with its best chunk (MaxP, Dai and Callan 2019); equal scores in order of id.

        Raises:
            UsageError: The query is empty, a number is out of its range, or the filter is wrong.
        """
        for name, value in (("top_k", top_k), ("candidates", candidates)):
            if not 1 <= value <= MOST_CHUNKS:
                raise UsageError(f"{name} is {value}; it must be between 1 and {MOST_CHUNKS}")
        check_mode(mode, dense_weight, fusion)
        condition = self.index.condition(filter)
        started = perf_counter()
        question = self.index.ask(query, mode)
        stages = []
        weighing: Weighing | None = None
        if mode != "lexical":
            stages.append(StageCost("embed query", 1e3 * (perf_counter() - started), question.tokens, 1))

        def retrieve(limit: int) -> list[Candidate]:
            nonlocal weighing
            found = self.index.retrieve(question, limit, condition, dense_weight, fusion)
            weighing = found.weighing
            for stage, cost in (("retrieve dense", found.dense), ("retrieve lexical", found.lexical)):
                if cost is not None:
                    stages.append(StageCost(stage, cost[0], 0, cost[1]))
            return found.candidates

        found = _candidates(retrieve, top_k, candidates) if self.cross_encoder else _enough_documents(retrieve, top_k)
        order = list(dict.fromkeys(c.chunk.document_id for c in found))
        if self.cross_encoder and found:
            before = perf_counter()
            hits, tokens = self._reranked(query, found, self.cross_encoder, mode)
            stages.append(StageCost("rerank", 1e3 * (perf_counter() - before), tokens, len(found)))
        else:
            hits = _best_of_each([(_hit(c, c.score, None, c.truncated), _first_scores(c, mode)) for c in found])
        if question.truncated:
            hits = [replace(hit, truncated=True) for hit in hits]
        return SearchResult(query, hits[:top_k], _summed(stages), order, weighing)

    def _reranked(
        self, query: str, found: list[Candidate], cross_encoder: CrossEncoder, mode: Mode
    ) -> tuple[list[Hit], int]:
        scored = cross_encoder.score([(query, c.chunk.embedded_text) for c in found], show_progress=False)
        if self.fusion and found[0].dense is not None:
            final = self.fusion(scored.logits, np.array([c.dense for c in found], np.float32))
            relevance = self.fusion.calibration(final)
        else:
            final, relevance = scored.logits, cross_encoder.relevance(scored.logits)
        hits = []
        for i, candidate in enumerate(found):
            truncated = candidate.truncated or bool(scored.truncated[i])
            hit = _hit(candidate, float(final[i]), float(relevance[i]), truncated)
            scores = {"cross_encoder": float(scored.logits[i]), "final": float(final[i])}
            hits.append((hit, _first_scores(candidate, mode) | scores))
        hits.sort(key=lambda pair: (-pair[0].score, pair[0].document_id, pair[0].start))
        return _best_of_each(hits), scored.tokens


def _candidates(retrieve: Retrieve, top_k: int, candidates: int) -> list[Candidate]:
    """The best chunks, and where they belong to fewer than ``top_k`` documents the best of further ones."""
    found = retrieve(max(candidates, top_k))
    documents = {c.chunk.document_id for c in found}
    if len(documents) < top_k:
        for candidate in _enough_documents(retrieve, top_k):
            if candidate.chunk.document_id not in documents and len(documents) < top_k:
                documents.add(candidate.chunk.document_id)
                found.append(candidate)
    return found


def _enough_documents(retrieve: Retrieve, top_k: int) -> list[Candidate]:
    """Chunks of at least ``top_k`` documents, or all there are."""
    limit = min(2 * top_k, MOST_CHUNKS)
    while True:
        found = retrieve(limit)
        if len({c.chunk.document_id for c in found}) >= top_k or len(found) < limit or limit == MOST_CHUNKS:
            return found
        limit = min(4 * limit, MOST_CHUNKS)


def _summed(stages: list[StageCost]) -> list[StageCost]:
    """One cost a stage, where a stage had to look more than once: its times together, its last number of items."""
    costs: dict[str, StageCost] = {}
    for cost in stages:
        before = costs.get(cost.stage)
        costs[cost.stage] = replace(cost, milliseconds=cost.milliseconds + before.milliseconds) if before else cost
    return list(costs.values())


def _first_scores(candidate: Candidate, mode: Mode) -> dict[str, float]:
    """What the first stage has to say: each side's number, and the fused one where both were asked."""
    sides = {"dense": candidate.dense, "lexical": candidate.lexical}
    scores = {name: score for name, score in sides.items() if score is not None}
    return scores | {"fused": candidate.score} if mode == "hybrid" else scores


def _best_of_each(hits: list[_Scored]) -> list[Hit]:
    """The first hit of each document of a sorted list, with its rank by each stage among the candidates."""
    ranks: dict[str, dict[str, int]] = {}
    for stage in dict.fromkeys(stage for _, scores in hits for stage in scores):
        by_stage = sorted(
            ((scores[stage], hit) for hit, scores in hits if stage in scores),
            key=lambda pair: (-pair[0], pair[1].document_id),
        )
        documents = dict.fromkeys(hit.document_id for _, hit in by_stage)
        ranks[stage] = {document_id: rank for rank, document_id in enumerate(documents, start=1)}
    first: dict[str, _Scored] = {}
    for hit, scores in hits:
        first.setdefault(hit.document_id, (hit, scores))
    return [
        replace(
            hit, scores={stage: StageScore(score, ranks[stage][hit.document_id]) for stage, score in scores.items()}
        )
        for hit, scores in first.values()
    ]


def _hit(candidate: Candidate, score: float, relevance: float | None, truncated: bool) -> Hit:
    chunk = candidate.chunk
    return Hit(
        chunk.document_id,
        chunk.id,
        chunk.text,
        score,
        relevance,
        {},
        truncated,
        chunk.title,
        chunk.start,
        chunk.end,
        chunk.page,
        candidate.metadata,
    )

"""Wide and cheap, then narrow and exact: the bi-encoder finds candidates, the cross-encoder orders them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import cached_property
from time import perf_counter

import numpy as np

from bicross.encoders import CrossEncoder
from bicross.encoders.calibration import FILE
from bicross.encoders.cross_encoder import Scored
from bicross.errors import ModelError, UsageError
from bicross.index import Candidate, Index, Mode
from bicross.index.fitted import FILE as FITTED
from bicross.index.index import MOST_CHUNKS
from bicross.index.retrieval import Fusion as FirstFusion
from bicross.index.retrieval import Question, Weighing, check_mode
from bicross.search.code import LOOKED_AT
from bicross.search.hit import Hit, SearchResult, StageCost, StageScore, Stopped
from bicross.search.pace import Clock, Pace, busiest
from bicross.search.reranking import characters, first_batch, read_candidates, settled_by
from bicross.search.two_stages import TwoStages, Unread, before, read_two_stages

Retrieve = Callable[[int], list[Candidate]]

_Scored = tuple[Hit, dict[str, float]]  # a hit, and the number of each stage


class Searcher:
    """Both stages over one index. Threads may share it.

    Args:
        index: An open index.
        cross_encoder: Reranks the candidates; None leaves the order of the first stage.

    Raises:
        UsageError: The cross-encoder gives several labels a pair.
        CorpusError, ModelError: The numbers that were fitted for this index, or for this model, are damaged.
    """

    def __init__(self, index: Index, cross_encoder: CrossEncoder | None = None) -> None:
        self.index = index
        self.cross_encoder = cross_encoder
        self.pace = Pace()
        self._of_index: tuple[int, list[TwoStages]] = (0, [])
        self._of_model: list[TwoStages] = []
        if cross_encoder is not None:
            cross_encoder.check_orders()
            self._of_model = read_two_stages(cross_encoder.folder / FILE, ModelError)
            self._numbers_of_index()

    @cached_property
    def _cross_encoder_sha256(self) -> str:
        return self.cross_encoder.weights_sha256 if self.cross_encoder else ""

    def two_stages(
        self, mode: Mode = "hybrid", dense_weight: float | None = None, fusion: FirstFusion | None = None
    ) -> TwoStages | None:
        """The numbers that join both stages in such a search; None where none were fitted for just this.

        Those of the index come before those of the model, see ``two_stages.py``.
        """
        if mode == "lexical" or dense_weight is not None:
            return None
        first_stage = self.index.first_stage if mode == "hybrid" and fusion != "rrf" else None
        name = "dense" if mode == "dense" else first_stage.sha256 if first_stage else "rrf"
        stands_before = before(self.index.manifest.fingerprint.encoder, name)
        for numbers in self._numbers_of_index():
            if numbers.before_sha256 == stands_before and numbers.cross_encoder_sha256 == self._cross_encoder_sha256:
                return numbers
        return next((numbers for numbers in self._of_model if numbers.before_sha256 == stands_before), None)

    def _numbers_of_index(self) -> list[TwoStages]:
        """What was fitted for the index, also since this searcher was made."""
        file = self.index.path / FITTED
        written = file.stat().st_mtime_ns if file.exists() else 0
        if written != self._of_index[0]:
            self._of_index = (written, read_two_stages(file))
        return self._of_index[1]

    def warm_up(self) -> None:
        """Read a few stored chunks, so that later searches know how fast this machine is.

        The first search with ``budget_ms`` does so before its clock starts; a server calls it when it starts.
        """
        question = self.index.ask("what is this about?", "dense")
        found = self.index.retrieve(question, 4).candidates
        if self.cross_encoder is None:
            return
        pairs = [(question.text, candidate.chunk.embedded_text) for candidate in found]
        for size, counts in ((4, False), (1, False), (4, True), (2, True), (1, True)):  # the first ones fill caches
            begun = perf_counter()
            self.cross_encoder.score(pairs[:size], show_progress=False)
            if counts and pairs:
                read = busiest(characters(pairs[:size], self.cross_encoder), self.cross_encoder.streams)
                self.pace.saw(read, 1e3 * (perf_counter() - begun))

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
        min_relevance: float | None = None,
        budget_ms: float | None = None,
        read_all: bool = False,
    ) -> SearchResult:
        """The best documents for a query.

        Args:
            query: Not empty.
            top_k: Documents to return.
            candidates: Chunks that the first stage hands to the second: the most pairs that the cross-encoder reads.
                More are taken where they hold fewer than ``top_k`` documents. Without a cross-encoder it has no effect.
            mode: How the first stage finds them: by meaning (``dense``), by words (``lexical``) or both (``hybrid``).
            filter: Only documents whose metadata fit, see ``bicross.index.filters``.
            dense_weight: See ``Index.search``.
            fusion: See ``Index.search``.
            min_relevance: Leave out hits whose relevance is less, or that were not read; there may be none left.
            budget_ms: Milliseconds that the call may take. The cross-encoder reads as far as it gets; what it did not
                get to follows in the order of the first stage. ``reading`` of the result says how far it got. The first
                such call of a searcher warms up, see ``warm_up``, before its time counts.
            read_all: Read every candidate, also where the rest can hardly change the top of the list. Without it, and
                without ``min_relevance``, the first stage answers alone where the cross-encoder has nothing to add: to
                a query that the bi-encoder reads in several passages, of which it reads the beginning only, and where
                the candidates are program code and its numbers say that it reads code badly.

        Returns:
            Hits, one a document with its best chunk (MaxP, Dai and Callan 2019); equal scores in order of id.

        Raises:
            UsageError: The query is empty, a number is out of its range, or the filter is wrong.
        """
        for name, value in (("top_k", top_k), ("candidates", candidates)):
            if not 1 <= value <= MOST_CHUNKS:
                raise UsageError(f"{name} is {value}; it must be between 1 and {MOST_CHUNKS}")
        check_mode(mode, dense_weight, fusion)
        self._check_reading(min_relevance, budget_ms, read_all)
        condition = self.index.condition(filter)
        if budget_ms is not None and not self.pace.known:
            self.warm_up()
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
        reading, weights = None, {}
        evidence = "fused" if mode == "hybrid" else mode
        if self.cross_encoder and found:
            begun = perf_counter()
            numbers = self.two_stages(mode, dense_weight, fusion)
            unread = numbers.unread([c.chunk.embedded_text for c in found[:LOOKED_AT]]) if numbers else None
            numbers = numbers.without_logit() if numbers and unread else numbers
            stopping = numbers.stopping if numbers and not read_all else None
            beyond = _beyond(question, numbers, unread) if not read_all and min_relevance is None else None
            scored, reading = read_candidates(
                query,
                found,
                self.cross_encoder,
                beyond=beyond,
                first=first_batch(found, top_k),
                settled=settled_by(stopping, numbers, found, top_k) if numbers and stopping else None,
                clock=None if budget_ms is None else Clock(budget_ms, started, self.pace, self.cross_encoder.streams),
            )
            hits = _reranked(found, scored, self.cross_encoder, numbers, evidence)
            weights = {"cross_encoder": numbers.logit, evidence: numbers.evidence} if numbers else {}
            stages.append(StageCost("rerank", 1e3 * (perf_counter() - begun), scored.tokens, reading.read))
        else:
            hits = [(_hit(c, c.score, None, c.truncated), _first_scores(c, evidence)) for c in found]
        best = _best_of_each(hits)[:top_k]
        if question.truncated:
            best = [replace(hit, truncated=True) for hit in best]
        if min_relevance is not None:
            best = [hit for hit in best if hit.relevance is not None and hit.relevance >= min_relevance]
        return SearchResult(query, best, _summed(stages), order, reading, weights, weighing)

    def _check_reading(self, min_relevance: float | None, budget_ms: float | None, read_all: bool) -> None:
        asked = {"min_relevance": min_relevance is not None, "budget_ms": budget_ms is not None, "read_all": read_all}
        if self.cross_encoder is None:
            for name, is_asked in asked.items():
                if is_asked:
                    raise UsageError(f"{name} is about the second stage, and there is no cross-encoder")
        if min_relevance is not None and not 0 <= min_relevance <= 1:
            raise UsageError(f"min_relevance is {min_relevance}; it must be between 0 and 1")
        if budget_ms is not None and not budget_ms > 0:
            raise UsageError(f"budget_ms is {budget_ms}; it must be more than 0 milliseconds")
        if budget_ms is not None and read_all:
            raise UsageError("budget_ms stops when time is up and read_all never; choose one of them")


def _beyond(question: Question, numbers: TwoStages | None, unread: Unread | None) -> Stopped | None:
    """Why the cross-encoder has nothing to add, if so."""
    if len(question.vectors or ()) > 1:
        return "too long"
    return unread or ("settled" if numbers and not numbers.logit else None)


def _reranked(
    found: list[Candidate], scored: Scored, cross_encoder: CrossEncoder, numbers: TwoStages | None, evidence: str
) -> list[_Scored]:
    """A hit a chunk: those read, best first, then the others in the order of the first stage."""
    read = len(scored.logits)
    if numbers:
        final = numbers.final(scored.logits, [c.score for c in found[:read]])
        relevance = numbers.calibration(final)
    else:
        final, relevance = scored.logits.astype(np.float64), cross_encoder.relevance(scored.logits)
    hits = []
    for i, candidate in enumerate(found[:read]):
        truncated = candidate.truncated or bool(scored.truncated[i])
        hit = _hit(candidate, float(final[i]), float(relevance[i]), truncated)
        scores = {"cross_encoder": float(scored.logits[i]), "final": float(final[i])}
        hits.append((hit, _first_scores(candidate, evidence) | scores))
    hits.sort(key=lambda pair: (-pair[0].score, pair[0].document_id, pair[0].start))
    # one scale for all: beyond what was read it goes on from the last score
    offset = hits[-1][0].score - max((c.score for c in found[read:]), default=0.0) if hits else 0.0
    for candidate in found[read:]:
        hit = _hit(candidate, candidate.score + offset, None, candidate.truncated)
        hits.append((hit, _first_scores(candidate, evidence)))
    return hits


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


def _first_scores(candidate: Candidate, evidence: str) -> dict[str, float]:
    """What the first stage has to say: each side's number, and what it sorted by."""
    sides = {"dense": candidate.dense, "lexical": candidate.lexical}
    return {name: score for name, score in sides.items() if score is not None} | {evidence: candidate.score}


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

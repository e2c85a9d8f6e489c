"""Wide and cheap, then narrow and exact: the bi-encoder finds candidates, the cross-encoder orders them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from time import perf_counter

import numpy as np
import numpy.typing as npt

from bicross.encoders import CrossEncoder
from bicross.encoders.calibration import Fusion
from bicross.errors import UsageError
from bicross.index import Candidate, LocalIndex
from bicross.index.local import MOST_CHUNKS
from bicross.search.hit import Hit, SearchResult, StageCost, StageScore

Scores = npt.NDArray[np.float32]


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

    def search(self, query: str, *, top_k: int = 10, candidates: int = 50) -> SearchResult:
        """The best documents for a query.

        Args:
            query: Not empty.
            top_k: Documents to return.
            candidates: Chunks that the first stage hands to the second: the number of pairs that the cross-encoder
                reads. More are taken where they hold fewer than ``top_k`` documents. Without a cross-encoder it has
                no effect.

        Returns:
            Hits, one a document with its best chunk (MaxP, Dai and Callan 2019); equal scores in order of id.

        Raises:
            UsageError: The query is empty, or a number is below 1.
        """
        for name, value in (("top_k", top_k), ("candidates", candidates)):
            if not 1 <= value <= MOST_CHUNKS:
                raise UsageError(f"{name} is {value}; it must be between 1 and {MOST_CHUNKS}")
        started = perf_counter()
        embedder = self.index.embedder
        encoded = embedder.encode([query], embedder.query_prompt, "queries", False)
        embedded = perf_counter()
        vector = encoded.embeddings[0].tolist()
        if self.cross_encoder:
            found = self._candidates(vector, top_k, candidates)
        else:
            found = self._enough_documents(vector, top_k)
        retrieved = perf_counter()
        stages = [
            StageCost("embed query", 1e3 * (embedded - started), encoded.tokens, 1),
            StageCost("retrieve", 1e3 * (retrieved - embedded), 0, len(found)),
        ]
        dense_rank = _ranks([c.chunk.document_id for c in found])
        if self.cross_encoder and found:
            hits, tokens = self._reranked(query, found, dense_rank, self.cross_encoder)
            stages.append(StageCost("rerank", 1e3 * (perf_counter() - retrieved), tokens, len(found)))
        else:
            hits = [_hit(c, c.score, None, {"dense": StageScore(c.score, 0)}, c.truncated) for c in found]
            hits = _best_of_each(hits, {"dense": dense_rank})
        if encoded.truncated[0]:
            hits = [replace(hit, truncated=True) for hit in hits]
        return SearchResult(query, hits[:top_k], stages, list(dense_rank))

    def _candidates(self, vector: list[float], top_k: int, candidates: int) -> list[Candidate]:
        """The nearest chunks, and where they belong to fewer than ``top_k`` documents the best of further ones."""
        found = self.index.nearest(vector, max(candidates, top_k))
        documents = {c.chunk.document_id for c in found}
        if len(documents) < top_k:
            for candidate in self._enough_documents(vector, top_k):
                if candidate.chunk.document_id not in documents and len(documents) < top_k:
                    documents.add(candidate.chunk.document_id)
                    found.append(candidate)
        return found

    def _enough_documents(self, vector: list[float], top_k: int) -> list[Candidate]:
        """Chunks of at least ``top_k`` documents, or all there are."""
        limit = min(2 * top_k, MOST_CHUNKS)
        while True:
            found = self.index.nearest(vector, limit)
            if len({c.chunk.document_id for c in found}) >= top_k or len(found) < limit or limit == MOST_CHUNKS:
                return found
            limit = min(4 * limit, MOST_CHUNKS)

    def _reranked(
        self, query: str, found: list[Candidate], dense_rank: dict[str, int], cross_encoder: CrossEncoder
    ) -> tuple[list[Hit], int]:
        scored = cross_encoder.score([(query, c.chunk.embedded_text) for c in found], show_progress=False)
        dense = np.array([c.score for c in found], np.float32)
        fusion = self.fusion
        final = fusion(scored.logits, dense) if fusion else scored.logits
        relevance = fusion.calibration(final) if fusion else cross_encoder.relevance(final)
        hits = [
            _hit(
                candidate,
                float(final[i]),
                float(relevance[i]),
                {
                    "dense": StageScore(candidate.score, 0),
                    "cross_encoder": StageScore(float(scored.logits[i]), 0),
                    "final": StageScore(float(final[i]), 0),
                },
                candidate.truncated or bool(scored.truncated[i]),
            )
            for i, candidate in enumerate(found)
        ]
        by_logit = sorted(hits, key=lambda h: (-h.scores["cross_encoder"].score, h.document_id))
        by_score = sorted(hits, key=lambda h: (-h.score, h.document_id, h.start))
        ranks = {
            "dense": dense_rank,
            "cross_encoder": _ranks([h.document_id for h in by_logit]),
            "final": _ranks([h.document_id for h in by_score]),
        }
        return _best_of_each(by_score, ranks), scored.tokens


def _ranks(document_ids: Sequence[str]) -> dict[str, int]:
    """Rank of each document, from 1, by its first place; in that order."""
    return {document_id: rank for rank, document_id in enumerate(dict.fromkeys(document_ids), start=1)}


def _best_of_each(hits: Sequence[Hit], ranks: dict[str, dict[str, int]]) -> list[Hit]:
    """The first hit of each document of a sorted list, with its ranks filled in."""
    first: dict[str, Hit] = {}
    for hit in hits:
        first.setdefault(hit.document_id, hit)
    return [
        replace(h, scores={stage: StageScore(s.score, ranks[stage][h.document_id]) for stage, s in h.scores.items()})
        for h in first.values()
    ]


def _hit(
    candidate: Candidate, score: float, relevance: float | None, scores: dict[str, StageScore], truncated: bool
) -> Hit:
    chunk = candidate.chunk
    return Hit(
        chunk.document_id,
        chunk.id,
        chunk.text,
        score,
        relevance,
        scores,
        truncated,
        chunk.title,
        chunk.start,
        chunk.end,
        candidate.metadata,
    )

"""The first stage: candidates by meaning, by words, or by both."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from time import perf_counter
from typing import Any, Literal, get_args

from bicross.documents import Chunk
from bicross.errors import UsageError
from bicross.index.embedder import Embedder
from bicross.index.filters import Condition
from bicross.index.fusing import reciprocal_ranks, weighted_scores
from bicross.index.lexical import TermWeights, query_weights
from bicross.index.records import Stored
from bicross.index.shard import Found, Shard

Mode = Literal["dense", "lexical", "hybrid"]

#: Each side of a hybrid search hands at least so many chunks to the fusion.
DEPTH = 100


@dataclass(frozen=True)
class Candidate:
    """A chunk that the first stage found.

    Attributes:
        chunk, metadata: As stored.
        score: What the candidates are sorted by: the fused score, or that of the one side that was asked.
        truncated: Whether the bi-encoder did not read the chunk to its end.
        dense: Dot product with the query, cosine for normalised encoders; None when only words were asked for.
        lexical: BM25; None for a chunk that the lexical side did not find.
    """

    chunk: Chunk
    score: float
    truncated: bool
    metadata: Mapping[str, Any]
    dense: float | None = None
    lexical: float | None = None


@dataclass(frozen=True)
class Question:
    """A query as the two sides read it. A side that is not asked has None."""

    text: str
    vector: list[float] | None
    terms: TermWeights | None
    tokens: int = 0
    truncated: bool = False


@dataclass(frozen=True)
class Retrieved:
    """Candidates, best first; equal ones in order of id. Milliseconds and chunks of each side; None if not asked."""

    candidates: list[Candidate]
    dense: tuple[float, int] | None
    lexical: tuple[float, int] | None


def check_mode(mode: str, dense_weight: float | None) -> None:
    """Raise UsageError for a mode that is none, or a weight that has no meaning."""
    if mode not in get_args(Mode):
        raise UsageError(f"mode {mode!r} is not known; choose dense, lexical or hybrid")
    if dense_weight is not None and mode != "hybrid":
        raise UsageError(f"a dense weight joins both sides; it has no meaning in mode {mode}")
    if dense_weight is not None and not 0 <= dense_weight <= 1:
        raise UsageError(f"the dense weight is {dense_weight}; it must be between 0 and 1")


def ask(text: str, mode: Mode, embedder: Embedder, language: str) -> Question:
    """Read a query for one side or both.

    Raises:
        UsageError: It is empty.
    """
    if not text.strip():
        raise UsageError("the query is empty")
    terms = None if mode == "dense" else query_weights(text, language)
    if mode == "lexical":
        return Question(text, None, terms)
    encoded = embedder.encode([text], embedder.query_prompt, "queries", False)
    vector = encoded.embeddings[0].tolist()
    return Question(text, vector, terms, encoded.tokens, bool(encoded.truncated[0]))


def retrieve(
    shard: Shard, question: Question, limit: int, condition: Condition | None, dense_weight: float | None
) -> Retrieved:
    """The best ``limit`` chunks of one side, or of both fused: by reciprocal ranks, or by weighted scores."""
    one_side = question.vector is None or question.terms is None
    depth = limit if one_side else max(limit, DEPTH)
    dense_cost = lexical_cost = None
    dense: Found = {}
    lexical: Found = {}
    if question.vector is not None:
        started = perf_counter()
        dense = shard.nearest(question.vector, depth, condition)
        dense_cost = (1e3 * (perf_counter() - started), len(dense))
    if question.terms is not None:
        started = perf_counter()
        lexical = shard.matching(question.terms, depth, condition)
        lexical_cost = (1e3 * (perf_counter() - started), len(lexical))
    if one_side:
        fused = dense or lexical
    elif dense_weight is None:
        fused = reciprocal_ranks([dense, lexical])
    else:
        fused = weighted_scores(dense, lexical, dense_weight)
    # only now the texts: reading them takes longer than finding them. The last place can be shared by several
    least = sorted(fused.values(), reverse=True)[:limit][-1:]
    found = shard.fetch(name for name, score in fused.items() if score >= least[0])
    best = sorted(found, key=lambda name: (-fused[name], found[name].chunk.document_id, found[name].number))[:limit]
    if question.vector is not None and not one_side:
        dense |= shard.similarities(question.vector, [name for name in best if name not in dense])
    candidates = [_candidate(found[name], fused[name], dense.get(name), lexical.get(name)) for name in best]
    return Retrieved(candidates, dense_cost, lexical_cost)


def _candidate(item: Stored, score: float, dense: float | None, lexical: float | None) -> Candidate:
    return Candidate(item.chunk, score, item.truncated, item.metadata, dense, lexical)

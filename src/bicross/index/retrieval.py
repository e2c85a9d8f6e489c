"""The first stage: candidates by meaning, by words, or by both."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from time import perf_counter
from typing import Any, Literal, get_args

from bicross.documents import Chunk
from bicross.errors import UsageError
from bicross.index.embedder import Embedder
from bicross.index.engine import Engine
from bicross.index.filters import Condition
from bicross.index.first_stage import FirstStage, Traits, traits
from bicross.index.fusing import convex_scores, reciprocal_ranks, weighted_scores
from bicross.index.lexical import MOST_TERMS, TermWeights, query_weights
from bicross.index.passages import cut, spelled_share
from bicross.index.records import Found, Stored

Mode = Literal["dense", "lexical", "hybrid"]

#: How both sides are joined: by weights that were fitted on judged queries, or by reciprocal ranks.
Fusion = Literal["fitted", "rrf"]

#: Each side of a hybrid search hands at least so many chunks to the fusion; the fitted weights look at so many.
DEPTH = 100


@dataclass(frozen=True)
class Candidate:
    """A chunk that the first stage found.

    Attributes:
        chunk, metadata: As stored.
        score: What the candidates are sorted by: the fused score, or that of the one side that was asked.
        truncated: Whether the bi-encoder did not read the chunk to its end.
        dense: Dot product with the query, cosine for normalised encoders; None when only words were asked for.
        lexical: BM25; None for a chunk without a word of the query, and when only the meaning was asked for.
        content_hash: Of the document as it was when the chunk was stored.
    """

    chunk: Chunk
    score: float
    truncated: bool
    metadata: Mapping[str, Any]
    dense: float | None = None
    lexical: float | None = None
    content_hash: str = ""


@dataclass(frozen=True)
class Question:
    """A query as the two sides read it.

    Attributes:
        text: As it was asked.
        vectors: One; of a query that is longer than the encoder reads one for each passage, and a chunk's similarity is
            that with the nearest of them. None where only the words are asked for.
        terms: None where only the meaning is asked for.
        tokens: That the encoder read.
        truncated: Whether some of the text was left out on either side.
        spelled: See ``first_stage.Traits``.
    """

    text: str
    vectors: list[list[float]] | None
    terms: TermWeights | None
    tokens: int = 0
    truncated: bool = False
    spelled: float = 0.0


@dataclass(frozen=True)
class Weighing:
    """How the fitted fusion joined both sides for one query.

    fused = (1 - ``lexical_weight``) * dense + ``lexical_weight`` * lexical / ``lexical_best``
    """

    lexical_weight: float
    lexical_best: float
    traits: Traits


@dataclass(frozen=True)
class Retrieved:
    """Candidates, best first; equal ones in order of id.

    Attributes:
        candidates: The best chunks.
        dense, lexical: Milliseconds and chunks of each side; None if not asked.
        traits: Of the query, see ``first_stage.py``; None unless both sides were asked.
        weighing: How the scores were joined; None unless by fitted weights.
    """

    candidates: list[Candidate]
    dense: tuple[float, int] | None
    lexical: tuple[float, int] | None
    traits: Traits | None = None
    weighing: Weighing | None = None


def check_mode(mode: str, dense_weight: float | None, fusion: str | None = None) -> None:
    """Raise UsageError for a mode that is none, or a weight or fusion that has no meaning in it."""
    if mode not in get_args(Mode):
        raise UsageError(f"mode {mode!r} is not known; choose dense, lexical or hybrid")
    if fusion is not None and fusion not in get_args(Fusion):
        raise UsageError(f"fusion {fusion!r} is not known; choose fitted or rrf")
    for name, value in (("dense weight", dense_weight), ("fusion", fusion)):
        if value is not None and mode != "hybrid":
            raise UsageError(f"a {name} joins both sides; it has no meaning in mode {mode}")
    if dense_weight is not None and fusion is not None:
        raise UsageError(f"a dense weight is a fusion of its own; leave it out, or fusion {fusion}")
    if dense_weight is not None and not 0 <= dense_weight <= 1:
        raise UsageError(f"the dense weight is {dense_weight}; it must be between 0 and 1")


def ask(text: str, mode: Mode, embedder: Embedder, language: str) -> Question:
    """Read a query for one side or both; a query longer than the encoder reads in passages, see ``passages.py``.

    Raises:
        UsageError: It is empty.
    """
    if not text.strip():
        raise UsageError("the query is empty")
    terms = None if mode == "dense" else query_weights(text, language)
    full = terms is not None and len(terms.terms) == MOST_TERMS  # there may have been more
    if mode == "lexical":
        return Question(text, None, terms, truncated=full)
    spans = embedder.token_spans(text)
    passages, whole = cut(text, spans, embedder)
    encoded = embedder.encode(passages, embedder.query_prompt, "queries", False)
    truncated = full or not whole or bool(encoded.truncated.any())
    return Question(text, encoded.embeddings.tolist(), terms, encoded.tokens, truncated, spelled_share(text, spans))


def retrieve(
    engine: Engine,
    question: Question,
    limit: int,
    condition: Condition | None,
    dense_weight: float | None = None,
    numbers: FirstStage | None = None,
) -> Retrieved:
    """The best ``limit`` chunks of one side, or of both joined.

    By a given weight of the similarities, else by fitted ``numbers``, else by reciprocal ranks.
    """
    vectors, terms = question.vectors, question.terms
    one_side = vectors is None or terms is None
    depth = limit if one_side else max(limit, DEPTH)
    dense_cost = lexical_cost = None
    dense: Found = {}
    lexical: Found = {}
    if vectors is not None:
        started = perf_counter()
        dense = _nearest(engine, vectors, depth, condition)
        dense_cost = (1e3 * (perf_counter() - started), len(dense))
    if terms is not None:
        started = perf_counter()
        lexical = engine.matching(terms, depth, condition)
        lexical_cost = (1e3 * (perf_counter() - started), len(lexical))
    seen = weighing = None
    if vectors is None or terms is None:
        fused = dense or lexical
    else:
        seen = traits(question.spelled, dense, lexical, DEPTH)
        found_by_meaning, found_by_words = dense, lexical
        # a chunk that one side alone found has its true score of the other one, too
        dense = dense | _nearest(engine, vectors, depth, None, [name for name in lexical if name not in dense])
        lexical = lexical | engine.matching(terms, depth, None, [name for name in dense if name not in lexical])
        if dense_weight is not None:
            fused = weighted_scores(found_by_meaning, found_by_words, dense_weight)
        elif numbers is None:
            fused = reciprocal_ranks([found_by_meaning, found_by_words])
        else:
            weight = numbers.lexical_weight(seen) if lexical else 0.0
            weighing = Weighing(weight, max(lexical.values(), default=0.0), seen)
            fused = convex_scores(dense, lexical, weight)
    # only now the texts: reading them takes longer than finding them. The last place can be shared by several
    least = sorted(fused.values(), reverse=True)[:limit][-1:]
    found = engine.fetch(name for name, score in fused.items() if score >= least[0])
    best = sorted(found, key=lambda name: (-fused[name], found[name].chunk.document_id, found[name].number))[:limit]
    candidates = [_candidate(found[name], fused[name], dense.get(name), lexical.get(name)) for name in best]
    return Retrieved(candidates, dense_cost, lexical_cost, seen, weighing)


def _nearest(
    engine: Engine,
    vectors: list[list[float]],
    limit: int,
    condition: Condition | None,
    among: list[str] | None = None,
) -> Found:
    """The chunks nearest to one of the vectors, best first, each with the largest of its dot products.

    None is missed: a chunk among the best of all is among the best of the vector that it is nearest to.
    """
    found: Found = {}
    for vector in vectors:
        for name, score in engine.nearest(vector, limit, condition, among).items():
            found[name] = max(score, found.get(name, score))
    return dict(sorted(found.items(), key=lambda item: (-item[1], item[0]))[:limit])


def _candidate(item: Stored, score: float, dense: float | None, lexical: float | None) -> Candidate:
    return Candidate(item.chunk, score, item.truncated, item.metadata, dense, lexical, item.content_hash)

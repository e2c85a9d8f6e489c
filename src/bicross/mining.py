"""Hard negatives: what an index finds for a query near its answer, though it does not answer it.

A model learns most from what it confuses, and unlearns what it knows from answers that nobody judged. So the candidates
pass filters against such false negatives: not too near the query beside the positive (a margin relative to it, as in
NV-Retriever, arXiv:2407.15831), not held relevant by the cross-encoder (RocketQA, arXiv:2010.08191), not a copy of a
positive. What was judged not relevant needs no filter.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from typing import Literal

import numpy as np
import numpy.typing as npt

from bicross.encoders import CrossEncoder
from bicross.errors import UsageError
from bicross.index import Candidate, Index
from bicross.index.lexical import terms

#: Why a document that was found is no negative.
Reason = Literal["copy of a positive", "as near as the positive", "held relevant by the cross-encoder"]

#: Chunks that are asked for each document of the window: long documents take several places.
CHUNKS_A_DOCUMENT = 3

#: Two texts are copies when they share this much of their words (Jaccard).
COPY = 0.9

Grades = Mapping[str, int]
Vector = npt.NDArray[np.float32]


@dataclass(frozen=True)
class MiningRules:
    """What a hard negative is.

    Attributes:
        first, last: Ranks of the documents to look at, both included, from 1; positives take no rank.
        count: Negatives of each positive, at most.
        margin: A negative's similarity to the query is at most so much of the positive's.
        max_relevance: Nor does the cross-encoder give it this relevance, or that of the positive; 1 asks none.

    Raises:
        UsageError: One is out of its range.
    """

    first: int = 1
    last: int = 100
    count: int = 5
    margin: float = 0.95
    max_relevance: float = 0.5

    def __post_init__(self) -> None:
        if not 1 <= self.first <= self.last <= 10_000:
            raise UsageError(
                f"ranks are {self.first} to {self.last}; they must be from 1 to 10000, the first not after the last"
            )
        if self.count < 1:
            raise UsageError(f"negatives is {self.count}; it must be at least 1")
        if not self.margin > 0:
            raise UsageError(f"margin is {self.margin}; it must be more than 0")
        if not 0 < self.max_relevance <= 1:
            raise UsageError(f"max_relevance is {self.max_relevance}; it must be more than 0, and 1 at most")


@dataclass(frozen=True)
class MinedExample:
    """A query, the chunk of a document that answers it, and chunks that seem to; the hardest first."""

    query_id: str
    query: str
    positive_id: str
    positive: str
    negative_ids: tuple[str, ...]
    negatives: tuple[str, ...]


@dataclass
class MiningTally:
    """What became of queries and candidates, counted while mining goes on.

    Attributes:
        queries: That were asked.
        examples, negatives: That came of them.
        dropped: Documents that are no negatives, by reason; counted once for each positive.
        missing: Positives that are not in the index.
        none_left: Positives without a negative; no example is made of them.
    """

    queries: int = 0
    examples: int = 0
    negatives: int = 0
    dropped: dict[Reason, int] = field(default_factory=dict)
    missing: int = 0
    none_left: int = 0

    def drop(self, reason: Reason) -> None:
        self.dropped[reason] = self.dropped.get(reason, 0) + 1


@dataclass(frozen=True)
class _Asked:
    """A query and what is known of it."""

    text: str
    vector: Vector
    grades: Grades


def mine(
    index: Index,
    queries: Iterable[tuple[str, str]],
    qrels: Mapping[str, Grades],
    tally: MiningTally,
    rules: MiningRules | None = None,
    cross_encoder: CrossEncoder | None = None,
) -> Iterator[MinedExample]:
    """Hard negatives for each judged query and each document that answers it, one example at a time.

    Args:
        index: Holds the documents; its bi-encoder says what is near.
        queries: Id and text; those without judgements are passed over.
        qrels: Grades of documents by query; 1 and more is relevant.
        tally: Is filled on the way.
        rules: What a hard negative is.
        cross_encoder: With one label; None does without its filter.

    Raises:
        UsageError: A query is empty.
    """
    rules = rules or MiningRules()
    for query_id, text in queries:
        grades = qrels.get(query_id, {})
        positives = [document for document, grade in grades.items() if grade > 0]
        if not positives:
            continue
        if not text.strip():
            raise UsageError(f"the query {query_id!r} has no text")
        tally.queries += 1
        asked = _Asked(text, _embedded(index, [text], index.embedder.query_prompt)[0], grades)
        answers = {document: chunk for document in positives if (chunk := _answer(index, asked, document))}
        tally.missing += len(positives) - len(answers)
        found = _window(index, asked, rules, frozenset(positives))
        relevant = _HeldRelevant(cross_encoder, asked, rules) if cross_encoder and rules.max_relevance < 1 else None
        language = index.manifest.fingerprint.lexical_language
        copied = _Copies([chunk.chunk.embedded_text for chunk in answers.values()], language)
        for document, answer in answers.items():
            negatives = list(_negatives(found, asked, answer, copied, rules, relevant, tally))
            if not negatives:
                tally.none_left += 1
                continue
            tally.examples += 1
            tally.negatives += len(negatives)
            yield MinedExample(
                query_id,
                text,
                document,
                answer.chunk.embedded_text,
                tuple(negative.chunk.document_id for negative in negatives),
                tuple(negative.chunk.embedded_text for negative in negatives),
            )


def _embedded(index: Index, texts: list[str], prompt: str) -> Vector:
    rows = index.embedder.encode(texts, prompt, show_progress=False).embeddings
    unit: Vector = rows / np.maximum(np.linalg.norm(rows, axis=1, keepdims=True), 1e-12)
    return unit


def _answer(index: Index, asked: _Asked, document: str) -> Candidate | None:
    """The chunk of a document that is nearest to the query, with its similarity; None when nothing is stored."""
    chunks = index.get(document)
    if not chunks:
        return None
    rows = _embedded(index, [chunk.chunk.embedded_text for chunk in chunks], index.embedder.document_prompt)
    near = rows @ asked.vector
    best = chunks[int(near.argmax())]
    return Candidate(best.chunk, float(near.max()), best.truncated, best.metadata)


def _window(index: Index, asked: _Asked, rules: MiningRules, positives: frozenset[str]) -> list[Candidate]:
    """The best chunk of each document of the window."""
    limit = CHUNKS_A_DOCUMENT * (rules.last + len(positives))
    best: dict[str, Candidate] = {}
    for candidate in index.nearest(asked.vector.tolist(), limit):
        if candidate.chunk.document_id not in positives:
            best.setdefault(candidate.chunk.document_id, candidate)
    return list(best.values())[rules.first - 1 : rules.last]


class _HeldRelevant:
    """What the cross-encoder says of candidates of one query, asked once each, a handful at a time."""

    def __init__(self, cross_encoder: CrossEncoder, asked: _Asked, rules: MiningRules) -> None:
        self._cross_encoder, self._asked, self._rules = cross_encoder, asked, rules
        self._relevance: dict[str, float] = {}

    def __call__(self, candidate: Candidate, answer: Candidate, following: Sequence[Candidate]) -> bool:
        needed = [c for c in (answer, candidate) if c.chunk.id not in self._relevance]
        if needed:
            following = [c for c in following if c.chunk.id not in self._relevance]
            self._read([*needed, *following[: self._rules.count - 1]])
        limit = min(self._rules.max_relevance, self._relevance[answer.chunk.id])
        return self._relevance[candidate.chunk.id] >= limit

    def _read(self, candidates: list[Candidate]) -> None:
        pairs = [(self._asked.text, c.chunk.embedded_text) for c in candidates]
        relevance = self._cross_encoder.relevance(self._cross_encoder.score(pairs, show_progress=False).logits)
        self._relevance |= zip((c.chunk.id for c in candidates), relevance.tolist(), strict=True)


class _Copies:
    """Whether a text has nearly the words of one of some others."""

    def __init__(self, texts: list[str], language: str) -> None:
        # a query's positives are held against the same candidates, one after the other
        self._words = cache(lambda text: frozenset(terms(text, language)))
        self._others = [self._words(text) for text in texts]

    def __call__(self, text: str) -> bool:
        words = self._words(text)
        return any(len(words & other) >= COPY * len(words | other) for other in self._others)


def _negatives(
    found: list[Candidate],
    asked: _Asked,
    answer: Candidate,
    copied: _Copies,
    rules: MiningRules,
    relevant: _HeldRelevant | None,
    tally: MiningTally,
) -> Iterator[Candidate]:
    """The first of them that pass, as many as wanted."""
    kept = 0
    # where the positive is no nearer than nothing at all, no share of it means anything: only what is less near passes
    nearest = answer.score * (rules.margin if answer.score > 0 else 1)
    for place, candidate in enumerate(found):
        if kept == rules.count:
            return
        reason: Reason | None = None
        if candidate.chunk.document_id in asked.grades:
            pass  # judged, and not relevant
        elif copied(candidate.chunk.embedded_text):
            reason = "copy of a positive"
        elif candidate.score > nearest:
            reason = "as near as the positive"
        elif relevant and relevant(candidate, answer, found[place + 1 :]):
            reason = "held relevant by the cross-encoder"
        if reason:
            tally.drop(reason)
        else:
            kept += 1
            yield candidate

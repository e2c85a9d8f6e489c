"""What a search returns."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any, Literal

from bicross.index.retrieval import Weighing


@dataclass(frozen=True)
class StageScore:
    """The number that one stage gave, and the document's rank by it among the candidates, from 1."""

    score: float
    rank: int


@dataclass(frozen=True)
class Hit:
    """One document, by its best chunk.

    Attributes:
        document_id: The user's id.
        chunk_id: The chunk that the score belongs to.
        text: That chunk.
        score: What the hits are sorted by: the joined score of both stages, or the last stage's own. Of a hit that the
            cross-encoder did not get to, see ``Reading``: the last score that it gave, less what the first stage puts
            between the two.
        relevance: Calibrated probability between 0 and 1 that the document is relevant; None where no cross-encoder
            read it.
        scores: Every stage's number and rank: ``dense``, ``lexical`` (only where a word was found) and, of both
            together, ``fused``; after reranking ``cross_encoder`` and ``final``.
        truncated: Whether a model did not read the chunk, or the query, to its end.
        title, start, end: Title of the document; where the chunk stands in its text, in characters.
        page: The page on which the chunk begins, from 1; None where the document has no pages.
        metadata: As the document was given.
    """

    document_id: str
    chunk_id: str
    text: str
    score: float
    relevance: float | None
    scores: Mapping[str, StageScore]
    truncated: bool
    title: str = ""
    start: int = 0
    end: int = 0
    page: int | None = None
    metadata: Mapping[str, Any] = field(default_factory=dict)

    def as_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        return asdict(self)


@dataclass(frozen=True)
class StageCost:
    """What one stage took.

    Attributes:
        stage: ``embed query``, ``retrieve dense``, ``retrieve lexical`` or ``rerank``.
        milliseconds: Wall time.
        tokens: Tokens that a model read; 0 where none did.
        items: Texts embedded, chunks found, or pairs scored.
    """

    stage: str
    milliseconds: float
    tokens: int
    items: int


#: Why reading ended: nothing was left, the rest could hardly change the top, time was up, the query is too long, or the
#: candidates are program code, or in a language that the cross-encoder does not read.
Stopped = Literal["all", "settled", "budget", "too long", "code", "language"]


@dataclass(frozen=True)
class Reading:
    """How far the cross-encoder got: pairs read, of so many candidates, and why it stopped there."""

    read: int
    candidates: int
    stopped: Stopped

    def __str__(self) -> str:
        reasons = {"all": "", "settled": ": the rest can hardly enter", "budget": ": time was up"}
        reasons |= {
            "too long": ": the query is longer than it reads",
            "code": ": it reads prose, and they are code",
            "language": ": it reads English, and they are in another script",
        }
        return f"read {self.read} of {self.candidates} candidates{reasons[self.stopped]}"


@dataclass(frozen=True)
class SearchResult:
    """What was found.

    Attributes:
        query: As asked.
        hits: Best first.
        stages: What each stage cost.
        retrieved: The order of the first stage alone, document ids.
        reading: How far the cross-encoder got; None without one.
        weights: What the score of a hit is the sum of: the weight of each of its ``scores``; empty where it is one of
            them as it is.
        weighing: How the first stage weighed meaning and words; None unless by fitted numbers.
    """

    query: str
    hits: list[Hit]
    stages: list[StageCost]
    retrieved: list[str]
    reading: Reading | None = None
    weights: Mapping[str, float] = field(default_factory=dict)
    weighing: Weighing | None = None

    @property
    def milliseconds(self) -> float:
        return sum(stage.milliseconds for stage in self.stages)

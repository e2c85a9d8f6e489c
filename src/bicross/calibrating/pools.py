"""What both stages say of the candidates of judged queries: all that is fitted is fitted on these."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]
Integers = npt.NDArray[np.int64]

#: The rank down to which order counts here.
TOP = 10


@dataclass(frozen=True)
class ReadQuery:
    """The candidates that some first stages bring for a query, and what the cross-encoder says of them.

    Attributes:
        id: Of the query.
        documents: The document of each chunk, by chunk id.
        scores: What each first stage, by its name, says of each of its candidates, the best first.
        logits: Of the chunks that the cross-encoder read.
        grades: Of the judged documents.
        weight: Of the query beside others.
    """

    id: str
    documents: Mapping[str, str]
    scores: Mapping[str, Mapping[str, float]]
    logits: Mapping[str, float]
    grades: Mapping[str, int]
    weight: float = 1.0


@dataclass(frozen=True)
class Pool:
    """The candidates of one query, in retrieval order; a row is a chunk.

    Attributes:
        documents: (n,): the number of its document; smaller ones have smaller ids.
        evidence: (n,): the first stage's score, never rising.
        logits: (n,).
        grades: (n,): of its document, 0 where nobody judged.
        ideal: DCG of the best order that the judged documents could be in.
        weight: Of the query beside others.
    """

    documents: Integers
    evidence: Floats
    logits: Floats
    grades: Integers
    ideal: float
    weight: float = 1.0
    first: Integers = field(init=False)  # documents seen when so many candidates were read

    def __post_init__(self) -> None:
        new = np.zeros(len(self.documents), np.int64)
        new[np.unique(self.documents, return_index=True)[1]] = 1
        object.__setattr__(self, "first", np.cumsum(new))

    def ndcg(self, scores: Floats) -> float:
        """nDCG@10 of the first candidates, as many as there are scores, each document by its best."""
        if not self.ideal:
            return 0.0
        best, grades = self.best(scores)
        # ids in order of number, so a stable sort breaks ties by id
        return dcg(grades[np.argsort(-best, kind="stable")]) / self.ideal

    def best(self, scores: Floats) -> tuple[Floats, Integers]:
        """The score of each document by its best chunk (MaxP), and its grade; documents in order of number."""
        numbers, place = np.unique(self.documents[: len(scores)], return_inverse=True)
        best = np.full(len(numbers), -np.inf)
        np.maximum.at(best, place, scores)
        grades = np.zeros(len(numbers), np.int64)
        grades[place] = self.grades[: len(scores)]
        return best, grades


def pool(query: ReadQuery, first_stage: str, depth: int) -> Pool:
    """The best ``depth`` chunks by a first stage, of those that the cross-encoder read."""
    scores = query.scores[first_stage]
    best = [chunk for chunk in scores if chunk in query.logits][:depth]
    numbers = {document: n for n, document in enumerate(sorted({query.documents[chunk] for chunk in best}))}
    return Pool(
        np.array([numbers[query.documents[chunk]] for chunk in best], np.int64),
        np.array([scores[chunk] for chunk in best], np.float64),
        np.array([query.logits[chunk] for chunk in best], np.float64),
        np.array([query.grades.get(query.documents[chunk], 0) for chunk in best], np.int64),
        dcg(np.array(sorted(query.grades.values(), reverse=True), np.int64)),
        query.weight,
    )


def dcg(grades: Integers) -> float:
    """Discounted cumulative gain of the first ten, with the grades as gains (Järvelin and Kekäläinen 2002)."""
    gains = np.maximum(grades[:TOP], 0)
    return float((gains / np.log2(np.arange(2, len(gains) + 2))).sum())

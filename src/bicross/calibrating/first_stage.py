"""Fit the numbers of the first stage, see ``bicross.index.first_stage``, to judged queries.

A conditional logit: the relevant candidates of each query are made as likely as can be under a softmax of the fused
scores, in which how steep it is is fitted, too. A normal prior keeps what the queries say nothing about (a script that
none of them is in) where it was.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import astuple, dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy.optimize import minimize
from scipy.special import expit

from bicross.errors import UsageError
from bicross.index import Index
from bicross.index.first_stage import FirstStage, Traits
from bicross.index.retrieval import DEPTH

Numbers = npt.NDArray[np.float64]

#: The standard deviation of the prior: how far a coefficient may well lie from where it was.
SPREAD = 2.0

_NOTHING = FirstStage(0.0, 0.0, 0.0, 0.0)


@dataclass(frozen=True)
class JudgedQuery:
    """What the first stage found for a query, a row a document.

    Attributes:
        dense, lexical: (documents,) float64: similarity, and BM25 as a share of the query's best.
        relevant: (documents,) bool.
        traits: See there.
    """

    dense: Numbers
    lexical: Numbers
    relevant: npt.NDArray[np.bool_]
    traits: Traits


def judged_query(index: Index, query: str, grades: Mapping[str, int]) -> JudgedQuery | None:
    """Look a query up; None where it teaches nothing: no word of it found, or no relevant document, or only such."""
    found = index.retrieve(index.ask(query, "hybrid"), 2 * DEPTH, fusion="rrf")
    best = max((c.lexical or 0.0 for c in found.candidates), default=0.0)
    if not best or found.traits is None:
        return None
    rows: dict[str, tuple[float, float]] = {}
    for candidate in found.candidates:
        row = (candidate.dense or 0.0, (candidate.lexical or 0.0) / best)
        name = candidate.chunk.document_id
        rows[name] = max(row, rows.get(name, row), key=sum)  # a document counts by its best chunk
    relevant = np.array([grades.get(name, 0) > 0 for name in rows])
    if not relevant.any() or relevant.all():
        return None
    dense, lexical = np.array(list(rows.values())).T
    return JudgedQuery(dense, lexical, relevant, found.traits)


def fit_first_stage(collections: Sequence[Sequence[JudgedQuery]], prior: FirstStage = _NOTHING) -> FirstStage:
    """The numbers that fit best; each collection weighs the same, and in it each query.

    Raises:
        UsageError: There is no query.
    """
    tables = [_Table.of(queries) for queries in collections if queries]
    if not tables:
        raise UsageError("no judged query is left to fit to: each needs a relevant and another document that is found")
    start = np.array(astuple(prior))
    queries = sum(len(table.traits) for table in tables)

    def loss(parameters: Numbers) -> Any:
        steepness, numbers = np.exp(parameters[0]), parameters[1:]
        likelihood = np.mean([table.log_likelihood(steepness, numbers) for table in tables])
        return np.sum((numbers - start) ** 2) / (2 * queries * SPREAD**2) - likelihood

    best = minimize(loss, np.concatenate([[np.log(15.0)], start]), method="L-BFGS-B")
    return FirstStage(*best.x[1:].tolist())


@dataclass(frozen=True)
class _Table:
    """Queries of one collection, padded to the most documents of one."""

    dense: Numbers
    lexical: Numbers
    share: Numbers  # of the relevance, 0 for padding
    there: npt.NDArray[np.bool_]
    traits: Numbers

    @staticmethod
    def of(queries: Sequence[JudgedQuery]) -> _Table:
        shape = (len(queries), max(len(query.dense) for query in queries))
        dense, lexical, share = (np.zeros(shape) for _ in range(3))
        there = np.zeros(shape, bool)
        for row, query in enumerate(queries):
            here = slice(len(query.dense))
            dense[row, here], lexical[row, here], there[row, here] = query.dense, query.lexical, True
            share[row, here] = query.relevant / query.relevant.sum()
        return _Table(dense, lexical, share, there, np.array([astuple(query.traits) for query in queries]))

    def log_likelihood(self, steepness: float, numbers: Numbers) -> float:
        weight = expit(numbers[0] + self.traits @ numbers[1:])[:, None]
        scores = steepness * ((1 - weight) * self.dense + weight * self.lexical)
        highest = np.where(self.there, scores, -np.inf).max(axis=1, keepdims=True)
        exponents = np.where(self.there, np.exp(np.minimum(scores - highest, 0)), 0)
        chosen = (self.share * (scores - highest)).sum(axis=1)
        return float(np.mean(chosen - np.log(exponents.sum(axis=1))))

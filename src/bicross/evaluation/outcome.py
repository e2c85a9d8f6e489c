"""What an evaluation comes to."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

import bicross
from bicross.evaluation.runs import Run
from bicross.evaluation.significance import Test

Values = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Mean:
    """A mean over queries, with its 95 % confidence interval."""

    mean: float
    low: float
    high: float


@dataclass(frozen=True)
class Cost:
    """What each query took: (queries,) float64 each.

    Attributes:
        pairs: Pairs that the cross-encoder read.
        tokens: Tokens that both models read.
        milliseconds: Wall time of all stages.
    """

    pairs: Values
    tokens: Values
    milliseconds: Values


@dataclass(frozen=True)
class SystemOutcome:
    """One system.

    Attributes:
        name: Of the system, or of the run file.
        values: (queries,) float64 for each measure.
        means: Over all queries.
        judged: (queries,) float64: share of the first ten documents that somebody judged; NaN where none was listed.
        cost: None for a run file.
        calibration_error: Of the relevance of the listed documents, unjudged ones taken for irrelevant; None where the
            system gives no relevance. See ``calibration_error``.
        run: What was listed.
    """

    name: str
    values: Mapping[str, Values]
    means: Mapping[str, Mean]
    judged: Values
    cost: Cost | None
    calibration_error: float | None
    run: Run = field(repr=False)

    @property
    def judged_at_10(self) -> float:
        """Mean share of judged documents among the first ten; NaN where nothing was listed at all."""
        return float("nan") if np.isnan(self.judged).all() else float(np.nanmean(self.judged))


@dataclass(frozen=True)
class Comparison:
    """One system beside the baseline in one measure.

    Attributes:
        system, measure: Which.
        difference: Mean of system minus baseline, with its 95 % confidence interval.
        better, equal, worse: Queries.
        p: Of the paired test.
        p_holm: The same, corrected by Holm for the number of systems that are compared in this measure.
    """

    system: str
    measure: str
    difference: Mean
    better: int
    equal: int
    worse: int
    p: float
    p_holm: float


@dataclass(frozen=True)
class Shown:
    """A document as a report shows it. ``grade`` is None where nobody judged it, a rank where it was not listed."""

    document_id: str
    grade: int | None
    rank: int | None
    baseline_rank: int | None
    title: str
    text: str


@dataclass(frozen=True)
class WorstQuery:
    """A query that a system did badly on.

    Attributes:
        system, query_id, text: Which; the text is "" where no file of queries was given.
        value, baseline: In the first measure; None for the baseline itself.
        expected: The relevant documents, the highest grades first, three at most.
        first: What the system put first, three at most.
    """

    system: str
    query_id: str
    text: str
    value: float
    baseline: float | None
    expected: list[Shown]
    first: list[Shown]


@dataclass(frozen=True)
class Evaluation:
    """Systems, measured on the same queries.

    Attributes:
        collection: What was searched, or the file of judgements.
        measures: Names; the first one is what the report looks at closely.
        queries: Ids, in the order of all values.
        depth: Documents that a search listed for each query.
        baseline: The system that the others are compared with.
        test: Which paired test.
        systems: In the order in which they were named.
        comparisons: Each other system beside the baseline, measure by measure.
        worst: The ten queries of each system that lose most against the baseline; of the baseline those of the lowest
            values.
        notes: What was found and left out.
    """

    collection: str
    measures: list[str]
    queries: list[str]
    depth: int
    baseline: str
    test: Test
    systems: list[SystemOutcome]
    comparisons: list[Comparison]
    worst: list[WorstQuery]
    notes: list[str]

    def system(self, name: str) -> SystemOutcome:
        """The outcome of a system by its name."""
        return next(system for system in self.systems if system.name == name)

    def as_dict(self) -> dict[str, Any]:
        """Plain values for JSON, with every value of every query."""
        return {
            "bicross": bicross.__version__,
            "collection": self.collection,
            "queries": len(self.queries),
            "measures": self.measures,
            "depth": self.depth,
            "baseline": self.baseline,
            "test": self.test,
            "notes": self.notes,
            "systems": [summary(system) for system in self.systems],
            "comparisons": [asdict(comparison) for comparison in self.comparisons],
            "per_query": {
                system.name: {i: _of_query(system, place) for place, i in enumerate(self.queries)}
                for system in self.systems
            },
            "worst": [asdict(query) for query in self.worst],
        }


def summary(system: SystemOutcome) -> dict[str, Any]:
    """A system's means and costs."""
    cost = system.cost
    return {
        "name": system.name,
        "measures": {name: asdict(mean) for name, mean in system.means.items()},
        "judged@10": _number(system.judged_at_10),
        "unjudged@10": _number(1 - system.judged_at_10),
        "calibration_error": system.calibration_error,
        "cost": cost
        and {
            "pairs": float(cost.pairs.mean()),
            "tokens": float(cost.tokens.mean()),
            "ms_median": float(np.median(cost.milliseconds)),
            "ms_p95": float(np.percentile(cost.milliseconds, 95)),
        },
    }


def _of_query(system: SystemOutcome, place: int) -> dict[str, float | None]:
    values: dict[str, float | None] = {name: float(values[place]) for name, values in system.values.items()}
    values["judged@10"] = _number(float(system.judged[place]))
    if system.cost is not None:
        values["pairs"] = float(system.cost.pairs[place])
        values["tokens"] = float(system.cost.tokens[place])
        values["ms"] = float(system.cost.milliseconds[place])
    return values


def _number(value: float) -> float | None:
    """JSON has no NaN."""
    return None if math.isnan(value) else value

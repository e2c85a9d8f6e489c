"""Measures by ir_measures: their names, how deep they look, their value for each query."""

from __future__ import annotations

import ast
import re
from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from bicross.errors import UsageError
from bicross.evaluation.judged import Qrels
from bicross.evaluation.runs import Run

DEFAULT_MEASURES = ("nDCG@10", "RR@10", "R@100", "AP@100", "P@5")

#: How many documents a search lists for a measure without a cutoff, as is the custom at TREC.
UNBOUNDED = 1000

#: Queries that are measured at once.
BATCH = 500

Values = npt.NDArray[np.float64]

_MEASURE = re.compile(r"(?P<name>\w+)(\((?P<settings>.*)\))?(@(?P<at>[\d.]+))?")


def parse_measures(names: Sequence[str]) -> list[Any]:
    """The measures of ir_measures with these names: ``nDCG@10``, ``AP(rel=2)@100`` …

    Raises:
        UsageError: There is no such measure, or it cannot be computed on this machine.
    """
    if not names:
        raise UsageError("no measure is named; choose some, such as nDCG@10")
    measures = [_parse(name.strip()) for name in names]
    if len(set(measures)) < len(measures):
        raise UsageError("a measure is named twice")
    return measures


def _parse(text: str) -> Any:
    from ir_measures import Qrel, ScoredDoc, calc_aggregate
    from ir_measures.measures import registry

    match = _MEASURE.fullmatch(text)
    kind = registry.get(match["name"]) if match else None
    if match is None or kind is None:
        raise UsageError(
            f"the measure {text!r} is not known; ir_measures has {', '.join(sorted(registry))}, such as nDCG@10"
        )
    try:
        # ir_measures' own parser needs what Python 3.14 has no longer, and takes a cutoff of 0, at which trec_eval dies
        call = ast.parse(f"f({match['settings'] or ''})", mode="eval").body
        settings = {word.arg: ast.literal_eval(word.value) for word in getattr(call, "keywords", ())}
        if match["at"]:
            settings[kind.AT_PARAM] = ast.literal_eval(match["at"])
        cutoff = settings.get("cutoff", 1)
        if getattr(call, "args", ()) or not isinstance(cutoff, int) or cutoff < 1:
            raise ValueError("a cutoff is a whole number from 1, other settings have names")
        measure = kind(**settings)
        measure.validate_params()
        calc_aggregate([measure], [Qrel("1", "1", 1)], [ScoredDoc("1", "1", 1.0)])
    except Exception as error:  # each of ir_measures' providers fails in its own way
        raise UsageError(f"the measure {text!r} cannot be computed: {' '.join(str(error).split())}") from None
    return measure


def cutoffs(measures: Sequence[Any]) -> int | None:
    """The deepest rank that the measures look at; None when one looks at all."""
    found = [measure.params.get("cutoff") for measure in measures]
    return None if None in found else max(found)


def measured(measures: Sequence[Any], ids: Sequence[str], qrels: Qrels, run: Run) -> Values:
    """(measures, queries) float64: the value of each measure for each query; a query without a ranking gets 0.

    The ranks are what counts: ir_measures is given scores made of them, because its parts break ties in several ways,
    and numbers for ids, because some of its parts read no others.
    """
    import ir_measures

    row = {measure: number for number, measure in enumerate(measures)}
    values = np.zeros((len(measures), len(ids)))
    answered = [place for place, query_id in enumerate(ids) if query_id in run and run[query_id].ids]
    for start in range(0, len(answered), BATCH):
        grades: dict[str, dict[str, int]] = {}
        scores: dict[str, dict[str, float]] = {}
        for place in answered[start : start + BATCH]:
            listed, judged = run[ids[place]].ids, qrels[ids[place]]
            number = {document_id: str(n) for n, document_id in enumerate(dict.fromkeys([*listed, *judged]))}
            grades[str(place)] = {number[document_id]: grade for document_id, grade in judged.items()}
            scores[str(place)] = {number[d]: float(len(listed) - rank) for rank, d in enumerate(listed)}
        for metric in ir_measures.iter_calc(measures, grades, scores):
            values[row[metric.measure], int(metric.query_id)] = metric.value
    return values


def judged_share(ids: Sequence[str], qrels: Qrels, run: Run, depth: int = 10) -> Values:
    """(queries,) float64: which share of the first ten documents somebody has judged; NaN where nothing is listed."""
    shares = np.full(len(ids), np.nan)
    for number, query_id in enumerate(ids):
        if query_id in run and (first := run[query_id].ids[:depth]):
            shares[number] = sum(document_id in qrels[query_id] for document_id in first) / len(first)
    return shares

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
        calc_aggregate([measure], [Qrel("q", "d", 1)], [ScoredDoc("q", "d", 1.0)])
    except (AssertionError, KeyError, RuntimeError, SyntaxError, TypeError, ValueError) as error:
        raise UsageError(f"the measure {text!r} cannot be computed: {' '.join(str(error).split())}") from None
    return measure


def cutoffs(measures: Sequence[Any]) -> int | None:
    """The deepest rank that the measures look at; None when one looks at all."""
    found = [measure.params.get("cutoff") for measure in measures]
    return None if None in found else max(found)


def measured(measures: Sequence[Any], ids: Sequence[str], qrels: Qrels, run: Run) -> Values:
    """(measures, queries) float64: the value of each measure for each query; a query without a ranking gets 0.

    The ranks are what counts: ir_measures is given scores made of them, because its parts break ties in several ways.
    """
    import ir_measures

    place = {query_id: number for number, query_id in enumerate(ids)}
    row = {measure: number for number, measure in enumerate(measures)}
    values = np.zeros((len(measures), len(ids)))
    for start in range(0, len(ids), BATCH):
        batch = [i for i in ids[start : start + BATCH] if i in run and run[i].ids]
        ranked = {i: {d: float(-rank) for rank, d in enumerate(run[i].ids)} for i in batch}
        if not batch:
            continue
        for metric in ir_measures.iter_calc(measures, {i: qrels[i] for i in batch}, ranked):
            values[row[metric.measure], place[metric.query_id]] = metric.value
    return values


def judged_share(ids: Sequence[str], qrels: Qrels, run: Run, depth: int = 10) -> Values:
    """(queries,) float64: which share of the first ten documents somebody has judged; NaN where nothing is listed."""
    shares = np.full(len(ids), np.nan)
    for number, query_id in enumerate(ids):
        if query_id in run and (first := run[query_id].ids[:depth]):
            shares[number] = sum(document_id in qrels[query_id] for document_id in first) / len(first)
    return shares

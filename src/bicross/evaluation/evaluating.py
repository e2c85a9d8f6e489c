"""Search with every system, measure, compare."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, get_args

import numpy as np

from bicross.encoders import CrossEncoder
from bicross.encoders.loading import DEFAULT_CROSS_ENCODER
from bicross.errors import UsageError
from bicross.evaluation.calibration_error import calibration_error
from bicross.evaluation.collection import (
    check_documents,
    document_texts,
    find_collection,
    open_index,
    query_texts,
    wanted_queries,
)
from bicross.evaluation.judged import Judged, judged_queries, named
from bicross.evaluation.measuring import (
    DEFAULT_MEASURES,
    UNBOUNDED,
    cutoffs,
    judged_share,
    measured,
    parse_measures,
)
from bicross.evaluation.outcome import Comparison, Cost, Evaluation, Mean, SystemOutcome, Values
from bicross.evaluation.runs import Run, read_run
from bicross.evaluation.significance import Test, holm, interval, p_value
from bicross.evaluation.systems import DEFAULT_SYSTEMS, System, parse_system
from bicross.evaluation.worst import with_texts, worst_queries
from bicross.index import Index
from bicross.opening import default_cross_encoder
from bicross.search import Searcher


def evaluate(
    collection: str | Path | Index | None = None,
    *,
    split: str = "test",
    queries: str | Path | None = None,
    qrels: str | Path | None = None,
    index: str | Path | None = None,
    systems: Sequence[str] | None = None,
    runs: Mapping[str, str | Path] | None = None,
    measures: Sequence[str] = DEFAULT_MEASURES,
    baseline: str | None = None,
    test: Test = "randomisation",
    limit: int | None = None,
    model: str | Path | None = None,
    cross_encoder: str | Path | CrossEncoder | None = None,
    filter: str | None = None,
    device: str = "cpu",
    precision: str = "auto",
    progress: Callable[[str], None] = lambda text: None,
) -> Evaluation:
    """Measure systems on judged queries, with the certainty of their differences and what they cost.

    Every system searches for itself, in turns with the others, after one query that is not counted. The means are over
    all queries that have a text and a judgement; one for which a system lists nothing counts 0. Memory grows with the
    queries and with how many documents the measures look at, not with the corpus.

    Args:
        collection: A folder in the layout of BEIR, the folder of an index, or an open index. None for run files alone.
        split: Of a BEIR folder: ``qrels/SPLIT.tsv``.
        queries: JSON lines (``_id``, ``text``) or id, tab, text; by default those of the BEIR folder.
        qrels: Judgements, BEIR's or TREC's; by default those of the BEIR folder.
        index: Where to make, or find and bring up to date, the index of a BEIR folder; by default a temporary folder.
        systems: ``dense``, ``lexical``, ``hybrid``, ``rrf``, ``rerank@N``, ``adaptive@N``, ``cross-encoder@N``; by
            default four of them, or none where there is a file of ``runs``.
        runs: Name and file of rankings that were made elsewhere.
        measures: Names of ir_measures (MacAvaney, Macdonald and Ounis, ECIR 2022).
        baseline: The system that the others are compared with; by default the first one.
        test: ``randomisation`` or ``t-test``, both paired, corrected by Holm.
        limit: Only so many queries, the first ones.
        model: Bi-encoder.
        cross_encoder: Name, folder, or a loaded one; by default the one that was adapted to the index, else the
            one that bicross ships.
        filter: Only documents whose metadata fit; see ``bicross.index.filters``.
        device: Of both models; see ``BiEncoder``.
        precision: Of the cross-encoder; see there.
        progress: Told what is being done.

    Returns:
        Means, comparisons, costs, every query's values, and the worst queries with their texts.

    Raises:
        UsageError: A name is unknown, a file is missing, or the ids match nothing.
        DocumentError: A line of a file cannot be understood.
        BicrossError: The index cannot be made or opened, or a model is missing.
    """
    asked = parse_measures(measures)
    runs = runs or {}
    chosen = [parse_system(name) for name in (systems if systems is not None else () if runs else DEFAULT_SYSTEMS)]
    names = [*(system.name for system in chosen), *runs]
    baseline = _checked(names, baseline, test, limit)
    place = find_collection(collection, split, queries, qrels, index)
    if chosen and place.queries is None:
        raise UsageError(f"the system {chosen[0].name!r} needs the texts of the queries; name them with --queries FILE")
    judged = judged_queries(place.queries, place.qrels, limit)
    notes = list(judged.notes)
    cutoff = cutoffs(asked)
    depth = max(10, cutoff or UNBOUNDED)
    tracks = {name: _Track() for name in names}
    for name, file in runs.items():
        tracks[name].run, other = read_run(Path(file), set(judged.ids), cutoff and depth)
        notes += _run_notes(Path(file), tracks[name].run, other, judged, limit)
    with ExitStack() as stack:
        opened = None
        if any(system.candidates for system in chosen):  # before the long work: it may not be there
            progress("Loading the cross-encoder …")
            if not isinstance(cross_encoder, CrossEncoder):
                at = place.index.path if isinstance(place.index, Index) else place.index
                chosen_one = cross_encoder or (default_cross_encoder(at) if at else DEFAULT_CROSS_ENCODER)
                cross_encoder = CrossEncoder(chosen_one, device=device, precision=precision)
            cross_encoder.check_orders()
        if chosen and place.queries:
            opened, found = open_index(place, model, device, progress, stack)
            opened.condition(filter)
            notes += found + check_documents(opened, judged.qrels, place.qrels)
            searcher = Searcher(opened, cross_encoder if isinstance(cross_encoder, CrossEncoder) else None)
            _search(searcher, chosen, place.queries, judged, depth, filter, tracks, progress)
        progress("Measuring …")
        outcomes = [_outcome(name, tracks[name], asked, judged) for name in names]
        main = str(asked[0])
        worst = worst_queries(
            judged.ids,
            judged.qrels,
            {o.name: o.run for o in outcomes},
            {o.name: o.values[main] for o in outcomes},
            baseline,
        )
        worst = with_texts(worst, query_texts(place), document_texts(place, opened))
    return Evaluation(
        place.name,
        [str(measure) for measure in asked],
        judged.ids,
        depth,
        baseline,
        test,
        outcomes,
        _comparisons(outcomes, baseline, test),
        worst,
        notes,
    )


@dataclass
class _Track:
    """What one system lists, query by query, and what that took."""

    run: Run = field(default_factory=dict)
    pairs: list[int] = field(default_factory=list)
    tokens: list[int] = field(default_factory=list)
    milliseconds: list[float] = field(default_factory=list)
    relevance: list[float] = field(default_factory=list)
    relevant: list[bool] = field(default_factory=list)


def _checked(names: Sequence[str], baseline: str | None, test: str, limit: int | None) -> str:
    """The name of the baseline."""
    if not names:
        raise UsageError("nothing to evaluate; name a system or a run file")
    for name in names:
        if names.count(name) > 1:
            raise UsageError(f"two systems are called {name!r}; name each once, a run file as NAME=FILE")
    if baseline is not None and baseline not in names:
        raise UsageError(f"the baseline {baseline!r} is not among the systems; choose one of {', '.join(names)}")
    if test not in get_args(Test):
        raise UsageError(f"the test {test!r} is not known; choose {' or '.join(get_args(Test))}")
    if limit is not None and limit < 1:
        raise UsageError(f"the limit is {limit}; it must be at least 1")
    return baseline or names[0]


def _run_notes(file: Path, run: Run, other: int, judged: Judged, limit: int | None) -> list[str]:
    if not run:
        raise UsageError(f"no query of {file} is among those that are evaluated: the ids match nothing")
    notes = []
    if missing := [i for i in judged.ids if i not in run]:
        notes.append(f"{named(missing)} not in {file}, counted as 0")
    if other and limit is None:
        notes.append(f"{file}: {other} queries that are not evaluated, left out")
    if not any(document_id in judged.qrels[i] for i, ranking in run.items() for document_id in ranking.ids):
        notes.append(f"{file}: none of its documents is judged; are the document ids the same?")
    return notes


def _search(
    searcher: Searcher,
    systems: Sequence[System],
    queries: Path,
    judged: Judged,
    depth: int,
    filter: str | None,
    tracks: Mapping[str, _Track],
    progress: Callable[[str], None],
) -> None:
    """Ask every system every query."""
    calls = {system.call: system for system in systems}
    for number, (query_id, text) in enumerate(wanted_queries(queries, set(judged.ids))):
        progress(f"Searching … query {number + 1} of {len(judged.ids)}")
        if number == 0:  # the first call of each compiles and loads what later ones find ready
            for system in calls.values():
                system.search(searcher, text, depth, filter)
        first = number % len(calls)  # in turns, so that none always finds warm what another one has read
        ordered = [*calls.items()][first:] + [*calls.items()][:first]
        results = {call: system.search(searcher, text, depth, filter) for call, system in ordered}
        for system in systems:
            track, result = tracks[system.name], results[system.call]
            if result.hits:
                track.run[query_id] = system.ranking(result, depth)
            track.pairs.append(sum(stage.items for stage in result.stages if stage.stage == "rerank"))
            track.tokens.append(sum(stage.tokens for stage in result.stages))
            track.milliseconds.append(result.milliseconds)
            if system.order == "final":
                sure = [(hit.relevance, hit.document_id) for hit in result.hits if hit.relevance is not None]
                track.relevance += [relevance for relevance, _ in sure]
                track.relevant += [judged.qrels[query_id].get(document_id, 0) > 0 for _, document_id in sure]


def _outcome(name: str, track: _Track, measures: Sequence[Any], judged: Judged) -> SystemOutcome:
    values = measured(measures, judged.ids, judged.qrels, track.run)
    by_name = {str(measure): row for measure, row in zip(measures, values, strict=True)}
    cost = [np.array(numbers, np.float64) for numbers in (track.pairs, track.tokens, track.milliseconds)]
    return SystemOutcome(
        name,
        by_name,
        {measure: _mean(row) for measure, row in by_name.items()},
        judged_share(judged.ids, judged.qrels, track.run),
        Cost(*cost) if track.milliseconds else None,
        calibration_error(track.relevance, track.relevant) if track.relevance else None,
        track.run,
    )


def _mean(values: Values) -> Mean:
    return Mean(float(values.mean()), *interval(values))


def _comparisons(outcomes: Sequence[SystemOutcome], baseline: str, test: Test) -> list[Comparison]:
    base = next(outcome for outcome in outcomes if outcome.name == baseline)
    others = [outcome for outcome in outcomes if outcome is not base]
    comparisons = []
    for measure in base.values:
        differences = [outcome.values[measure] - base.values[measure] for outcome in others]
        p_values = [p_value(difference, test) for difference in differences]
        for other, difference, p, p_holm in zip(others, differences, p_values, holm(p_values), strict=True):
            better, worse = int((difference > 0).sum()), int((difference < 0).sum())
            equal = len(difference) - better - worse
            comparisons.append(Comparison(other.name, measure, _mean(difference), better, equal, worse, p, p_holm))
    return comparisons

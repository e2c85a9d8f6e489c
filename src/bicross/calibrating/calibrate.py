"""Fit both stages to the corpus and the queries of an index."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from bicross.calibrating import first_stage as first
from bicross.calibrating.fitting import FOLDS, Worth, cross_validated, fit_two_stages, worth
from bicross.calibrating.judging import Way, name_of, read_query
from bicross.calibrating.pools import Pool, ReadQuery, pool
from bicross.calibrating.storing import store
from bicross.encoders import CrossEncoder
from bicross.errors import UsageError
from bicross.index import Index, Mode
from bicross.index.first_stage import FirstStage, shipped, write_fitted
from bicross.index.fitted import FILE as FITTED
from bicross.index.retrieval import DEPTH
from bicross.search import Searcher
from bicross.search.two_stages import TwoStages, before

#: Judged queries with a relevant document among their candidates, without which nothing is fitted.
LEAST_QUERIES = 40


@dataclass(frozen=True)
class Calibrated:
    """What was fitted.

    Attributes:
        first_stage: Fitted on all queries; None where what the index had is no worse, and stays.
        numbers: Of both stages together, likewise.
        queries: So many.
        pairs: Scored for it.
        first_before: nDCG@10 of the first stage alone until now, on these queries.
        first_after: The same with the first stage that the index has from now on.
        before: What searches gave until now.
        after: What fitted numbers give; each query is searched with numbers that were fitted without it.
    """

    first_stage: FirstStage | None
    numbers: TwoStages
    queries: int
    pairs: int
    first_before: float
    first_after: float
    before: Worth
    after: Worth


def calibrate(
    index: Index,
    cross_encoder: CrossEncoder,
    queries: Sequence[tuple[str, str]],
    qrels: Mapping[str, Mapping[str, int]],
    *,
    mode: Mode = "hybrid",
    advance: Callable[[int], None] = lambda queries: None,
) -> Calibrated:
    """Fit how meaning and words are joined, the final score, its relevance, and when to stop; nothing is written.

    Args:
        index: Open.
        cross_encoder: The one that will rerank.
        queries: Id and text of each judged query.
        qrels: Their judgements, grade by document.
        mode: ``hybrid`` or ``dense``: of the searches to fit. A dense search has nothing to join.
        advance: Called with the number of queries read since the last call.

    Raises:
        UsageError: There are too few queries, or none of the judged documents is stored.
    """
    if mode not in ("hybrid", "dense"):
        raise UsageError(f"mode {mode!r} cannot be fitted; choose hybrid or dense")
    if len(queries) < LEAST_QUERIES:
        raise UsageError(
            f"{len(queries)} judged queries are too few to fit anything; at least {LEAST_QUERIES} are needed"
        )
    _check_documents(index, qrels)
    now: Way = "dense" if mode == "dense" else index.first_stage or "rrf"
    # one more than the folds: fitted on all
    new = [now] * (FOLDS + 1) if mode == "dense" else _first_stages(index, queries, qrels)
    read: list[ReadQuery] = []
    for query_id, text in queries:
        read.append(read_query(index, cross_encoder, query_id, text, qrels[query_id], list(dict.fromkeys([now, *new]))))
        advance(1)
    until_now = _pools(read, now)
    usable = sum(bool((p.grades > 0).any()) for p in until_now)
    if usable < LEAST_QUERIES:
        raise UsageError(
            f"{usable} of {len(queries)} judged queries have a relevant document among their {DEPTH} candidates; "
            f"at least {LEAST_QUERIES} are needed: judge more queries"
        )
    folds = [_pools(read, way) for way in new[:FOLDS]]
    first_before = float(np.mean([p.ndcg(p.evidence) for p in until_now]))
    first_after = float(np.mean([(p := folds[i % FOLDS][i]).ndcg(p.evidence) for i in range(len(read))]))
    better = mode == "hybrid" and first_after > first_before
    stays = now if not better else new[FOLDS]
    return Calibrated(
        stays if better and isinstance(stays, FirstStage) else None,
        fit_two_stages(
            _pools(read, stays),
            before(index.manifest.fingerprint.encoder, name_of(stays)),
            cross_encoder.weights_sha256,
        ),
        len(read),
        sum(len(query.logits) for query in read),
        first_before,
        max(first_before, first_after) if mode == "hybrid" else first_before,
        worth(until_now, Searcher(index, cross_encoder).two_stages(mode), cross_encoder.calibration),
        cross_validated(folds if better else [until_now] * FOLDS),
    )


def keep(index: Index, fitted: Calibrated) -> None:
    """Write what was fitted into the index, where searches find it.

    Raises:
        CorpusError: The file that is there is damaged; it is left alone.
        StorageError: It cannot be written.
    """
    if fitted.first_stage:
        write_fitted(index.path, fitted.first_stage)
    store(index.path / FITTED, fitted.numbers)
    index.share_fitted()


def _pools(read: Sequence[ReadQuery], way: Way) -> list[Pool]:
    return [pool(query, name_of(way), DEPTH) for query in read]


def _first_stages(
    index: Index, queries: Sequence[tuple[str, str]], qrels: Mapping[str, Mapping[str, int]]
) -> list[Way]:
    """For each fold the numbers fitted without it, and then those fitted on all."""
    looked_up = [first.judged_query(index, text, qrels[query_id]) for query_id, text in queries]
    prior = shipped(index.manifest.fingerprint.encoder)
    ways: list[Way] = []
    for fold in range(FOLDS + 1):
        rows = [row for i, row in enumerate(looked_up) if row is not None and i % FOLDS != fold]
        ways.append(first.fit_first_stage([rows], prior) if prior else first.fit_first_stage([rows]))
    return ways


def _check_documents(index: Index, qrels: Mapping[str, Mapping[str, int]]) -> None:
    judged = dict.fromkeys(document for grades in qrels.values() for document, grade in grades.items() if grade > 0)
    if not any(index.catalogue.find(document) for document in judged):
        example = next(iter(judged), "none")
        raise UsageError(
            f"none of the {len(judged)} documents that are judged relevant ({example!r} …) is in {index.name}; "
            "the ids of the judgements must be those of the documents, see bicross search --json"
        )

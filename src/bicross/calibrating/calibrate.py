"""Fit both stages to the corpus and the queries of an index."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from bicross.calibrating.fitting import Worth, cross_validated, fit_two_stages, worth
from bicross.calibrating.judging import find, read
from bicross.calibrating.pools import Fuse, Pool, by_meaning, by_ranks, pool
from bicross.encoders import CrossEncoder
from bicross.errors import UsageError
from bicross.index import LocalIndex
from bicross.index.retrieval import DEPTH
from bicross.search import Searcher
from bicross.search.two_stages import FITTED, TwoStages, before

#: Judged queries with a relevant document among their candidates, without which nothing is fitted.
LEAST_QUERIES = 40

#: How the candidates of each mode are found, and what it is called in ``before``.
FIRST_STAGES: Mapping[str, tuple[Fuse, str]] = {"hybrid": (by_ranks, "rrf"), "dense": (by_meaning, "dense")}


@dataclass(frozen=True)
class Calibrated:
    """What was fitted.

    Attributes:
        numbers: Fitted on all queries.
        queries: So many.
        pairs: Scored for it.
        before: What searches gave until now, on these queries.
        after: What fitted numbers give, each query searched with numbers that were fitted without it.
    """

    numbers: TwoStages
    queries: int
    pairs: int
    before: Worth
    after: Worth


def calibrate(
    index: LocalIndex,
    cross_encoder: CrossEncoder,
    queries: Sequence[tuple[str, str]],
    qrels: Mapping[str, Mapping[str, int]],
    *,
    mode: str = "hybrid",
    advance: Callable[[int], None] = lambda queries: None,
) -> Calibrated:
    """Fit the weights of the final score, its relevance, and when to stop reading; nothing is written.

    Args:
        index: Open.
        cross_encoder: The one that will rerank.
        queries: Id and text of each judged query.
        qrels: Their judgements, grade by document.
        mode: ``hybrid`` or ``dense``.
        advance: Called with the number of queries read since the last call.

    Raises:
        UsageError: There are too few queries, or none of the judged documents is stored.
    """
    if mode not in FIRST_STAGES:
        raise UsageError(f"mode {mode!r} cannot be fitted; choose one of {', '.join(FIRST_STAGES)}")
    fuse, name = FIRST_STAGES[mode]
    if len(queries) < LEAST_QUERIES:
        raise UsageError(
            f"{len(queries)} judged queries are too few to fit anything; at least {LEAST_QUERIES} are needed"
        )
    _check_documents(index, qrels)
    pools: list[Pool] = []
    for query_id, text in queries:
        found = read(index, cross_encoder, find(index, query_id, text, qrels[query_id]), text, [fuse], DEPTH)
        if found.logits:
            pools.append(pool(found, fuse, DEPTH))
        advance(1)
    usable = sum((p.grades > 0).any() for p in pools)
    if usable < LEAST_QUERIES:
        raise UsageError(
            f"{usable} of {len(queries)} judged queries have a relevant document among their {DEPTH} candidates; "
            f"at least {LEAST_QUERIES} are needed: judge more queries"
        )
    stands_before = before(index.manifest.fingerprint.encoder, name)
    now = Searcher(index, cross_encoder).two_stages(mode)  # type: ignore[arg-type]
    return Calibrated(
        fit_two_stages(pools, stands_before, cross_encoder.weights_sha256),
        len(pools),
        sum(len(p.logits) for p in pools),
        worth(pools, now, cross_encoder.calibration),
        cross_validated(pools),
    )


def _check_documents(index: LocalIndex, qrels: Mapping[str, Mapping[str, int]]) -> None:
    judged = dict.fromkeys(document for grades in qrels.values() for document, grade in grades.items() if grade > 0)
    if not any(index.catalogue.find(document) for document in judged):
        example = next(iter(judged), "none")
        raise UsageError(
            f"none of the {len(judged)} documents that are judged relevant ({example!r} …) is in {index.path}; "
            "the ids of the judgements must be those of the documents, see bicross search --json"
        )


def fitted_file(index: LocalIndex) -> Path:
    """Where the numbers of an index lie."""
    return index.path / FITTED

"""Runs: what a system listed for each query. TREC files in and out."""

from __future__ import annotations

import math
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from sys import intern

import numpy as np
import numpy.typing as npt

from bicross.documents.document import short
from bicross.errors import DocumentError
from bicross.evaluation.lines import fields, numbered_lines


@dataclass(frozen=True)
class Ranking:
    """Documents of one query, best first, each once.

    Attributes:
        ids: Of the documents; where two scores are equal this order counts.
        scores: (n,) float32, falling strictly, so that every tool reads the same order.
    """

    ids: list[str]
    scores: npt.NDArray[np.float32]

    @staticmethod
    def of(ids: Iterable[str], scores: Iterable[float]) -> Ranking:
        """From documents in their order. A score not below the one before it is set one float32 step below it."""
        falling = np.array(list(scores), np.float32)
        for i in range(1, len(falling)):
            falling[i] = min(falling[i], np.nextafter(falling[i - 1], np.float32(-np.inf)))
        return Ranking([intern(document_id) for document_id in ids], falling)


#: The ranking of each query for which the system listed anything.
Run = dict[str, Ranking]


def read_run(path: Path, wanted: Collection[str], depth: int | None) -> tuple[Run, int]:
    """Read a run file: TREC's six columns (query, Q0, document, rank, score, tag), or query, document and rank.

    As in trec_eval the scores give the order, read as float32, and equal ones stand in falling order of document id;
    the column of ranks counts only where there are no scores. Memory grows with the wanted queries and the depth.

    Args:
        path: The file; ``.gz`` is unpacked.
        wanted: Queries to keep.
        depth: Documents to keep of each; None keeps all.

    Returns:
        The run, and how many queries the file has that are not wanted.

    Raises:
        UsageError: No such file.
        DocumentError: A line cannot be understood, or a document is listed twice for a query.
    """
    found: dict[str, list[tuple[float, str]]] = {}
    others: set[str] = set()
    for where, line in numbered_lines(path):
        row = fields(line)
        try:
            query_id, document_id, score = (
                (row[0], row[1], -int(row[2])) if len(row) == 3 else (row[0], row[2], np.float32(row[4]))
            )
            if len(row) not in (3, 6) or not math.isfinite(score):
                raise ValueError
        except (ValueError, IndexError):
            raise DocumentError(
                f"{where}: {short(line)}: a line holds query, Q0, document, rank, score and tag (TREC), "
                "or query, document and rank"
            ) from None
        if query_id not in wanted:
            others.add(query_id)
            continue
        listed = found.setdefault(query_id, [])
        listed.append((float(score), intern(document_id)))
        if depth and len(listed) > 4 * depth:
            listed.sort()
            del listed[:-depth]
    run = {}
    for query_id, listed in found.items():
        best = sorted(listed, reverse=True)[:depth]
        run[query_id] = Ranking.of((i for _, i in best), (s for s, _ in best))
        if len(set(run[query_id].ids)) < len(best):
            twice = next(i for n, i in enumerate(run[query_id].ids) if i in run[query_id].ids[:n])
            raise DocumentError(
                f"{path}: the document {short(twice)} is listed twice for the query {short(query_id)}; "
                "a run lists each document once"
            )
    return run, len(others)


def write_run(path: Path, run: Mapping[str, Ranking], tag: str) -> None:
    """Write a TREC run file, whole or not at all.

    Columns stand between tabs where an id holds a space, else between spaces. Reading it again gives the same run.

    Raises:
        DocumentError: An id holds a tab or the end of a line, which such a file cannot.
    """
    ids = {*run, *(i for ranking in run.values() for i in ranking.ids)}
    for name in ids:
        if {"\t", "\n", "\r"}.intersection(name):
            raise DocumentError(f"{path}: the id {short(name)} holds a tab or a new line; a run file cannot hold it")
    gap = "\t" if any(len(name.split()) != 1 for name in ids) else " "
    tag = "_".join(tag.split())
    new = path.with_name(f"{path.name}.new")
    with new.open("w", encoding="utf-8") as file:
        for query_id, ranking in run.items():
            for rank, (document_id, score) in enumerate(zip(ranking.ids, ranking.scores, strict=True), start=1):
                file.write(gap.join([query_id, "Q0", document_id, str(rank), str(score), tag]) + "\n")
    new.replace(path)

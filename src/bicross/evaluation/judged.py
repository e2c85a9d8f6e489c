"""Queries and their judgements (qrels): read from files, and brought together."""

from __future__ import annotations

import csv
from collections.abc import Collection, Iterator
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path

from bicross.documents import read_documents
from bicross.documents.document import short
from bicross.errors import DocumentError, UsageError
from bicross.evaluation.lines import fields, numbered_lines

#: Grade of each judged document of each judged query.
Qrels = dict[str, dict[str, int]]

HEADER = "query-id\tcorpus-id\tscore"


@dataclass(frozen=True)
class Judged:
    """The queries to measure.

    Attributes:
        ids: Of the queries, in the order of their file.
        qrels: The grades of these queries' documents.
        notes: What a reader should know about what was left out, a line each.
    """

    ids: list[str]
    qrels: Qrels
    notes: list[str] = field(default_factory=list)


def read_qrels(path: Path) -> tuple[Qrels, list[str]]:
    """Read judgements: BEIR's three columns (query, document, grade) or TREC's four (query, 0, document, grade).

    Returns:
        The grades, and notes: BEIR's header is missing, or pairs were judged twice.

    Raises:
        UsageError: No such file.
        DocumentError: A line cannot be understood; the message names it.
    """
    qrels: Qrels = {}
    notes = []
    columns = twice = 0
    for number, (where, line) in enumerate(numbered_lines(path)):
        row = fields(line)
        if len(row) not in (3, 4) or (columns and len(row) != columns):
            raise DocumentError(
                f"{where}: {len(row)} columns{f', not {columns}' if columns else ''}; a line holds query, document and "
                "grade between tabs (BEIR), or query, 0, document and grade (TREC)"
            )
        columns = len(row)
        grade = _grade(row[-1])
        if number == 0 and columns == 3:
            if grade is None:
                continue  # the header
            notes.append(
                f"{path}: no header ({HEADER.replace(chr(9), ', ')}); its first line was read as a judgement of query "
                f"{short(row[0])}"
            )
        if grade is None or not row[0] or not row[-2]:
            raise DocumentError(f"{where}: {short(line)}: the ids must not be empty and the grade is a whole number")
        grades = qrels.setdefault(row[0], {})
        twice += grades.get(row[-2], grade) != grade
        grades[row[-2]] = grade
    if not qrels:
        raise DocumentError(f"{path}: there is a header and no judgement")
    if twice:
        notes.append(f"{path}: {twice} judgements come again with another grade; the last one counts")
    return qrels, notes


def _grade(text: str) -> int | None:
    try:
        grade = float(text)
        return int(grade) if grade == int(grade) else None
    except (ValueError, OverflowError):
        return None


def read_queries(path: Path) -> Iterator[tuple[str, str]]:
    """Id and text of each query, one at a time: JSON lines (``_id``, ``text``), or id, tab, text (``.tsv``).

    Raises:
        UsageError: No such file.
        DocumentError: A line cannot be understood; the message names it.
    """
    if not path.is_file():
        raise UsageError(f"{path}: no such file")
    if not {".tsv", ".txt"}.intersection(path.suffixes):
        for document in read_documents([path]):
            yield document.id, document.text
        return
    for number, (where, line) in enumerate(numbered_lines(path)):
        row = next(csv.reader([line], delimiter="\t", quoting=csv.QUOTE_NONE))
        if number == 0 and [name.lower() for name in row[:2]] in (["_id", "text"], ["id", "text"], ["qid", "query"]):
            continue
        if len(row) < 2 or not row[0].strip():
            raise DocumentError(f"{where}: {short(line)}: a line holds the id of a query, a tab and its text")
        yield row[0].strip(), row[1]


def judged_queries(queries: Path | None, qrels: Path, limit: int | None) -> Judged:
    """The queries that have both a text and judgements; without a file of queries those that are judged.

    Raises:
        UsageError, DocumentError: See ``read_qrels`` and ``read_queries``; nothing is judged, or an id came twice.
    """
    grades, notes = read_qrels(qrels)
    if queries is None:
        first = list(grades)[:limit]
        return Judged(first, {i: grades[i] for i in first}, notes)
    ids: list[str] = []
    empty: list[str] = []
    seen: set[str] = set()
    example = ""
    for query_id, text in read_queries(queries):
        example = example or query_id
        if query_id not in grades:
            continue
        if query_id in seen:
            raise DocumentError(f"{queries}: the query {short(query_id)} is there twice; give each its own id")
        seen.add(query_id)
        (ids if text.strip() else empty).append(query_id)
    if not seen:
        raise UsageError(
            f"no query of {queries} is judged in {qrels}: the ids match nothing "
            f"(queries: {short(example)} …; qrels: {short(next(iter(grades)))} …)"
        )
    if empty:
        notes.append(f"{queries}: {named(empty)} without text, left out")
    if not ids:
        raise UsageError(f"{queries}: every judged query is empty; give them texts")
    if missing := [i for i in grades if i not in seen]:
        notes.append(f"{named(missing)} judged in {qrels} but not in {queries}, left out")
    ids = ids[:limit]
    if hopeless := [i for i in ids if max(grades[i].values()) <= 0]:
        notes.append(f"{named(hopeless)} with no relevant document: every system gets 0 there")
    return Judged(ids, {i: grades[i] for i in ids}, notes)


def named(ids: Collection[str], one: str = "query", many: str = "queries") -> str:
    """How many there are, and the first of them: ``7 queries ('3', '8' …)``."""
    examples = ", ".join(short(i) for i in islice(ids, 5)) + (" …" if len(ids) > 5 else "")
    return f"{len(ids)} {one if len(ids) == 1 else many} ({examples})"

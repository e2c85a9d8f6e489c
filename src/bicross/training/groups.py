"""What a cross-encoder learns from: queries, each with documents and their relevance, or what a teacher says of them.

A teacher's scores stand beside the judgements, not in their place: either may be missing.
"""

from __future__ import annotations

import csv
import json
import math
import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from bicross.documents import read_documents
from bicross.documents.document import short
from bicross.errors import DocumentError, UsageError
from bicross.evaluation.collection import find_collection
from bicross.evaluation.judged import judged_queries, read_queries
from bicross.evaluation.lines import numbered_lines
from bicross.training.dev import split_by_query


@dataclass(frozen=True)
class Group:
    """A query and documents to tell apart.

    Attributes:
        labels: Of each document: 0 is not relevant, and the more the better; None where nobody judged.
        scores: Of each document, by a teacher; None without one.
    """

    query: str
    documents: tuple[str, ...]
    labels: tuple[float, ...] | None = None
    scores: tuple[float, ...] | None = None

    @property
    def tells_apart(self) -> bool:
        return any(values is not None and len(set(values)) > 1 for values in (self.labels, self.scores))


#: One document of one query: where it was read, query, document, label, score.
_Row = tuple[str, str, str, float | None, float | None]


def read_groups(path: Path, split: str = "train", *, taught: bool = False) -> list[Group]:
    """The groups of a file or of a BEIR folder, one for each query.

    Args:
        path: ``.jsonl`` with query, document and label or score; or with query, positive and negatives, as ``bicross
            mine`` writes it; or with query, documents and labels or scores. ``.tsv`` or ``.csv`` with query, document
            and label. Or a folder in the layout of BEIR, of which the judgements must say what is not relevant too.
        split: Of the folder: ``qrels/SPLIT.tsv``.
        taught: A teacher will score them: neither label nor score is needed, and labels may be alike.

    Raises:
        UsageError: There is no such file, it is of another kind, or all labels are alike.
        DocumentError: A side is empty, a label is out of range, a document is there twice and judged in two ways, or a
            line cannot be understood; the message names it.
    """
    if path.is_dir():
        rows = _of_folder(path, split)
    elif ".jsonl" in path.suffixes:
        rows = _of_records(path, taught)
    elif {".tsv", ".csv"}.intersection(path.suffixes):
        rows = _of_table(path)
    else:
        raise UsageError(f"{path}: judged pairs are read from .jsonl, .tsv or .csv, or from a BEIR folder")
    groups = _grouped(rows)
    if not groups:
        raise DocumentError(f"{path}: no judged pair in it")
    labels = {label for group in groups for label in group.labels or ()}
    scored = taught or any(group.scores for group in groups)
    if labels and not scored and (min(labels) > 0 or max(labels) == 0):
        raise UsageError(
            f"{path}: all labels say {'relevant' if min(labels) > 0 else 'not relevant'}; a cross-encoder learns from "
            "the difference: find texts that are near and do not answer with bicross mine"
        )
    return groups


def split_groups(groups: Sequence[Group], share: float, most: int, seed: int) -> tuple[list[Group], list[Group]]:
    """Keep a share of the queries out of training, at most so many.

    Raises:
        UsageError: There is only one query.
    """
    return split_by_query(groups, share, most, seed, "pairs", "dev file")


def in_pieces(groups: Sequence[Group], most: int, seed: int) -> list[Group]:
    """Groups of at most ``most`` documents: of a longer one the relevant ones, and some of the others, in each piece.

    Pieces share the relevant documents, at most half of a piece, and divide the others among them.
    """
    rng = random.Random(seed)
    pieces = []
    for group in groups:
        places = list(range(len(group.documents)))
        if len(places) <= most:
            pieces.append(group)
            continue
        relevant = [i for i in places if group.labels and group.labels[i] > 0]
        others = [i for i in places if i not in set(relevant)]
        rng.shuffle(others)
        size = most - min(len(relevant), max(1, most // 2)) if relevant else most
        for start in range(0, len(others), size):
            part = others[start : start + size]
            pieces.append(_picked(group, rng.sample(relevant, min(len(relevant), most - len(part))) + part))
        if not others:
            pieces.append(_picked(group, rng.sample(relevant, most)))
    return [piece for piece in pieces if piece.tells_apart]


def _picked(group: Group, places: Sequence[int]) -> Group:
    def pick(values: tuple[Any, ...] | None) -> Any:
        return values and tuple(values[place] for place in places)

    return replace(group, documents=pick(group.documents), labels=pick(group.labels), scores=pick(group.scores))


def _grouped(rows: Iterator[_Row]) -> list[Group]:
    found: dict[str, dict[str, tuple[float | None, float | None]]] = {}
    for where, query, document, label, score in rows:
        for name, text in (("query", query), ("document", document)):
            if not text.strip():
                raise DocumentError(f"{where}: the {name} is empty")
        for name, value in (("label", label), ("score", score)):
            if value is not None and not math.isfinite(value):
                raise DocumentError(f"{where}: the {name} is no number")
        if label is not None and label < 0:
            raise DocumentError(
                f"{where}: the label is {label:g}; it must be 0 (not relevant) or more; what a teacher says is a score"
            )
        documents = found.setdefault(query, {})
        if document in documents and documents[document][0] != label:
            raise DocumentError(f"{where}: {short(document)} is judged twice for {short(query)}, in two ways")
        documents[document] = label, score
    groups = []
    for query, documents in found.items():
        labels, scores = zip(*documents.values(), strict=True)
        groups.append(
            Group(
                query,
                tuple(documents),
                None if None in labels else labels,
                None if None in scores else scores,
            )
        )
    return groups


def _of_records(path: Path, taught: bool) -> Iterator[_Row]:
    for where, line in numbered_lines(path):
        try:
            record = json.loads(line)
        except ValueError as error:
            raise DocumentError(f"{where}: not JSON ({error})") from None
        if not isinstance(record, dict) or not isinstance(record.get("query"), str):
            raise DocumentError(f"{where}: not an object with a query, which is a text")
        documents: Any
        labels: Any
        scores: Any
        if "positive" in record:
            negatives = record.get("negatives") or []
            documents = [record["positive"], *negatives]
            labels, scores = [1, *(0 for _ in negatives)], None
        elif "documents" in record:
            documents, labels, scores = record["documents"], record.get("labels"), record.get("scores")
        else:
            documents = [record.get("document")]
            labels, scores = ([record[name]] if name in record else None for name in ("label", "score"))
        if not isinstance(documents, list) or not all(isinstance(document, str) for document in documents):
            raise DocumentError(
                f"{where}: no document, or one that is no text; there is {', '.join(map(repr, record))}"
            )
        if labels is None and scores is None and not taught:
            raise DocumentError(f"{where}: neither a label nor a score; there is {', '.join(map(repr, record))}")
        columns = [_numbers(values, len(documents), where) for values in (labels, scores)]
        for number, document in enumerate(documents):
            label, score = (values[number] if values else None for values in columns)
            yield where, record["query"], document, label, score


def _numbers(values: Any, count: int, where: str) -> list[float] | None:
    if values is None:
        return None
    if not isinstance(values, list) or len(values) != count:
        raise DocumentError(f"{where}: there are {count} documents, and not as many labels or scores")
    return [_number(value, where) for value in values]


def _number(value: Any, where: str) -> float:
    try:
        return float(value)
    except (TypeError, ValueError):
        raise DocumentError(f"{where}: the label {short(str(value))} is no number") from None


def _of_table(path: Path) -> Iterator[_Row]:
    tabs = ".tsv" in path.suffixes
    for number, (where, line) in enumerate(numbered_lines(path)):
        row = next(csv.reader([line], delimiter="\t", quoting=csv.QUOTE_NONE) if tabs else csv.reader([line]))
        if number == 0 and [name.strip().lower() for name in row[:2]] in (["query", "document"], ["query", "text"]):
            continue
        if len(row) != 3:
            raise DocumentError(f"{where}: {short(line)}: a row holds a query, a document and a label")
        yield where, row[0], row[1], _number(row[2], where), None


def _of_folder(folder: Path, split: str) -> Iterator[_Row]:
    collection = find_collection(folder, split, None, None, None)
    assert collection.queries is not None and collection.corpus is not None
    judged = judged_queries(collection.queries, collection.qrels, None)
    texts = {query_id: text for query_id, text in read_queries(collection.queries) if query_id in judged.qrels}
    wanted: dict[str, list[tuple[str, int]]] = {}
    for query_id, grades in judged.qrels.items():
        for document_id, grade in grades.items():
            wanted.setdefault(document_id, []).append((query_id, grade))
    for document in read_documents([collection.corpus]):
        text = f"{document.title}\n{document.text}".strip()
        if text:
            for query_id, grade in wanted.get(document.id, []):
                yield f"{collection.qrels}: {query_id}", texts[query_id], text, float(max(grade, 0)), None

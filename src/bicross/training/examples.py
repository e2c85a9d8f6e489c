"""What a bi-encoder learns from: queries, each with a text that answers it, and perhaps some that do not."""

from __future__ import annotations

import csv
import json
from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Protocol, TypeVar

from bicross.documents import read_documents
from bicross.documents.document import short
from bicross.errors import DocumentError, UsageError
from bicross.evaluation.collection import find_collection
from bicross.evaluation.judged import judged_queries, read_queries
from bicross.evaluation.lines import numbered_lines

#: What the fields are called, the first that is there counts.
QUERY, POSITIVE, NEGATIVES = (
    ("query", "anchor", "question"),
    ("positive", "answer", "document"),
    ("negatives", "negative"),
)


@dataclass(frozen=True)
class Example:
    """A query, a text that answers it, and texts that do not."""

    query: str
    positive: str
    negatives: tuple[str, ...] = ()


def read_examples(path: Path, split: str = "train") -> list[Example]:
    """The examples of a file, or of a BEIR folder, without those that are there twice.

    Args:
        path: ``.jsonl`` with query, positive and perhaps negatives (as ``bicross mine`` writes them; ``anchor`` and
            ``negative`` are understood too), ``.tsv`` or ``.csv`` with query, positive and any number of negatives, or
            a folder in the layout of BEIR: an example for each relevant document of a query.
        split: Of the folder: ``qrels/SPLIT.tsv``.

    Raises:
        UsageError: There is no such file, it is of another kind, or the folder lacks something.
        DocumentError: A side is empty, a positive is among its negatives, or a line cannot be understood; the message
            names it.
    """
    if path.is_dir():
        found: Iterable[Example] = _of_folder(path, split)
    else:
        kinds = {".jsonl": _of_records, ".tsv": _of_rows, ".csv": _of_rows}
        read = next((kinds[suffix] for suffix in path.suffixes if suffix in kinds), None)
        if read is None:
            raise UsageError(f"{path}: examples are read from .jsonl, .tsv or .csv, or from a BEIR folder")
        found = (_checked(example, where) for where, example in read(path))
    unique = list(dict.fromkeys(found))
    if not unique:
        raise DocumentError(f"{path}: no example in it")
    return unique


class Asks(Protocol):
    """Has a query, like an example or a group."""

    @property
    def query(self) -> str: ...


T = TypeVar("T", bound=Asks)


def without_overlap(train: Sequence[T], held_out: Iterable[str], dev: str, *, allowed: bool) -> list[T]:
    """Those whose queries are not among the ones that are held out.

    Args:
        train: Examples or groups to learn from.
        held_out: Queries of the dev split.
        dev: What it is called in the message.
        allowed: Leave the shared ones out of ``train`` in place of an error.

    Raises:
        UsageError: A query is in both and that is not allowed, or nothing is left.
    """
    known = {plain(query) for query in held_out}
    shared = [each for each in train if plain(each.query) in known]
    if shared and not allowed:
        raise UsageError(
            f"{len(shared)} of {len(train)} have a query of {dev} ({short(shared[0].query)} …): what is measured would "
            "have been learnt; give other queries, or leave them out of training with --drop-overlap"
        )
    left = [each for each in train if plain(each.query) not in known]
    if not left:
        raise UsageError(f"all have queries of {dev}; nothing is left to learn from")
    return left


def same_negatives(examples: Sequence[Example], most: int) -> list[Example]:
    """All with the same number of negatives, ``most`` or as many as any has: where there are fewer, they come again.

    What answers the query of an example elsewhere is none of its negatives. Examples without a negative get those of
    others: to them it is a text like any other in the batch; where no other has one that will do, they are left out.
    """
    answers: dict[str, set[str]] = {}
    for example in examples:
        answers.setdefault(example.query, set()).add(example.positive)
    own = [tuple(text for text in e.negatives if text not in answers[e.query]) for e in examples]
    count = min(most, max(map(len, own), default=0))
    if not count:
        return [replace(example, negatives=()) for example in examples]
    spare = deque(negatives for negatives in own if negatives)
    filled = []
    for example, negatives in zip(examples, own, strict=True):
        for _ in range(len(spare)):
            if negatives:
                break
            spare.rotate(-1)
            negatives = tuple(text for text in spare[0] if text not in answers[example.query])
        if negatives:
            filled.append(replace(example, negatives=tuple(negatives[i % len(negatives)] for i in range(count))))
    return filled


def _of_folder(folder: Path, split: str) -> Iterator[Example]:
    collection = find_collection(folder, split, None, None, None)
    assert collection.queries is not None and collection.corpus is not None
    judged = judged_queries(Path(collection.queries), Path(collection.qrels), None)
    texts = {query_id: text for query_id, text in read_queries(Path(collection.queries)) if query_id in judged.qrels}
    wanted: dict[str, list[str]] = {}
    for query_id, grades in judged.qrels.items():
        for document_id, grade in grades.items():
            if grade > 0:
                wanted.setdefault(document_id, []).append(query_id)
    for document in read_documents([collection.corpus]):
        for query_id in wanted.get(document.id, []):
            text = f"{document.title}\n{document.text}".strip()
            if text:  # published collections hold a few empty documents, which are no mistake of the user's
                yield Example(texts[query_id], text)


def _of_records(path: Path) -> Iterator[tuple[str, Example]]:
    for where, line in numbered_lines(path):
        try:
            record = json.loads(line)
        except ValueError as error:
            raise DocumentError(f"{where}: not JSON ({error})") from None
        if not isinstance(record, dict):
            raise DocumentError(f"{where}: not an object with query and positive")
        negatives = _field(record, NEGATIVES, where, [])
        listed = negatives if isinstance(negatives, list) else [negatives]
        sides = [_field(record, QUERY, where), _field(record, POSITIVE, where), *listed]
        if not all(isinstance(side, str) for side in sides):
            raise DocumentError(f"{where}: query, positive and negatives must be texts")
        yield where, Example(sides[0], sides[1], tuple(sides[2:]))


def _of_rows(path: Path) -> Iterator[tuple[str, Example]]:
    tabs = ".tsv" in path.suffixes
    names = {*QUERY, *POSITIVE, *NEGATIVES}
    for number, (where, line) in enumerate(numbered_lines(path)):
        # one line a row: a quoted field that goes on in the next line is not read
        row = next(csv.reader([line], delimiter="\t", quoting=csv.QUOTE_NONE) if tabs else csv.reader([line]))
        if number == 0 and {name.strip().lower() for name in row[:2]} <= names:
            continue
        if len(row) < 2:
            raise DocumentError(f"{where}: {short(line)}: a row holds a query and a positive, then negatives")
        yield where, Example(row[0], row[1], tuple(cell for cell in row[2:] if cell.strip()))


def _field(record: dict[str, Any], names: Sequence[str], where: str, default: Any = None) -> Any:
    for name in names:
        if record.get(name) is not None:
            return record[name]
    if default is None:
        raise DocumentError(f"{where}: no field {names[0]!r}; there is {', '.join(map(repr, record)) or 'nothing'}")
    return default


def _checked(example: Example, where: str) -> Example:
    for name, text in (("query", example.query), ("positive", example.positive)):
        if not text.strip():
            raise DocumentError(f"{where}: the {name} is empty")
    if any(not negative.strip() for negative in example.negatives):
        raise DocumentError(f"{where}: a negative is empty")
    if plain(example.positive) in map(plain, example.negatives):
        raise DocumentError(f"{where}: the positive is among its own negatives: {short(example.positive)}")
    return example


def plain(text: str) -> str:
    """What two texts have in common that differ in case and spaces only."""
    return " ".join(text.casefold().split())

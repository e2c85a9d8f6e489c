"""The distinct texts of a corpus, and whose they are."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from bicross.documents import Document
from bicross.documents.document import short
from bicross.errors import DocumentError, UsageError


@dataclass(frozen=True)
class Corpus:
    """Texts without their copies, in an order that does not depend on the order in which they came.

    Attributes:
        texts: Distinct, sorted.
        ids: For each of them the ids of the documents that have it, sorted.
        empty: Ids of documents without text, sorted.
    """

    texts: tuple[str, ...]
    ids: tuple[tuple[str, ...], ...]
    empty: tuple[str, ...]


def corpus_of(texts: Iterable[str] | Iterable[Document]) -> Corpus:
    """The corpus of strings, whose ids are their positions, or of documents.

    A document that comes twice, with the same id and the same text, is one.

    Raises:
        UsageError: What was given is neither, or fewer than two texts.
        DocumentError: Two documents have the same id and different texts.
    """
    if isinstance(texts, str) or not isinstance(texts, Iterable):
        raise UsageError(f"texts is one {type(texts).__name__}; give a list of strings or documents")
    owners: dict[str, str] = {}
    for position, item in enumerate(texts):
        name, text = _named(item, position)
        if owners.setdefault(name, text) != text:
            raise DocumentError(f"document {short(name)} comes twice, with different texts; give each an id of its own")
    ids: dict[str, list[str]] = {}
    for name in sorted(owners):
        ids.setdefault(owners[name], []).append(name)
    empty = ids.pop("", [])
    if sum(map(len, ids.values())) < 2:
        left_out = f" besides {len(empty)} without text" if empty else ""
        raise UsageError(f"{'one text' if ids else 'no text'}{left_out}; comparing takes two or more")
    distinct = sorted(ids)
    return Corpus(tuple(distinct), tuple(tuple(ids[text]) for text in distinct), tuple(empty))


def lines_of(file: str, documents: list[Document]) -> list[Document]:
    """What was read from a file; plain text, and standard input that is no JSON, as a document a line.

    The id of a line is its number, from 1. Blank lines are passed over.
    """
    plain = file.lower().removesuffix(".gz").endswith(".txt") or (
        file == "-" and [d.id for d in documents] == ["stdin"]
    )
    if not plain or len(documents) != 1:
        return documents
    lines = documents[0].text.split("\n")
    return [Document(str(number), line.strip()) for number, line in enumerate(lines, start=1) if line.strip()]


def _named(item: object, position: int) -> tuple[str, str]:
    """The id and the text without white space around it."""
    if isinstance(item, Document):
        return item.id, f"{item.title}\n{item.text}".strip()
    if isinstance(item, str):
        return str(position), item.strip()
    raise UsageError(f"texts[{position}] is {type(item).__name__}; give strings or documents")

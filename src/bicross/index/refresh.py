"""Bring an index up to date with files: what is new or changed is embedded, what is gone can be removed."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from bicross.documents import Document, Failure, Fields, read_documents
from bicross.documents.document import short
from bicross.documents.files import printable
from bicross.errors import DocumentError, UsageError
from bicross.index.adding import AddReport
from bicross.index.index import BATCH_DELETED, Index
from bicross.index.seen import Seen

#: Failures that a report names; more are counted.
MOST_NAMED = 1000


@dataclass(frozen=True)
class RefreshReport:
    """What one run over files did.

    Attributes:
        added: New, changed and unchanged documents, and what was embedded.
        removed: Documents that were gone from the files and, with ``prune``, are now from the index.
        failures: Files and lines that could not be read; the first thousand.
        failed: How many there were.
        stopped: Whether it was stopped before the end; the same call again does the rest.
    """

    added: AddReport
    removed: int
    failures: tuple[Failure, ...]
    failed: int
    stopped: bool


class Failures:
    """What a run could not read.

    Args:
        strict: Raise the first one.

    Attributes:
        named: The first thousand.
        number: How many there were.
        sources: Their files.
    """

    def __init__(self, strict: bool) -> None:
        self._strict = strict
        self.named: list[Failure] = []
        self.number = 0
        self.sources: set[str] = set()

    def note(self, failure: Failure) -> None:
        """Raises: DocumentError: In a strict run."""
        if self._strict:
            raise DocumentError(f"{failure.where}: {failure.reason}")
        self.number += 1
        self.sources.add(failure.source)
        if len(self.named) < MOST_NAMED:
            self.named.append(failure)


def refresh(
    index: Index,
    paths: Sequence[str | Path],
    *,
    fields: Fields | None = None,
    ignore: Sequence[str] = (),
    prune: bool = False,
    strict: bool = False,
    committed: Callable[[int], None] = lambda documents: None,
    stop: Callable[[], bool] = lambda: False,
    building: Callable[[int], None] = lambda chunks: None,
) -> RefreshReport:
    """Read files and folders into an index, see ``read_documents`` and ``Index.add``.

    Args:
        index: An open index.
        paths: Files, folders, globs, or ``-`` for standard input.
        fields: See ``read_documents``.
        ignore: See ``read_documents``.
        prune: Remove the documents that came from below these paths in an earlier run and are not there any more. Files
            that cannot be read now lose nothing.
        strict: Stop at the first file or line that cannot be read.
        committed: Called after each batch with the number of documents that are safe since the last call.
        stop: Asked before each document; once it says True, the batch is finished and nothing further is read.
        building: See ``Index.optimise``, with which a run ends that was not stopped.

    Raises:
        UsageError: A path does not exist, nothing can be read there, or ``prune`` with standard input.
        DocumentError: With ``strict``, the first failure.
    """
    if prune and "-" in map(str, paths):
        raise UsageError("prune compares with files; it cannot be used with standard input (-)")
    failures = Failures(strict)
    stopped = False

    def documents() -> Iterator[Document]:
        nonlocal stopped
        for document in index.catalogue.ahead(found):
            if stop():
                stopped = True
                return
            before = seen.note(document.id, document.source)
            if before is not None:
                problem: str | None = used_before(document.id, before, document.source)
            else:
                problem = clash(index, document)
            if problem is None:
                yield document
            else:
                failures.note(Failure(printable(document.source or "-"), problem, document.source))

    found = read_documents(paths, fields=fields or Fields(), ignore=ignore, failed=failures.note)
    seen = Seen()
    added = index.add(documents(), committed=committed, optimise=False)
    removed = prune_unseen(index, seen, paths, failures.sources) if prune and not stopped else 0
    if not stopped:
        index.optimise(building=building)
    return RefreshReport(added, removed, tuple(failures.named), failures.number, stopped)


def used_before(document_id: str, before: str, source: str) -> str:
    """What is wrong with an id that was met before in the same run, in the file ``before``."""
    where = "this file" if before == source else printable(before)
    return f"the id {short(document_id)} was already used in {where}; ids must be unique"


def clash(index: Index, document: Document) -> str | None:
    """Of which other file the id of a document is in the index already; None where it is free."""
    entry = index.catalogue.find(document.id)
    if entry and entry.source not in ("", document.source) and Path(entry.source).exists():
        return (
            f"the id {short(document.id)} is that of {printable(entry.source)} in this index; "
            "index both from a folder above them, so that their ids differ"
        )
    return None


def prune_unseen(index: Index, seen: Seen, paths: Sequence[str | Path], spared: set[str]) -> int:
    """Remove the documents that came from below these paths and were not seen; not those of files that are spared.

    Returns:
        How many there were.
    """
    within = [Path(os.path.abspath(_fixed(str(path)))) for path in paths]  # noqa: PTH100 - links stay as they are
    removed = 0
    batch: list[str] = []
    for entry in index.catalogue.entries():
        gone = entry.source and any(Path(entry.source).is_relative_to(place) for place in within)
        if (
            not gone
            or entry.id in seen
            or any(str(place) in spared for place in (entry.source, *Path(entry.source).parents))
        ):
            continue
        batch.append(entry.id)
        if len(batch) == BATCH_DELETED:
            index.delete(batch)
            removed += len(batch)
            batch = []
    index.delete(batch)
    return removed + len(batch)


def _fixed(path: str) -> str:
    """The part of a glob before its first wildcard, up to a folder; a path that exists is itself."""
    if Path(path).exists():
        return path
    parts = Path(path).parts
    plain = [i for i, part in enumerate(parts) if any(c in part for c in "*?[")]
    return str(Path(*parts[: plain[0]])) if plain else path

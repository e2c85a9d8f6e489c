"""The catalogue on a cluster: which documents are stored, and which are being stored, in a collection without vectors.

As in a folder it is also the journal: what is about to change is written down first (`intend`), then the engine is
changed, then the documents are entered (`enter`), and at last the notes are thrown away (`settle`). Searches go by the
entries, so that a document changes from its old content to its new one in a moment, and one that is half stored is not
found.
"""

from __future__ import annotations

import sqlite3
import uuid
from collections import OrderedDict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, replace
from itertools import islice
from typing import Any

from qdrant_client import QdrantClient, models

from bicross.index.catalogue import Entry
from bicross.index.cluster.connection import Connection
from bicross.index.records import D

_NAMESPACE = uuid.UUID("0c1f8a1e-7f0a-5d0c-9a52-40a4c7f5c3a1")
_PAGE = 1000

#: Entries that are remembered, those used last: while it is written, a document is looked up more than once.
_REMEMBERED = 20_000

#: Documents that are looked up at once.
_AHEAD = 100

_FIELDS = "fields"


class ClusterCatalogue:
    """As ``catalogue.Catalogue``, for the one process that writes; others read entries through ``current``.

    Raises (every method):
        ClusterError: The cluster does not answer, or failed.
    """

    def __init__(self, connection: Connection) -> None:
        self.connection = connection
        self.name = connection.address.documents
        self._remembers = False
        self._read: list[str] = []
        self._known: OrderedDict[str, Entry | None] = OrderedDict()

    def close(self) -> None:
        """Nothing is open."""

    # -- documents -----------------------------------------------------------------------------------------------

    def find(self, document_id: str) -> Entry | None:
        """The entry of a document, if it is stored."""
        if self._remembers and document_id in self._known:
            return self._known[document_id]
        entry = self.current([document_id]).get(document_id)
        if self._remembers:
            self._remember(document_id, entry)
        return entry

    def remember(self, entries: bool) -> None:
        """Whether entries that were looked up may be remembered: while nobody else writes."""
        self._remembers = entries
        self._known.clear()

    def ahead(self, documents: Iterable[D]) -> Iterator[D]:
        """The same documents, many looked up at once: ``find`` answers by itself then."""
        source = iter(documents)
        failed: Exception | None = None
        whole = True
        while whole and failed is None:
            block: list[D] = []
            try:
                for document in islice(source, _AHEAD):
                    block.append(document)  # what came before a failure is in the block
            except Exception as error:
                failed = error
            whole = len(block) == _AHEAD
            if self._remembers:
                wanted = [document.id for document in block if document.id not in self._known]
                found = self.current(wanted)
                for document_id in wanted:
                    self._remember(document_id, found.get(document_id))
            yield from block
        if failed is not None:
            raise failed

    def current(self, document_ids: Iterable[str]) -> dict[str, Entry]:
        """The entries of now of those that are stored."""
        ids: list[Any] = [_point("document", document_id) for document_id in document_ids]
        found = [self._retrieve(ids[start : start + _PAGE]) for start in range(0, len(ids), _PAGE)]
        return {entry.id: entry for page in found for entry in map(_entry, page)}

    def entries(self) -> Iterator[Entry]:
        """All entries in order of id."""
        with sqlite3.connect("") as sorting:  # the server has no order of texts; this one sorts on disk
            sorting.execute("CREATE TABLE entries (id TEXT PRIMARY KEY, hash, chunks, digest, source) WITHOUT ROWID")
            rows = ((e.id, e.content_hash, e.chunks, e.digest, e.source) for e in self.every())
            sorting.executemany("INSERT OR REPLACE INTO entries VALUES (?, ?, ?, ?, ?)", rows)
            for row in sorting.execute("SELECT id, hash, chunks, digest, source FROM entries ORDER BY id"):
                yield Entry(*row)

    def every(self) -> Iterator[Entry]:
        """All entries, in no order."""
        return map(_entry, self._scroll("document"))

    def count(self) -> tuple[int, int]:
        """Documents; and chunks, which the engine counts, so 0 here."""
        only = _of_kind("document")
        counted = self.connection.call(lambda client: client.count(self.name, count_filter=only, exact=True))
        return int(counted.count), 0

    # -- the journal ---------------------------------------------------------------------------------------------

    def intend(self, entries: Sequence[Entry]) -> None:
        """Write down what is about to be stored (``chunks`` > 0) or deleted (0)."""
        self._note("pending", entries)

    def pending(self) -> list[tuple[Entry, str, int]]:
        """What was written down and not settled, each with content hash and chunks of what was stored before."""
        found = [_noted(payload) for payload in self._scroll("pending")]
        self._read = [entry.id for entry, _, _ in found]
        return found

    def begin(self, entries: Sequence[Entry]) -> list[tuple[Entry, str, int]]:
        """As ``intend``, for another process that will enter them; each with what is stored of it now."""
        return self._note("begun", entries)

    def _note(self, kind: str, entries: Sequence[Entry]) -> list[tuple[Entry, str, int]]:
        before = self.current(entry.id for entry in entries)
        noted = []
        for entry in entries:
            old = before.get(entry.id)
            noted.append((entry, old.content_hash if old else "", old.chunks if old else 0))
        self._write(kind, [(entry, {"hash_before": was, "chunks_before": n}) for entry, was, n in noted])
        return noted

    def begun(self) -> list[tuple[Entry, str, int]]:
        """What was begun and not entered."""
        return [_noted(payload) for payload in self._scroll("begun")]

    def strike_out(self, document_ids: Iterable[str]) -> None:
        """Throw away what was noted of documents that were begun."""
        self._delete("begun", list(document_ids))

    def enter(self, entries: Sequence[Entry]) -> None:
        """The engine has these, or is about to lose those without chunks: from now on searches go by this."""
        self._write("document", [(entry, {}) for entry in entries if entry.chunks])
        self._delete("document", [entry.id for entry in entries if not entry.chunks])
        for entry in entries:
            self._remember(entry.id, entry if entry.chunks else None)

    def settle(self) -> None:
        """Throw away what ``pending`` has read: it is done."""
        self.withdraw(self._read)

    def withdraw(self, document_ids: Iterable[str]) -> None:
        """Strike out what was written down of these documents: the engine has nothing of it."""
        self._delete("pending", list(document_ids))

    def set_source(self, document_id: str, source: str) -> None:
        """The same document was found in another file."""
        if entry := self.find(document_id):
            self.enter([replace(entry, source=source)])

    # -- metadata fields, and whatever else there is one of --------------------------------------------------------

    def fields(self) -> dict[str, str]:
        """Type of each metadata field that was met, see ``fields.py``."""
        found = self.metadata().get(_FIELDS) or {}
        return {str(name): str(kind) for name, kind in sorted(found.items())}

    def set_fields(self, types: dict[str, str]) -> None:
        self.set_metadata({_FIELDS: {**self.fields(), **types}})

    def metadata(self) -> Mapping[str, Any]:
        """What is kept with the collection of chunks."""
        name = self.connection.address.name
        return self.connection.call(lambda client: client.get_collection(name)).config.metadata or {}

    def set_metadata(self, parts: Mapping[str, Any]) -> None:
        """Put parts in place of those of the same name."""
        name = self.connection.address.name
        self.connection.call(lambda client: client.update_collection(name, metadata=dict(parts)))

    def problems(self) -> list[str]:
        """A server checks its own files when it starts."""
        return []

    # -- points --------------------------------------------------------------------------------------------------

    def _retrieve(self, ids: list[Any]) -> list[Mapping[str, Any]]:
        records = self.connection.call(lambda client: client.retrieve(self.name, ids, with_payload=True))
        return [record.payload or {} for record in records]

    def _write(self, kind: str, noted: list[tuple[Entry, dict[str, Any]]]) -> None:
        points = [
            models.PointStruct(id=_point(kind, entry.id), vector={}, payload={"kind": kind, **asdict(entry), **payload})
            for entry, payload in noted
        ]
        for start in range(0, len(points), _PAGE):
            self._upsert(points[start : start + _PAGE])

    def _upsert(self, points: list[models.PointStruct]) -> None:
        self.connection.call(lambda client: client.upsert(self.name, points, wait=True))

    def _delete(self, kind: str, document_ids: list[str]) -> None:
        for start in range(0, len(document_ids), _PAGE):
            ids: list[Any] = [_point(kind, document_id) for document_id in document_ids[start : start + _PAGE]]
            self._remove(models.PointIdsList(points=ids))

    def _remove(self, points: models.PointIdsList) -> None:
        self.connection.call(lambda client: client.delete(self.name, points, wait=True))

    def _scroll(self, kind: str) -> Iterator[Mapping[str, Any]]:
        offset: Any = None
        while True:

            def page(client: QdrantClient, offset: Any = offset) -> tuple[list[models.Record], Any]:
                return client.scroll(self.name, scroll_filter=_of_kind(kind), limit=_PAGE, offset=offset)

            records, offset = self.connection.call(page)
            for record in records:
                yield record.payload or {}
            if offset is None:
                return

    def _remember(self, document_id: str, entry: Entry | None) -> None:
        self._known[document_id] = entry
        self._known.move_to_end(document_id)
        if len(self._known) > _REMEMBERED:
            self._known.popitem(last=False)


def _point(kind: str, document_id: str) -> str:
    return str(uuid.uuid5(_NAMESPACE, f"{kind}#{document_id}"))


def _of_kind(kind: str) -> models.Filter:
    return models.Filter(must=[models.FieldCondition(key="kind", match=models.MatchValue(value=kind))])


def _entry(payload: Mapping[str, Any]) -> Entry:
    names = ("id", "content_hash", "chunks", "digest", "source")
    return Entry(*(payload[name] for name in names))


def _noted(payload: Mapping[str, Any]) -> tuple[Entry, str, int]:
    return _entry(payload), str(payload["hash_before"]), int(payload["chunks_before"])

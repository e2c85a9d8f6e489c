"""Which documents are stored, and which are being stored: a small SQLite database beside the vectors.

It is also the journal of the index. Before the engine is touched, what is about to change is written down (`intend`);
once the engine has it on disk, the documents are entered (`settle`). What a crash leaves between the two is put right
when the index is opened the next time.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bicross.errors import CorpusError, StorageError
from bicross.index.records import D, Version

FILE = "catalogue.db"

#: What SQLite may leave beside the database.
FILES = (FILE, f"{FILE}-wal", f"{FILE}-shm", f"{FILE}-journal")

#: What is left to do with an index that cannot be opened.
ANEW = "index the documents again into another folder"

_SCHEMA = """
CREATE TABLE IF NOT EXISTS documents (
    id TEXT PRIMARY KEY, hash TEXT NOT NULL, chunks INTEGER NOT NULL, digest TEXT NOT NULL, source TEXT NOT NULL
) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS pending (
    id TEXT PRIMARY KEY, hash TEXT NOT NULL, chunks INTEGER NOT NULL, digest TEXT NOT NULL, source TEXT NOT NULL,
    hash_before TEXT NOT NULL, chunks_before INTEGER NOT NULL
) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS fields (name TEXT PRIMARY KEY, type TEXT NOT NULL) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS outside (chunks INTEGER NOT NULL);
INSERT INTO outside SELECT (SELECT coalesce(sum(chunks), 0) FROM documents) WHERE NOT EXISTS (SELECT * FROM outside);
"""


@dataclass(frozen=True)
class Entry:
    """A stored document.

    Attributes:
        id: The user's identifier.
        content_hash: ``Document.content_hash``.
        chunks: How many it has; 0 in the journal means that it is being deleted.
        digest: Checksum of its chunks and vectors, see ``records.digest``.
        source: The file it was read from; empty for one that was given from Python.
    """

    id: str
    content_hash: str
    chunks: int
    digest: str
    source: str = ""

    @property
    def version(self) -> Version:
        """What the engine has of it."""
        return Version(self.id, self.content_hash, self.chunks)


class Catalogue:
    """Open for one process, any thread. Every method that changes something is one transaction.

    Args:
        path: The folder of the index.
        create: Make an empty one; otherwise it must be there.

    Raises:
        StorageError: The disk is full, or writing failed.
        CorpusError: The file is damaged.
    """

    def __init__(self, path: Path, *, create: bool = False) -> None:
        self.path = path / FILE
        if not create and not self.path.is_file():
            raise CorpusError(f"{path}: damaged: its file {FILE!r} is missing; {ANEW}")
        with self._errors():
            # autocommit: transactions are begun and ended by name
            self._db = sqlite3.connect(self.path, isolation_level=None, check_same_thread=False)
            self._db.execute("PRAGMA journal_mode = WAL")
            self._db.execute("PRAGMA synchronous = FULL")  # a settled batch must outlive a power cut
            self._db.executescript(_SCHEMA)

    def close(self) -> None:
        with self._errors():
            self._db.close()

    # -- documents -----------------------------------------------------------------------------------------------

    def find(self, document_id: str) -> Entry | None:
        """The entry of a document, if it is stored."""
        row = self._one("SELECT id, hash, chunks, digest, source FROM documents WHERE id = ?", document_id)
        return Entry(*row) if row else None

    def ahead(self, documents: Iterable[D]) -> Iterator[D]:
        """The same documents; one that is far away looks many up at once here."""
        yield from documents

    def entries(self) -> Iterator[Entry]:
        """All entries in order of id."""
        for row in self._rows("SELECT id, hash, chunks, digest, source FROM documents WHERE id > ? ORDER BY id"):
            yield Entry(*row)

    def count(self) -> tuple[int, int]:
        """Documents and chunks."""
        documents, chunks = self._one("SELECT count(*), coalesce(sum(chunks), 0) FROM documents") or (0, 0)
        return int(documents), int(chunks)

    # -- the journal ---------------------------------------------------------------------------------------------

    def intend(self, entries: Sequence[Entry]) -> None:
        """Write down what is about to be stored (``chunks`` > 0) or deleted (0)."""
        rows = [(e.id, e.content_hash, e.chunks, e.digest, e.source) for e in entries]
        with self._transaction():
            self._db.executemany(
                "INSERT OR REPLACE INTO pending SELECT ?1, ?2, ?3, ?4, ?5, coalesce(max(hash), ''), "
                "coalesce(max(chunks), 0) FROM documents WHERE id = ?1",
                rows,
            )

    def pending(self) -> list[tuple[Entry, str, int]]:
        """What was written down and not settled, each with content hash and chunks of what was stored before."""
        with self._errors():
            rows = self._db.execute(
                "SELECT id, hash, chunks, digest, source, hash_before, chunks_before FROM pending"
            ).fetchall()
        return [(Entry(*row[:5]), str(row[5]), int(row[6])) for row in rows]

    def enter(self, entries: Sequence[Entry]) -> None:
        """Nothing yet: ``settle`` enters them in one transaction, and searches wait for it."""

    def settle(self) -> None:
        """Enter everything that was written down: the engine has it."""
        with self._transaction():
            self._db.execute("UPDATE outside SET chunks = chunks + (SELECT coalesce(sum(chunks), 0) FROM pending)")
            self._db.execute("DELETE FROM documents WHERE id IN (SELECT id FROM pending WHERE chunks = 0)")
            self._db.execute(
                "INSERT OR REPLACE INTO documents SELECT id, hash, chunks, digest, source FROM pending WHERE chunks > 0"
            )
            self._db.execute("DELETE FROM pending")

    def withdraw(self, document_ids: Iterable[str]) -> None:
        """Strike out what was written down: the engine has nothing of it."""
        with self._transaction():
            self._db.executemany("DELETE FROM pending WHERE id = ?", [(i,) for i in document_ids])

    def set_source(self, document_id: str, source: str) -> None:
        """The same document was found in another file."""
        with self._transaction():
            self._db.execute("UPDATE documents SET source = ? WHERE id = ?", (source, document_id))

    def outside(self) -> int:
        """Chunks that were stored since the graph was built, those that are gone again included."""
        row = self._one("SELECT chunks FROM outside")
        return int(row[0]) if row else 0

    def graph_built(self) -> None:
        """Every chunk is in the graph."""
        with self._transaction():
            self._db.execute("UPDATE outside SET chunks = 0")

    # -- metadata fields -----------------------------------------------------------------------------------------

    def fields(self) -> dict[str, str]:
        """Type of each metadata field that was met, see ``fields.py``."""
        with self._errors():
            return dict(self._db.execute("SELECT name, type FROM fields ORDER BY name").fetchall())

    def set_fields(self, types: dict[str, str]) -> None:
        with self._transaction():
            self._db.executemany("INSERT OR REPLACE INTO fields VALUES (?, ?)", list(types.items()))

    # -- the database itself -------------------------------------------------------------------------------------

    def problems(self) -> list[str]:
        """What SQLite finds wrong with its file; empty when it is whole."""
        with self._errors():
            rows = self._db.execute("PRAGMA integrity_check(10)").fetchall()
        return [str(row[0]) for row in rows if row[0] != "ok"]

    def _one(self, statement: str, *values: str) -> tuple[Any, ...] | None:
        with self._errors():
            row: tuple[Any, ...] | None = self._db.execute(statement, values).fetchone()
            return row

    def _rows(self, statement: str) -> Iterator[tuple[str, str, int, str, str]]:
        """Rows in order of id, page by page, so that the table may change meanwhile."""
        last = ""
        while True:
            with self._errors():
                page = self._db.execute(f"{statement} LIMIT 1000", (last,)).fetchall()
            yield from page
            if not page:
                return
            last = page[-1][0]

    @contextmanager
    def _transaction(self) -> Iterator[None]:
        with self._errors():
            self._db.execute("BEGIN IMMEDIATE")
            try:
                yield
                self._db.execute("COMMIT")
            except BaseException:
                if self._db.in_transaction:
                    self._db.execute("ROLLBACK")
                raise

    @contextmanager
    def _errors(self) -> Iterator[None]:
        try:
            yield
        except sqlite3.DatabaseError as error:
            if isinstance(error, sqlite3.OperationalError):
                raise StorageError(
                    f"{self.path}: cannot be written ({error}); is the disk full or the folder read-only? "
                    "What was committed before is safe"
                ) from error
            raise CorpusError(f"{self.path}: damaged ({error}); {ANEW}") from error

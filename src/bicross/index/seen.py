"""The ids that one run over files has met, on disk where they are many."""

from __future__ import annotations

import sqlite3

from bicross.errors import StorageError


class Seen:
    """Ids, each with the file where it was met first."""

    def __init__(self) -> None:
        self._db = sqlite3.connect("", isolation_level=None, check_same_thread=False)  # a file that is gone with it
        self._db.execute("CREATE TABLE seen (id TEXT PRIMARY KEY, place TEXT NOT NULL) WITHOUT ROWID")

    def note(self, document_id: str, place: str) -> str | None:
        """Note that an id was met; the place where it was met before in this run, if it was."""
        try:
            return self._note(document_id, place)
        except sqlite3.Error as error:
            raise StorageError(
                f"the ids of this run cannot be kept ({error}); is there room for temporary files?"
            ) from error

    def _note(self, document_id: str, place: str) -> str | None:
        row = self._db.execute("SELECT place FROM seen WHERE id = ?", (document_id,)).fetchone()
        if row:
            return str(row[0])
        self._db.execute("INSERT INTO seen VALUES (?, ?)", (document_id, place))
        return None

    def __contains__(self, document_id: str) -> bool:
        return self._db.execute("SELECT 1 FROM seen WHERE id = ?", (document_id,)).fetchone() is not None

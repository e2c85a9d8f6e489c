"""One process at a time has an index open; a second one is told which."""

from __future__ import annotations

import os
from pathlib import Path

from filelock import FileLock, Timeout

from bicross.errors import IndexLockedError, StorageError

#: Files that a lock leaves in the folder.
FILES = ("lock", "lock.pid")


class IndexLock:
    """Held from construction until ``release``; the system releases it when the process dies."""

    def __init__(self, path: Path) -> None:
        self._lock = FileLock(path / FILES[0], thread_local=False)
        self._holder = path / FILES[1]
        try:
            self._lock.acquire(timeout=0)
            self._holder.write_text(str(os.getpid()))
        except Timeout:
            holder = self._pid()
            if holder == str(os.getpid()):
                raise IndexLockedError(f"{path}: already open in this process; close it first, or use it") from None
            raise IndexLockedError(
                f"{path}: open in another process (pid {holder}); wait for it or stop it, then try again"
            ) from None
        except OSError as error:
            self._lock.release()
            raise StorageError(
                f"{path}: cannot be locked ({error.strerror}); is there room, and the right to write?"
            ) from error

    def _pid(self) -> str:
        try:
            return self._holder.read_text() or "unknown"
        except OSError:
            return "unknown"

    @property
    def held(self) -> bool:
        return bool(self._lock.is_locked)

    def release(self) -> None:
        if self.held:
            self._holder.unlink(missing_ok=True)
            self._lock.release()

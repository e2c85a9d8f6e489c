"""A file that is there whole or not at all."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TextIO

from bicross.errors import StorageError, UsageError


def check_place(file: Path) -> None:
    """Find out before long work.

    Raises:
        UsageError: There is no such folder, or the file is one.
    """
    if file.is_dir() or not file.parent.is_dir():
        raise UsageError(f"{file}: {'is a folder' if file.is_dir() else f'there is no folder {file.parent}'}")


@contextmanager
def written(file: Path) -> Iterator[TextIO]:
    """Yield a stream; the file takes its name when the block ends without an error.

    Raises:
        UsageError: There is no such folder, or the file is one.
        StorageError: The disk is full, or the folder cannot be written to.
    """
    check_place(file)
    unfinished = file.with_name(f"{file.name}.{os.getpid()}.part")
    try:
        with unfinished.open("w", encoding="utf-8", newline="") as stream:
            yield stream
        unfinished.replace(file)
    except OSError as error:
        raise StorageError(f"{file}: cannot be written ({error.strerror})") from error
    finally:
        unfinished.unlink(missing_ok=True)

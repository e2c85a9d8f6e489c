"""Room on the disk: what an index takes, and what must be free before it grows."""

from __future__ import annotations

import os
import shutil
from contextlib import suppress
from pathlib import Path

from bicross.errors import StorageError

#: Room that must be free before a batch is written: the engine grows its files in steps and must never hit the end.
FREE_BYTES = 96 * 2**20


def bytes_taken(path: Path) -> int:
    """Bytes that the files of a folder take; the engine's are sparse, so that their lengths add up to more.

    What another thread removes meanwhile counts nothing.
    """
    total = 0
    for folder, _, names in os.walk(path):
        for name in names:
            with suppress(FileNotFoundError):
                total += _allocated((Path(folder) / name).stat())
    return total


def check_room(path: Path, more: int) -> None:
    """The engine maps files into memory, where a full disk kills the process: so ask before writing.

    Raises:
        StorageError: Less is free than the write may need.
    """
    if not has_room(path, more):
        free, needed = shutil.disk_usage(path).free, FREE_BYTES + more
        raise StorageError(
            f"{path}: the disk is nearly full ({free / 2**20:.0f} MiB free, {needed / 2**20:.0f} MiB needed to go on); "
            "what was committed before is safe; make room and run the same command again"
        )


def has_room(path: Path, more: int) -> bool:
    """Whether ``more`` bytes can be written without the disk coming near its end."""
    return shutil.disk_usage(path).free >= FREE_BYTES + more


def _allocated(stat: os.stat_result) -> int:
    return stat.st_blocks * 512 if hasattr(stat, "st_blocks") else stat.st_size

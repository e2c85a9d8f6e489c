"""One file of text: where it is, how it is opened, and what is said when it cannot be read."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from gzip import GzipFile
from io import BufferedReader
from pathlib import Path

from bicross.errors import DocumentError

#: The most text that one document, JSON line or CSV row may hold, in bytes where bytes are read and in characters
#: where characters are. Reading takes several times as much memory, and nobody searches for a passage in more.
LIMIT = 64 * 2**20

#: The bytes of a file, as they are or unpacked.
Stream = BufferedReader | GzipFile


@dataclass(frozen=True)
class Failure:
    """Something that could not be read.

    Attributes:
        where: The file, and the line or record where there is one.
        reason: Why, and how to mend it, on one line.
        source: The absolute path of the file; "-" for standard input.
    """

    where: str
    reason: str
    source: str


@dataclass(frozen=True)
class File:
    """A file to read, or standard input (``path`` is ``-``), and the id that its document gets."""

    path: Path
    id: str

    @property
    def place(self) -> str:
        """The file's name in messages."""
        return "stdin" if self.source == "-" else printable(str(self.path))

    @cached_property
    def source(self) -> str:
        """The absolute path as it is stored with documents."""
        return "-" if str(self.path) == "-" else absolute(self.path)

    @contextmanager
    def open(self) -> Iterator[Stream]:
        """The bytes of the file, unpacked when its name ends in .gz."""
        with GzipFile(self.path) if self.path.suffix.lower() == ".gz" else self.path.open("rb") as stream:
            yield stream

    def failure(self, reason: object, part: str = "") -> Failure:
        """A failure in this file; ``part`` follows the file's name, as in ``":7"`` for line 7."""
        line = " ".join(str(reason).split())
        return Failure(self.place + part, line if len(line) <= 1000 else line[:1000] + "…", self.source)


def read_limited(stream: Stream) -> bytes:
    """The whole stream.

    Raises:
        DocumentError: It holds more than ``LIMIT`` bytes; no more than that is read.
    """
    data = stream.read(LIMIT + 1)
    if len(data) > LIMIT:
        raise DocumentError(f"more than {LIMIT >> 20} MiB of text for one document; split the file")
    return data


def absolute(path: Path) -> str:
    """The absolute path, links left as they are, as text that can be stored."""
    return _encodable(os.path.abspath(path))  # noqa: PTH100, pathlib would keep ".."


def printable(path: str) -> str:
    """A path on one line; what is no Unicode in it is escaped."""
    return _encodable(path).replace("\n", "\\n").replace("\r", "\\r")


def file_id(path: str) -> str:
    """A relative path as the id of a document; what is no Unicode in it is escaped."""
    return _encodable(path)


def _encodable(path: str) -> str:
    # Linux lets names be any bytes; Python shows those that are no UTF-8 as lone surrogates
    return path.encode("utf-8", "backslashreplace").decode()

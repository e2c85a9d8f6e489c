"""The lines of the plain files of this trade: queries, qrels, runs."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

from bicross.documents.files import File
from bicross.documents.lines import Lines
from bicross.errors import DocumentError, UsageError


def numbered_lines(path: Path) -> Iterator[tuple[str, str]]:
    """Where (``file:line``) and the text of each line that is not blank, without its end; ``.gz`` is unpacked.

    Raises:
        UsageError: No such file.
        DocumentError: It cannot be read, or there is nothing in it.
    """
    if not path.is_file():
        raise UsageError(f"{path}: no such file")
    found = False
    try:
        with File(path, path.name).open() as stream, closing(Lines(stream)) as lines:
            try:
                for line in lines:
                    if line.strip():
                        found = True
                        yield f"{path}:{lines.number}", line.rstrip("\r\n")
            except DocumentError as error:
                raise DocumentError(f"{path}:{lines.number}: {error}") from None
    except (OSError, EOFError) as error:
        raise DocumentError(f"{path}: the file cannot be read ({getattr(error, 'strerror', None) or error})") from None
    if not found:
        raise DocumentError(f"{path}: the file is empty")


def fields(line: str) -> list[str]:
    """The fields of a line: between tabs where there are any, since ids may hold spaces, else between spaces."""
    return [field.strip() for field in line.split("\t")] if "\t" in line else line.split()

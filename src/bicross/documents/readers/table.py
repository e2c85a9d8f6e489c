"""CSV and TSV with a line of column names: a document a row."""

from __future__ import annotations

import csv
import re
from collections import deque
from collections.abc import Iterator
from contextlib import closing

from bicross.documents.document import Document, short
from bicross.documents.fields import Fields, check_columns, document_of
from bicross.documents.files import LIMIT, Failure, File
from bicross.documents.lines import Lines, line_encoding
from bicross.errors import DocumentError

_DELIMITERS = ",;\t|"
# no leading zeros, which codes have, and no more digits than a float keeps
_WHOLE = re.compile(r"0|-?[1-9][0-9]{0,14}")
_MEANINGS = {"unexpected end of data": "a cell begins with quotes that are never closed"}
_DECIMAL = re.compile(r"-?(?:0|[1-9][0-9]*)\.[0-9]+")


def read_csv(file: File, fields: Fields) -> Iterator[Document | Failure]:
    """Yield the documents of a file whose cells are parted by the mark that its first line has most of."""
    return _read(file, fields, _DELIMITERS)


def read_tsv(file: File, fields: Fields) -> Iterator[Document | Failure]:
    """Yield the documents of a file whose cells are parted by tabs."""
    return _read(file, fields, "\t")


def _read(file: File, fields: Fields, delimiters: str) -> Iterator[Document | Failure]:
    csv.field_size_limit(LIMIT)  # for the whole process; 128 KiB by default, less than many texts have
    with file.open() as stream:
        encoding = line_encoding(stream)
    with file.open() as stream, closing(Lines(stream, encoding, newline="")) as lines:
        yield from _documents(lines, file, fields, delimiters)


class _Source:
    """The lines that the CSV parser reads; it can go back to the second line of the row that was read last."""

    def __init__(self, lines: Lines) -> None:
        self._lines = lines
        self._row: list[str] = []
        self._again: deque[str] = deque()

    def __iter__(self) -> _Source:
        return self

    def __next__(self) -> str:
        line = self._again.popleft() if self._again else next(self._lines)
        self._row.append(line)
        return line

    def begin_row(self) -> int:
        """The number of the line on which the next row begins."""
        self._row.clear()
        return self._lines.number - len(self._again) + 1

    def go_back(self, to: int = 1) -> None:
        """Have the lines of the row, from this one on, be read again."""
        self._again.extendleft(reversed(self._row[to:]))


def _documents(lines: Lines, file: File, fields: Fields, delimiters: str) -> Iterator[Document | Failure]:
    source = _Source(lines)
    first = next((line for line in source if line.strip()), "")
    if not first:
        raise DocumentError("the file is empty; expected a line of column names and a row a document")
    source.go_back(to=-1)
    delimiter = max(delimiters, key=lambda mark: len(next(csv.reader([first], delimiter=mark))))
    rows = csv.reader(source, delimiter=delimiter, strict=True)
    try:
        names = next(rows)
    except csv.Error as error:
        raise DocumentError(f"the line of column names is broken: {error}") from None
    if twice := {name for name in names if name and names.count(name) > 1}:
        raise DocumentError(f"the column {short(min(twice))} is there twice; rename one")
    check_columns([name for name in names if name], fields)
    found = False
    while True:
        start = source.begin_row()
        try:
            row = next(rows)
            if row:
                found = True
                yield document_of(_record(names, row), fields, file.source, _value)
        except StopIteration:
            break
        except csv.Error as error:
            found = True
            source.go_back()  # else quotes that are never closed would take all rows after them along
            yield file.failure(f"broken CSV: {_MEANINGS.get(str(error), error)}", f":{start}")
        except DocumentError as error:
            found = True
            yield file.failure(error, f":{start}")
    if not found:
        raise DocumentError("the file has no rows, only column names; remove it or give it some")


def _record(names: list[str], row: list[str]) -> dict[str, str | None]:
    if len(row) != len(names):
        raise DocumentError(
            f"{len(row)} cells, but {len(names)} columns; put cells that hold the delimiter or a line end in quotes"
        )
    return {name: cell or None for name, cell in zip(names, row, strict=True) if name}


def _value(cell: str | None) -> str | int | float | bool | None:
    """What a cell of metadata holds; None when it is empty."""
    if cell is None:
        return None
    if _WHOLE.fullmatch(cell):
        return int(cell)
    if _DECIMAL.fullmatch(cell):
        return float(cell)
    return {"true": True, "false": False}.get(cell.lower(), cell)

"""Parquet: a document a row, read in small batches."""

from __future__ import annotations

import datetime
import math
import uuid
from collections.abc import Iterator
from decimal import Decimal
from typing import TYPE_CHECKING, Any

from bicross.documents.document import Document
from bicross.documents.fields import Fields, check_columns, document_of
from bicross.documents.files import Failure, File
from bicross.errors import DocumentError

if TYPE_CHECKING:
    from pyarrow import RecordBatch
    from pyarrow.parquet import ParquetFile

#: A row group that says it unpacks to more is refused: parts of it are unpacked whole.
ROW_GROUP_LIMIT = 4 * 2**30

_BATCH = 64
_TEXTS = ("STRING", "JSON")


def read(file: File, fields: Fields) -> Iterator[Document | Failure]:
    """Yield the document of each row, or what is wrong with it."""
    import pyarrow
    import pyarrow.parquet

    with file.path.open("rb") as stream:
        try:
            plain = pyarrow.parquet.ParquetFile(stream)
            columns, texts = _columns(plain, fields)
            # read as a dictionary, a text that is in every row is kept once
            table = pyarrow.parquet.ParquetFile(
                stream, metadata=plain.metadata, read_dictionary=texts, buffer_size=2**20, pre_buffer=False
            )
            yield from _rows(table, columns, file, fields)
        except (pyarrow.ArrowException, OSError) as error:
            raise DocumentError(f"the Parquet file is broken ({error}); write it anew") from error


def _columns(table: ParquetFile, fields: Fields) -> tuple[list[str], list[str]]:
    """The columns to read, those nested in others one by one, and which of them hold text."""
    leaves = [table.schema.column(number) for number in range(len(table.schema))]
    leaves = [leaf for leaf in leaves if not _is_binary(leaf)]
    tops = {name: None for name in table.schema_arrow.names if any(_is_in(leaf.path, name) for leaf in leaves)}
    check_columns(tops, fields)
    if fields.metadata is not None:
        named = {*fields.ids, *fields.texts, fields.title or "title", *fields.metadata}
        named |= {name.rpartition(":")[0] for name in fields.metadata}
        leaves = [leaf for leaf in leaves if any(_is_in(leaf.path, name) for name in named if name)]
    return [leaf.path for leaf in leaves], [leaf.path for leaf in leaves if leaf.logical_type.type in _TEXTS]


def _is_binary(leaf: Any) -> bool:
    return leaf.physical_type in ("BYTE_ARRAY", "FIXED_LEN_BYTE_ARRAY") and leaf.logical_type.type in ("NONE", "BSON")


def _is_in(path: str, name: str) -> bool:
    return path == name or path.startswith(f"{name}.")


def _rows(table: ParquetFile, columns: list[str], file: File, fields: Fields) -> Iterator[Document | Failure]:
    if not table.metadata.num_rows:
        raise DocumentError("the file has no rows; remove it or give it some")
    first = 1
    for number in range(table.num_row_groups):
        group = table.metadata.row_group(number)
        chunks = [group.column(place) for place in range(group.num_columns)]
        size = sum(chunk.total_uncompressed_size for chunk in chunks if chunk.path_in_schema in columns)
        if size > ROW_GROUP_LIMIT:
            reason = f"it unpacks to {size >> 20} MiB, the limit is {ROW_GROUP_LIMIT >> 20}; write smaller row groups"
            yield file.failure(reason, f": row group {number + 1}")
        else:
            row = first
            for batch in table.iter_batches(_BATCH, row_groups=[number], columns=columns):
                yield from _documents(batch, row, file, fields)
                row += batch.num_rows
        first += group.num_rows


def _documents(batch: RecordBatch, first: int, file: File, fields: Fields) -> Iterator[Document | Failure]:
    import pyarrow

    names, columns = batch.schema.names, [_without_nanoseconds(column) for column in batch.columns]
    for place in range(batch.num_rows):
        try:
            # row by row: values of a dictionary become strings of their own
            record = {name: _plain(column[place].as_py()) for name, column in zip(names, columns, strict=True)}
            yield document_of(record, fields, file.source, lambda value: value)
        except (DocumentError, ValueError, OverflowError, pyarrow.ArrowException) as error:
            yield file.failure(error, f": row {first + place}")


def _without_nanoseconds(column: Any) -> Any:
    """Python's times have microseconds."""
    import pyarrow

    if pyarrow.types.is_timestamp(column.type) and column.type.unit == "ns":
        return column.cast(pyarrow.timestamp("us", column.type.tz), safe=False)
    return column


def _plain(value: Any) -> Any:
    """A value as JSON has it; numbers that are none become None."""
    match value:
        case datetime.datetime() | datetime.date() | datetime.time():
            return value.isoformat()
        case datetime.timedelta():
            return value.total_seconds()
        case Decimal():
            # ids may be whole decimals of more digits than a float keeps
            return int(value) if value.as_tuple().exponent == 0 else _plain(float(value))
        case float():
            return value if math.isfinite(value) else None
        case uuid.UUID():
            return str(value)
        case bytes():  # an ENUM; other binary columns are not read
            return value.decode()
        case dict():
            return {key: _plain(item) for key, item in value.items()}
        case list() | tuple():
            return [_plain(item) for item in value]
        case _:
            return value

"""An index as one file, with its vectors, and back in without embedding again.

A row is a chunk; rows stand in order of document id and number, so two indexes with the same content give the same
rows. The header says which model and settings the vectors belong to: in Parquet it is the schema's metadata, in JSON
Lines the first line.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterable, Iterator
from dataclasses import asdict
from itertools import groupby, islice
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

import numpy as np

from bicross.documents import Chunk
from bicross.documents.document import short
from bicross.errors import CorpusError, StorageError, UsageError
from bicross.index.index import Index
from bicross.index.manifest import Manifest, manifest_of
from bicross.index.records import EncodedDocument, chunk_id

if TYPE_CHECKING:
    import pyarrow

#: Raised when an older bicross could no longer read what a newer one exports.
FORMAT = 1

SUFFIXES = (".parquet", ".jsonl")

_KEY = "bicross"
_GROUP = 5_000

Row = dict[str, Any]


def export(index: Index, file: str | Path, *, written: Callable[[int], None] = lambda chunks: None) -> int:
    """Write every chunk of an index into a ``.parquet`` or ``.jsonl`` file; the number of chunks.

    The file appears under its name once it is whole.

    Raises:
        UsageError: Another kind of file.
        StorageError: It cannot be written.
    """
    file = check_suffix(file)
    chunks = sum(entry.chunks for entry in index.catalogue.entries())
    header = json.dumps({"export": FORMAT, "chunks": chunks, **asdict(index.manifest)}, sort_keys=True)
    part = file.with_name(f"{file.name}.part")
    rows = _counted(_rows(index), written)
    try:
        with part.open("wb") as stream:
            write = _write_parquet if file.suffix == ".parquet" else _write_lines
            number = write(stream, header, rows)
            stream.flush()
            os.fsync(stream.fileno())
        part.replace(file)
    except OSError as error:
        part.unlink(missing_ok=True)
        raise StorageError(f"{file}: cannot be written ({error.strerror or error})") from error
    return number


def read_export(file: str | Path) -> tuple[Manifest, Iterator[EncodedDocument]]:
    """Which model and settings an exported file was made with, and its documents with their vectors, one at a time.

    Raises:
        UsageError: No such file, or another kind of file.
        CorpusError: It was not exported by bicross, or by a newer one, or is damaged; the iterator names the document
            whose row is.
    """
    file = check_suffix(file)
    if not file.is_file():
        raise UsageError(f"{file}: no such file")
    try:
        header = _header(file)
        version = header["export"]
        if version > FORMAT:
            raise CorpusError(
                f"{file}: exported in format {version}, this bicross reads up to {FORMAT}; upgrade bicross"
            )
        return manifest_of(header), _documents(file, int(header["chunks"]))
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise CorpusError(
            f"{file}: not an export of bicross, or damaged ({type(error).__name__}: {str(error)[:80]}); "
            "to index a file of documents type: bicross index"
        ) from None


def _documents(file: Path, number: int) -> Iterator[EncodedDocument]:
    rows = _read_parquet(file) if file.suffix == ".parquet" else _read_lines(file)
    read = 0
    try:
        for _, chunks in groupby(rows, key=lambda row: (row["document_id"], row["content_hash"])):
            document = _document(list(chunks), file)
            read += len(document.chunks)
            yield document
        if read != number:
            raise CorpusError(f"{file}: damaged: it has {read} of its {number} chunks; export it again")
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise CorpusError(f"{file}: damaged ({type(error).__name__}: {str(error)[:80]}); export it again") from error


def _header(file: Path) -> dict[str, Any]:
    if file.suffix == ".parquet":
        import pyarrow.parquet

        header = (pyarrow.parquet.read_schema(file).metadata or {})[_KEY.encode()].decode()
    else:
        with file.open(encoding="utf-8") as lines:
            header = json.loads(lines.readline())[_KEY]
    stored: dict[str, Any] = json.loads(header)
    return stored


def check_suffix(file: str | Path) -> Path:
    """The path of a file that can hold an export; a UsageError for another kind."""
    file = Path(file)
    if file.suffix not in SUFFIXES:
        raise UsageError(f"{file}: the name must end in {' or '.join(SUFFIXES)}")
    return file


def _rows(index: Index) -> Iterator[Row]:
    for entry in index.catalogue.entries():
        items = index.engine.read(entry.version, vectors=True)
        if len(items) != entry.chunks:
            raise CorpusError(
                f"{index.name}: chunks of {short(entry.id)} are missing; type: bicross check {index.name}"
            )
        for item in items:
            yield {
                "document_id": entry.id,
                "number": item.number,
                "chunks": entry.chunks,
                "content_hash": entry.content_hash,
                "source": entry.source,
                "title": item.chunk.title,
                "text": item.chunk.text,
                "start": item.chunk.start,
                "end": item.chunk.end,
                "page": item.chunk.page,
                "truncated": item.truncated,
                "metadata": json.dumps(item.metadata, ensure_ascii=False, sort_keys=True),
                "vector": item.vector,
            }


def _counted(rows: Iterator[Row], written: Callable[[int], None]) -> Iterator[Row]:
    for row in rows:
        yield row
        written(1)


def _document(rows: list[Row], file: Path) -> EncodedDocument:
    first = rows[0]
    document_id = first["document_id"]
    if [row["number"] for row in rows] != list(range(first["chunks"])):
        raise CorpusError(f"{file}: damaged: {short(document_id)} does not have its {first['chunks']} chunks in order")
    chunks = [
        Chunk(chunk_id(document_id, r["number"]), document_id, r["text"], r["start"], r["end"], r["title"], r["page"])
        for r in rows
    ]
    vectors = np.array([row["vector"] for row in rows], np.float32)
    truncated = [bool(row["truncated"]) for row in rows]
    metadata = json.loads(first["metadata"])
    return EncodedDocument(document_id, first["content_hash"], chunks, vectors, truncated, metadata, first["source"])


def _write_lines(stream: IO[bytes], header: str, rows: Iterable[Row]) -> int:
    stream.write(json.dumps({_KEY: header}).encode() + b"\n")
    number = 0
    for row in rows:
        line = json.dumps(row | {"vector": [float(x) for x in row["vector"]]}, ensure_ascii=False)
        stream.write(line.encode() + b"\n")
        number += 1
    return number


def _read_lines(file: Path) -> Iterator[Row]:
    with file.open(encoding="utf-8") as lines:
        lines.readline()
        for line in lines:
            yield json.loads(line)


def _schema(header: str) -> pyarrow.Schema:
    import pyarrow as pa

    return pa.schema(
        {
            "document_id": pa.string(),
            "number": pa.int32(),
            "chunks": pa.int32(),
            "content_hash": pa.string(),
            "source": pa.string(),
            "title": pa.string(),
            "text": pa.string(),
            "start": pa.int64(),
            "end": pa.int64(),
            "page": pa.int32(),
            "truncated": pa.bool_(),
            "metadata": pa.string(),
            "vector": pa.list_(pa.float32()),
        },
        metadata={_KEY: header},
    )


def _write_parquet(stream: IO[bytes], header: str, rows: Iterator[Row]) -> int:
    import pyarrow as pa
    import pyarrow.parquet

    schema, number = _schema(header), 0
    with pa.parquet.ParquetWriter(stream, schema, compression="zstd") as writer:
        while group := list(islice(rows, _GROUP)):
            writer.write_table(pa.Table.from_pylist(group, schema=schema))
            number += len(group)
    return number


def _read_parquet(file: Path) -> Iterator[Row]:
    import pyarrow.parquet

    with pyarrow.parquet.ParquetFile(file) as opened:
        for batch in opened.iter_batches(batch_size=1000):
            vectors = batch.column("vector")
            flat = np.asarray(vectors.flatten())
            ends = np.asarray(vectors.offsets)
            for number, row in enumerate(batch.drop_columns(["vector"]).to_pylist()):
                yield row | {"vector": flat[ends[number] - ends[0] : ends[number + 1] - ends[0]]}

"""JSON lines: a document a line, with the fields of BEIR unless others are named."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import closing

from bicross.documents.document import Document
from bicross.documents.fields import Fields, document_of
from bicross.documents.files import Failure, File, Stream
from bicross.documents.lines import Lines
from bicross.errors import DocumentError


def read(file: File, fields: Fields) -> Iterator[Document | Failure]:
    """Yield the document of each line that is not blank, or what is wrong with the line."""
    with file.open() as stream:
        yield from read_lines(stream, file, fields)


def read_lines(stream: Stream, file: File, fields: Fields) -> Iterator[Document | Failure]:
    """The same for an open stream."""
    found = False
    with closing(Lines(stream)) as lines:
        while True:
            try:
                line = next(lines).strip()
                if line:
                    found = True
                    yield document_of(_parse(line), fields, file.source)
            except StopIteration:
                break
            except DocumentError as error:
                found = True
                yield file.failure(error, f":{lines.number}")
    if not found:
        raise DocumentError("the file is empty; expected one JSON object a line")


def _parse(line: str) -> dict[str, object]:
    try:
        record = json.loads(line)
    except (ValueError, RecursionError) as error:
        raise DocumentError(f"broken JSON: {error}") from None
    if not isinstance(record, dict):
        raise DocumentError(f"expected a JSON object, found {type(record).__name__}")
    return record

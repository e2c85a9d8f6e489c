"""Plain text and markdown: one document a file."""

from __future__ import annotations

from collections.abc import Iterator

from bicross.documents.document import Document
from bicross.documents.encoding import decode
from bicross.documents.fields import Fields
from bicross.documents.files import Failure, File, Stream, read_limited
from bicross.errors import DocumentError


def read(file: File, _: Fields) -> Iterator[Document | Failure]:
    """Yield the document that a text file is."""
    with file.open() as stream:
        yield from read_stream(stream, file)


def read_stream(stream: Stream, file: File) -> Iterator[Document]:
    """Yield the document that a stream holds."""
    yield Document(file.id, _text(stream), source=file.source)


def read_markdown(file: File, _: Fields) -> Iterator[Document | Failure]:
    """Yield the document that a markdown file is; its title is the first heading of the first level."""
    with file.open() as stream:
        text = _text(stream)
    yield Document(file.id, text, first_heading(text), source=file.source)


def first_heading(text: str) -> str:
    """The first markdown heading of the first level, "" when there is none."""
    return next((line.lstrip("#").strip() for line in text.splitlines() if line.startswith("# ")), "")


def _text(stream: Stream) -> str:
    text = decode(read_limited(stream))
    if not text.strip():
        raise DocumentError("the file is empty; remove it or give it some text")
    return text

"""JSON files: an array of objects or a single object, read element by element."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from io import TextIOWrapper
from typing import Any, TextIO

from bicross.documents.document import Document
from bicross.documents.fields import Fields, document_of
from bicross.documents.files import LIMIT, Failure, File
from bicross.documents.lines import unicode_encoding
from bicross.errors import DocumentError

_BLOCK = 2**20
_SPACE = re.compile(r"[ \t\r\n]*")


def read(file: File, fields: Fields) -> Iterator[Document | Failure]:
    """Yield the document of each object, or what is wrong with it."""
    with file.open() as stream:
        text = TextIOWrapper(stream, unicode_encoding(stream))
        try:
            yield from _documents(text, file, fields)
        finally:
            text.detach()  # the stream is closed by its owner


def _documents(text: TextIO, file: File, fields: Fields) -> Iterator[Document | Failure]:
    number = 0
    for number, record in enumerate(_objects(_Window(text)), start=1):
        try:
            yield document_of(record, fields, file.source)
        except DocumentError as error:
            yield file.failure(error, f": record {number}")
    if not number:
        raise DocumentError("the file is empty; expected an array of JSON objects")


class _Window:
    """The part of a stream of JSON that is in memory."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream
        self._text = ""
        self._at = 0
        self._decoder = json.JSONDecoder()

    def next_mark(self) -> str:
        """The next character that is no white space; "" at the end."""
        while True:
            space = _SPACE.match(self._text, self._at)
            self._at = space.end() if space else self._at
            if self._at < len(self._text):
                return self._text[self._at]
            if not self._grow():
                return ""

    def skip(self) -> None:
        """Go past one character."""
        self._at += 1

    def object(self) -> dict[str, Any]:
        """The object that begins here."""
        if self.next_mark() != "{":
            raise DocumentError('expected JSON objects, as in [{"id": "a", "text": "b"}]')
        while True:
            try:
                value, self._at = self._decoder.raw_decode(self._text, self._at)
                return dict(value)
            except RecursionError as error:
                raise DocumentError(f"broken JSON: {error}") from None
            except ValueError as error:
                # broken, or not all of it has been read
                if len(self._text) - self._at > LIMIT:
                    raise DocumentError(f"an object of more than {LIMIT >> 20} million characters; split it") from None
                if not self._grow():
                    raise DocumentError(f"broken JSON: {getattr(error, 'msg', error)}") from None

    def _grow(self) -> bool:
        left = self._text[self._at :]
        try:
            # doubling makes the work for a long object linear in its length
            more = self._stream.read(max(_BLOCK, len(left)))
        except UnicodeDecodeError:
            raise DocumentError("not UTF-8; save the file as UTF-8") from None
        self._text, self._at = left + more, 0
        return bool(more)


def _objects(window: _Window) -> Iterator[dict[str, Any]]:
    """The objects of an array, or those that stand one after another."""
    number = 0
    try:
        while mark := window.next_mark():
            if mark != "[":
                number += 1
                yield window.object()
                continue
            window.skip()
            while window.next_mark() != "]":
                number += 1
                yield window.object()
                if window.next_mark() == ",":
                    window.skip()
                elif window.next_mark() != "]":
                    raise DocumentError("broken JSON: expected a comma or the end of the array")
            window.skip()
    except DocumentError as error:
        raise DocumentError(f"record {number}: {error}" if number else str(error)) from None

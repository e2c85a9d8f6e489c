"""Lines of text of bounded length, out of files of any length."""

from __future__ import annotations

import codecs
from io import TextIOWrapper

from bicross.documents.encoding import guess, marked_encoding
from bicross.documents.files import LIMIT, Stream
from bicross.errors import DocumentError

_BLOCK = 2**20


class Lines:
    """The lines of a stream, with their ends.

    A line that is too long or not in the encoding raises DocumentError, and the next call gives the line after it.
    ``number`` is that of the line that was read last, from 1.
    """

    def __init__(self, stream: Stream, encoding: str | None = None, newline: str = "\n") -> None:
        self.number = 0
        self._encoding = encoding or unicode_encoding(stream)
        # undecodable bytes become lone surrogates, so that only their line is lost
        self._text = TextIOWrapper(stream, self._encoding, "surrogateescape", newline)

    def close(self) -> None:
        """Let go of the stream, which stays open: it belongs to the caller."""
        self._text.detach()

    def __iter__(self) -> Lines:
        return self

    def __next__(self) -> str:
        line = self._text.readline(LIMIT + 1)
        if not line:
            raise StopIteration
        self.number += 1
        if len(line) > LIMIT:
            while line and not line.endswith(("\n", "\r")):
                line = self._text.readline(_BLOCK)
            raise DocumentError(f"a line of more than {LIMIT >> 20} MiB; split the text into several documents")
        if not line.isascii():
            try:
                line.encode()
            except UnicodeEncodeError:
                name = "UTF-8" if self._encoding.startswith("utf-8") else self._encoding
                raise DocumentError(f"not {name}; save the file as UTF-8") from None
        return line


def unicode_encoding(stream: Stream) -> str:
    """The encoding that the byte-order mark names, UTF-8 without one. Nothing is consumed."""
    return marked_encoding(stream.peek(4)[:4]) or "utf-8"


def line_encoding(stream: Stream) -> str:
    """The encoding of a file of lines, told from its beginning, which is consumed.

    Raises:
        DocumentError: It is not UTF-8, and nothing else is plausible.
    """
    encoding = unicode_encoding(stream)
    decoder = codecs.getincrementaldecoder(encoding)()
    for _ in range(LIMIT // _BLOCK):
        block = stream.read(_BLOCK)
        try:
            decoder.decode(block, final=not block)
        except UnicodeDecodeError:
            whole_lines = block if len(block) < _BLOCK else block[: block.rfind(b"\n") + 1] or block
            return guess(whole_lines) if encoding == "utf-8" else encoding
        if not block:
            break
    return encoding

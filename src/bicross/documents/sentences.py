"""Where sentences and markdown headings begin and end."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import NamedTuple

# A markdown heading is a line of its own. A sentence ends after . ! ? … (with closing quotes or brackets) before
# white space, after the full-width marks of Chinese and Japanese at once, and at a blank line or a page.
# Looking only at the first mark of a run, and never going back in it, keeps the work linear for a million full stops.
_BREAK = re.compile(
    r"(?P<heading>^\#{1,6}\ [^\n]*)"
    r"|(?<![.!?…])[.!?…]++[\"'”’)\]]*+(?=\s)"
    r"|[。！？；︒｡]+[”’」』）﹂﹄｣]*"
    r"|\n\s*\n|\f",
    re.MULTILINE | re.VERBOSE,
)


class Sentence(NamedTuple):
    """The place of a sentence or of a heading in a text, without the white space around it."""

    start: int
    end: int
    heading: bool = False


def sentences(text: str) -> Iterator[Sentence]:
    """Yield the sentences and headings of a text in order."""
    start = 0
    for found in _BREAK.finditer(text):
        if found["heading"]:
            yield from _stripped(text, start, found.start())
            yield from _stripped(text, found.start(), found.end(), heading=True)
        else:
            yield from _stripped(text, start, found.end())
        start = found.end()
    yield from _stripped(text, start, len(text))


def _stripped(text: str, start: int, end: int, heading: bool = False) -> Iterator[Sentence]:
    piece = text[start:end]
    if piece.strip():
        yield Sentence(start + len(piece) - len(piece.lstrip()), start + len(piece.rstrip()), heading)

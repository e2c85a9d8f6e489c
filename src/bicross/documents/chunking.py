"""Cut a document into chunks of at most N tokens, at sentence ends and headings where there are any."""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import NamedTuple

from bicross.documents.document import Chunk, Document
from bicross.documents.sentences import sentences

#: Where a token starts and ends in the text, in characters: ``spans(text) -> [(start, end), ...]``.
TokenSpans = Callable[[str], list[tuple[int, int]]]


def chunk_document(document: Document, max_tokens: int, token_spans: TokenSpans, overlap: int = 0) -> list[Chunk]:
    """Cut ``document`` into chunks of at most ``max_tokens`` tokens, its title counted in.

    Whole sentences are packed greedily; one that is longer than a chunk is cut between words. A markdown heading
    stays with the text after it, and begins a new chunk when the one before is half full. A page begins a new chunk, so
    that a hit can say its page. Together the chunks hold
    every character that is not white space between sentences. A title takes at most half of the budget from the
    passages; what it has beyond that the model cuts, and the chunk is flagged when it is encoded.

    Args:
        document: The document; one without any text but with a title gives one chunk with an empty passage.
        max_tokens: Upper bound for title and passage together, without the model's special tokens. At least 8.
        token_spans: The tokeniser of the model that will read the chunks.
        overlap: At most so many tokens of whole sentences from the end of a chunk are said again at the beginning
            of the next one; never more than half of what the title leaves.

    Returns:
        The chunks in order; their ids are ``{document id}#{number from 0}``.

    Raises:
        ValueError: ``max_tokens`` is less than 8, or ``overlap`` is negative or more than half of ``max_tokens``.
    """
    if max_tokens < 8:
        raise ValueError(f"max_tokens is {max_tokens}; chunks need at least 8 tokens")
    if not 0 <= overlap <= max_tokens // 2:
        raise ValueError(f"overlap is {overlap}; it can be 0 to {max_tokens // 2}, half of max_tokens")
    title_tokens = len(token_spans(document.title)) if document.title else 0
    budget = max_tokens - min(title_tokens, max_tokens // 2)
    pieces = _with_headings(_pieces(document.text, budget, token_spans), budget)
    spans = list(_pack(pieces, budget, min(overlap, budget // 2), document.pages))
    if not spans and document.title:
        spans = [(0, 0)]
    return [
        Chunk(
            id=f"{document.id}#{number}",
            document_id=document.id,
            text=document.text[start:end],
            start=start,
            end=end,
            title=document.title,
            page=bisect_right(document.pages, start) or None,
        )
        for number, (start, end) in enumerate(spans)
    ]


class _Piece(NamedTuple):
    """What is not cut further: a sentence, a heading, or a part of a sentence that is too long."""

    start: int
    end: int
    tokens: int
    heading: bool = False  # it is a heading, or begins with one
    whole: bool = True


def _pieces(text: str, budget: int, token_spans: TokenSpans) -> Iterator[_Piece]:
    """The headings and sentences of a text, and the parts of sentences that are too long."""
    starts = [start for start, _ in token_spans(text)]
    above = 0  # tokens of the headings right above
    for start, end, heading in sentences(text):
        tokens = bisect_left(starts, end) - bisect_left(starts, start)
        if tokens <= budget:
            yield _Piece(start, end, tokens, heading)
            above = above + tokens if heading else 0
        else:
            # the first part leaves room for the headings, so that they stay with it
            first = budget - above if above <= budget // 2 else budget
            yield from _parts(text, start, end, budget, first, token_spans)
            above = 0


def _parts(text: str, start: int, end: int, budget: int, first: int, token_spans: TokenSpans) -> Iterator[_Piece]:
    """Cut a sentence that is too long, between words where it can be, into parts of at most ``budget`` tokens."""
    room = first
    while start < end:
        # a window bounds the work; it is tokenised anew because the rest of a word has other tokens than the word
        window = text[start : min(end, start + 16 * budget)]
        tokens = token_spans(window)
        cut = len(window)
        if len(tokens) > room:
            last = _cut_before(tokens, room)
            cut = tokens[last][0]
            while last > 1 and len(token_spans(window[:cut])) > room:
                last -= 1
                cut = tokens[last][0]
            cut = max(cut, 1)
        piece = window[:cut].rstrip()
        if piece:
            yield _Piece(start, start + len(piece), len(token_spans(piece)), whole=False)
            room = budget
        start += cut


def _cut_before(tokens: list[tuple[int, int]], budget: int) -> int:
    """The token that the next part begins with: the last one that begins a word, if the part stays half full."""
    for number in range(budget, budget // 2, -1):
        if tokens[number][0] > tokens[number - 1][1]:
            return number
    return budget


def _with_headings(pieces: Iterable[_Piece], budget: int) -> Iterator[_Piece]:
    """Join headings to the piece after them, as far as the budget allows."""
    headings: list[_Piece] = []
    for piece in pieces:
        if piece.heading:
            headings.append(piece)
            continue
        while headings and headings[-1].tokens + piece.tokens <= budget:
            above = headings.pop()
            piece = _Piece(above.start, piece.end, above.tokens + piece.tokens, heading=True, whole=piece.whole)
        yield from headings
        headings.clear()
        yield piece
    yield from headings


def _pack(pieces: Iterable[_Piece], budget: int, overlap: int, pages: Sequence[int]) -> Iterator[tuple[int, int]]:
    """Join neighbouring pieces of a page while they fit the budget; a heading ends a chunk that is half full."""
    chunk: list[_Piece] = []
    size = 0
    for piece in pieces:
        if chunk and bisect_right(pages, piece.start) > bisect_right(pages, chunk[-1].start):
            yield chunk[0].start, chunk[-1].end
            chunk, size = [], 0
        elif chunk and (size + piece.tokens > budget or (piece.heading and 2 * size >= budget)):
            yield chunk[0].start, chunk[-1].end
            chunk = _repeated(chunk, min(overlap, budget - piece.tokens))
            size = sum(again.tokens for again in chunk)
        chunk.append(piece)
        size += piece.tokens
    if chunk:
        yield chunk[0].start, chunk[-1].end


def _repeated(chunk: list[_Piece], room: int) -> list[_Piece]:
    """The last sentences of a chunk, but not all of it, that fit into so many tokens."""
    first = len(chunk)
    while first > 1 and chunk[first - 1].whole and chunk[first - 1].tokens <= room:
        first -= 1
        room -= chunk[first].tokens
    return chunk[first:]

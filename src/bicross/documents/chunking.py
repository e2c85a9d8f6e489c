"""Cut a document into chunks of at most N tokens, at sentence ends where there are any."""

from __future__ import annotations

import re
from bisect import bisect_left
from collections.abc import Callable, Iterable, Iterator

from bicross.documents.document import Chunk, Document

#: Where a token starts and ends in the text, in characters: ``spans(text) -> [(start, end), ...]``.
TokenSpans = Callable[[str], list[tuple[int, int]]]

# A sentence ends after . ! ? … (with closing quotes or brackets) before white space, after the full-width
# marks of Chinese and Japanese at once, and at a blank line.
_SENTENCE_END = re.compile(r"[.!?…]+[\"'”’)\]]*(?=\s)|[。！？；]+[”’」』）]*|\n\s*\n")


def sentence_spans(text: str) -> Iterator[tuple[int, int]]:
    """Yield the (start, end) of each sentence, without the white space around it."""
    start = 0
    for end in [m.end() for m in _SENTENCE_END.finditer(text)] + [len(text)]:
        piece = text[start:end]
        if piece.strip():
            left = start + len(piece) - len(piece.lstrip())
            yield left, start + len(piece.rstrip())
        start = end


def chunk_document(document: Document, max_tokens: int, token_spans: TokenSpans) -> list[Chunk]:
    """Cut ``document`` into chunks of at most ``max_tokens`` tokens, its title counted in.

    Whole sentences are packed greedily; one that is longer than a chunk is cut between words. The chunks do not
    overlap and together hold every character that is not white space between sentences. A title takes at most half of
    the budget from the passages; what it has beyond that the model cuts, and the chunk is flagged when it is encoded.

    Args:
        document: The document; one without any text but with a title gives one chunk with an empty passage.
        max_tokens: Upper bound for title and passage together, without the model's special tokens. At least 8.
        token_spans: The tokeniser of the model that will read the chunks.

    Returns:
        The chunks in order; their ids are ``{document id}#{number from 0}``.
    """
    if max_tokens < 8:
        raise ValueError(f"max_tokens is {max_tokens}; chunks need at least 8 tokens")
    title_tokens = len(token_spans(document.title)) if document.title else 0
    budget = max_tokens - min(title_tokens, max_tokens // 2)
    spans = list(_pack(_pieces(document.text, budget, token_spans), budget))
    if not spans and document.title:
        spans = [(0, 0)]
    return [
        Chunk(f"{document.id}#{number}", document.id, document.text[start:end], start, end, document.title)
        for number, (start, end) in enumerate(spans)
    ]


def _pieces(text: str, budget: int, token_spans: TokenSpans) -> Iterator[tuple[int, int, int]]:
    """Sentences, or runs of words of those that are too long: (start, end, number of tokens)."""
    starts = [start for start, _ in token_spans(text)]
    for start, end in sentence_spans(text):
        first, last = bisect_left(starts, start), bisect_left(starts, end)
        if last - first <= budget:
            yield start, end, last - first
        else:
            yield from _runs(text, start, end, budget, token_spans)


def _runs(text: str, start: int, end: int, budget: int, token_spans: TokenSpans) -> Iterator[tuple[int, int, int]]:
    """Cut a sentence that is too long, between words where it can be, into runs of at most ``budget`` tokens."""
    while start < end:
        # a window bounds the work; it is tokenised anew because the rest of a word has other tokens than the word
        window = text[start : min(end, start + 16 * budget)]
        tokens = token_spans(window)
        cut = len(window)
        if len(tokens) > budget:
            last = _cut_before(tokens, budget)
            cut = tokens[last][0]
            while last > 1 and len(token_spans(window[:cut])) > budget:
                last -= 1
                cut = tokens[last][0]
            cut = max(cut, 1)
        piece = window[:cut].rstrip()
        if piece:
            yield start, start + len(piece), len(token_spans(piece))
        start += cut


def _cut_before(tokens: list[tuple[int, int]], budget: int) -> int:
    """The token that the next run begins with: the last one that begins a word, if the run stays half full."""
    for number in range(budget, budget // 2, -1):
        if tokens[number][0] > tokens[number - 1][1]:
            return number
    return budget


def _pack(pieces: Iterable[tuple[int, int, int]], budget: int) -> Iterator[tuple[int, int]]:
    """Join neighbouring pieces while they fit the budget."""
    current: tuple[int, int, int] | None = None
    for start, end, tokens in pieces:
        if current and current[2] + tokens <= budget:
            current = (current[0], end, current[2] + tokens)
            continue
        if current:
            yield current[0], current[1]
        current = (start, end, tokens)
    if current:
        yield current[0], current[1]

"""A query that is longer than the encoder reads: a page of text, a whole judgement. It is read in passages."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from bicross.index.embedder import Embedder

#: The most passages that a query is read in; a longer one is read in so many places, evenly spread.
PASSAGES = 16

#: Tokens that a passage leaves free: cut within a word, it can have a few more when it is read by itself.
_MARGIN = 8


def cut(text: str, spans: Sequence[tuple[int, int]], embedder: Embedder) -> tuple[list[str], bool]:
    """The passages of a query, and whether they cover it. ``spans`` are its tokens, as ``embedder`` gives them."""
    prompts = embedder.document_prompt, embedder.query_prompt
    other, prompt = (len(embedder.token_spans(p)) if p else 0 for p in prompts)
    room = embedder.chunk_tokens + other - prompt
    if len(spans) <= room:
        return [text], True
    size = max(room - _MARGIN, 1)
    passages = min(-(-len(spans) // size), PASSAGES)
    starts = np.linspace(0, len(spans) - size, passages).round().astype(int).tolist()
    return [text[spans[s][0] : spans[s + size - 1][1]] for s in starts], passages * size >= len(spans)


def spelled_share(text: str, spans: Sequence[tuple[int, int]]) -> float:
    """The share of the letters and digits of a text that are tokens by themselves."""
    alone = sum(end - start == 1 and text[start].isalnum() for start, end in spans)
    return min(alone / max(sum(map(str.isalnum, text)), 1), 1.0)

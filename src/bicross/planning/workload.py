"""What there is to do: how many documents, and how long their chunks are."""

from __future__ import annotations

import math
from dataclasses import dataclass

#: WordPiece tokens that an English word becomes: 1.1 to 1.6 in the collections that were looked at, more where words
#: are technical.
TOKENS_PER_WORD = 1.3


@dataclass(frozen=True)
class Workload:
    """Documents and what a sample says of them.

    Attributes:
        documents: How many there are to be.
        sampled: Documents that were looked at.
        chunk_tokens: Tokens of each of their chunks, special ones not counted.
        query_tokens: Of a usual query, likewise.
        read_s: Seconds to read a document from its file.
    """

    documents: int
    sampled: int
    chunk_tokens: tuple[float, ...]
    query_tokens: float
    read_s: float = 0.0

    @property
    def chunks(self) -> int:
        """Chunks of all documents, as many a document as in the sample; rounded up."""
        return -(-self.documents * len(self.chunk_tokens) // self.sampled)

    @property
    def tokens_per_chunk(self) -> float:
        return sum(self.chunk_tokens) / len(self.chunk_tokens)


def assumed(documents: int, words: float, query_tokens: float, most: int) -> Workload:
    """Documents that all have the same number of words, cut into chunks of ``most`` tokens at most."""
    tokens = max(1.0, words * TOKENS_PER_WORD)
    chunks = math.ceil(tokens / most)
    return Workload(documents, 1, (tokens / chunks,) * chunks, query_tokens)

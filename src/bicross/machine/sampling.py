"""Look at some of a user's documents, so that a plan is made for their lengths and not for a guess."""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from time import perf_counter

from bicross.documents import Document, chunk_document, read_documents
from bicross.documents.chunking import TokenSpans
from bicross.errors import UsageError

#: Documents that are read at most, seconds that are spent on it, and documents of those that are chunked.
READ, SECONDS, CHUNKED = 5000, 5.0, 400


@dataclass(frozen=True)
class Sample:
    """What some documents are like.

    Attributes:
        documents: That were chunked.
        chunk_tokens: Tokens of each chunk with its title, without special tokens.
        read_s: Seconds to read a document from its file.
        all_of_them: How many there are, if all were read.
    """

    documents: int
    chunk_tokens: tuple[float, ...]
    read_s: float
    all_of_them: int | None


def sample_documents(paths: Sequence[str | Path], most_tokens: int, token_spans: TokenSpans) -> Sample:
    """Read documents, and chunk some of them, drawn at random (the same ones each time).

    What cannot be read is passed over.

    Args:
        paths: Files and folders, see ``read_documents``.
        most_tokens: Of a chunk.
        token_spans: The bi-encoder's tokeniser.

    Raises:
        UsageError: A path is wrong, or no document there has text.
    """
    documents = read_documents(paths, failed=lambda failure: None)
    found: list[Document] = []
    started = perf_counter()
    whole = True
    for document in documents:
        found.append(document)
        if len(found) >= READ or perf_counter() - started > SECONDS:
            whole = next(documents, None) is None
            break
    read_s = (perf_counter() - started) / max(1, len(found))
    chosen = found if len(found) <= CHUNKED else random.Random(0).sample(found, CHUNKED)
    chunks = [chunk for document in chosen for chunk in chunk_document(document, most_tokens, token_spans)]
    if not chunks:
        raise UsageError(f"{paths[0]}: no document with text to plan with")
    tokens = tuple(float(min(most_tokens, len(token_spans(chunk.embedded_text)))) for chunk in chunks)
    return Sample(len(chosen), tokens, read_s, len(found) if whole else None)

"""Documents in, batches out: chunk, embed and store what is new or different."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from bicross.documents import Document, chunk_document
from bicross.errors import DocumentError
from bicross.index.records import EncodedDocument

if TYPE_CHECKING:
    from bicross.index.index import Index

#: Chunks that are embedded and committed together: all of a batch's documents are stored whole, or none.
BATCH_CHUNKS = 512


@dataclass(frozen=True)
class AddReport:
    """What one ``add`` did.

    Attributes:
        new, changed, unchanged: Documents.
        chunks, tokens: What was embedded.
        truncated: Chunks that the model did not read to the end (titles can be longer than it reads).
        empty: Ids of documents with neither text nor title; they cannot be found, so they are left out. Of many, the
            first hundred.
        emptied: How many of those there were.
    """

    new: int = 0
    changed: int = 0
    unchanged: int = 0
    chunks: int = 0
    tokens: int = 0
    truncated: int = 0
    empty: tuple[str, ...] = ()
    emptied: int = 0


class Adding:
    """One ``add``: documents in, batches out."""

    def __init__(self, index: Index, committed: Callable[[int], None]) -> None:
        self.index = index
        self.committed = committed
        self.counts = dict.fromkeys(("new", "changed", "unchanged", "chunks", "tokens", "truncated", "emptied"), 0)
        self.empty: list[str] = []
        self.batch: list[EncodedDocument] = []
        self.texts = 0

    def run(self, documents: Iterable[Document]) -> AddReport:
        try:
            for document in documents:
                self.take(document)
        except DocumentError:
            self.commit()
            raise
        self.commit()
        return AddReport(**self.counts, empty=tuple(self.empty))

    def take(self, document: Document) -> None:
        index, fingerprint = self.index, self.index.manifest.fingerprint
        if any(document.id == other.id for other in self.batch):
            self.commit()  # the same id again: the later one wins, so the earlier must be stored first
        content_hash = document.content_hash
        before = index.catalogue.find(document.id)
        if before and before.content_hash == content_hash:
            self.counts["unchanged"] += 1
            if before.source != document.source:
                index.catalogue.set_source(document.id, document.source)
            return
        chunks = chunk_document(document, fingerprint.chunk_tokens, index.embedder.token_spans, fingerprint.overlap)
        if not chunks:
            self.counts["emptied"] += 1
            self.empty += [document.id] if len(self.empty) < 100 else []
            index.delete(document.id)  # an older version with text must not be found any more
            return
        if self.batch and self.texts + len(chunks) > BATCH_CHUNKS:
            self.commit()
        self.counts["changed" if before else "new"] += 1
        self.texts += len(chunks)
        nothing = np.empty((0, index.embedder.dimension), np.float32)
        self.batch.append(
            EncodedDocument(document.id, content_hash, chunks, nothing, (), document.metadata, document.source)
        )

    def commit(self) -> None:
        """Embed and store what has gathered."""
        if not self.batch:
            return
        embedder = self.index.embedder
        texts = [chunk.embedded_text for document in self.batch for chunk in document.chunks]
        encoded = embedder.encode(texts, embedder.document_prompt, "documents", False)
        if not np.isfinite(encoded.embeddings).all():
            raise DocumentError(f"{embedder.name} gave an embedding with NaN; the model cannot be used for an index")
        ready, row = [], 0
        for document in self.batch:
            rows = slice(row, row + len(document.chunks))
            truncated = encoded.truncated[rows].tolist()
            ready.append(replace(document, vectors=encoded.embeddings[rows], truncated=truncated))
            row = rows.stop
        self.index.store(ready)
        self.counts["chunks"] += len(texts)
        self.counts["tokens"] += encoded.tokens
        self.counts["truncated"] += int(encoded.truncated.sum())
        self.committed(len(self.batch))
        self.batch, self.texts = [], 0

"""Verify that an index is whole, and put right what is not."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import dataclass, replace

import numpy as np

from bicross.documents.document import short
from bicross.index.catalogue import Entry
from bicross.index.index import Index
from bicross.index.lexical import TermWeights, document_weights
from bicross.index.records import EncodedDocument, Stored, Version, digest

#: Problems that a report names; more are counted.
MOST_NAMED = 100


@dataclass(frozen=True)
class CheckReport:
    """What a check found.

    Attributes:
        documents, chunks: Looked at.
        problems: One line each; the first hundred.
        found: How many problems there were.
        repaired: How many were put right.
        lost: Ids of documents whose text is damaged. A repair removes them; index their files again.
    """

    documents: int
    chunks: int
    problems: tuple[str, ...]
    found: int
    repaired: int
    lost: tuple[str, ...]

    @property
    def whole(self) -> bool:
        """Nothing is wrong, or nothing any more."""
        return self.found == self.repaired


def check(
    index: Index, *, repair: bool = False, checked: Callable[[int], None] = lambda documents: None
) -> CheckReport:
    """Compare the catalogue with the engine, and both with the checksums that were taken when a document was stored.

    Every document must have all its chunks, with the texts, metadata and vectors that were stored, and with the
    lexical weights that follow from the text; no chunk may belong to no document; counts must agree. A repair removes
    chunks that belong to none, computes weights and vectors anew from a text that is whole, and removes documents of
    which the text is not.

    Args:
        index: Open.
        repair: Put right what is wrong.
        checked: Called with the number of documents looked at since the last call.
    """
    with index.changing() if repair else nullcontext():
        return _check(index, repair, checked)


def _check(index: Index, repair: bool, checked: Callable[[int], None]) -> CheckReport:
    problems: list[str] = []
    lost: list[str] = []
    found = repaired = documents = chunks = 0

    def note(problem: str, mended: bool) -> None:
        nonlocal found, repaired
        found += 1
        repaired += mended
        if len(problems) < MOST_NAMED:
            problems.append(problem)

    for line in index.catalogue.problems():
        note(f"catalogue: {line}", False)
    for entry in index.catalogue.entries():
        documents += 1
        chunks += entry.chunks
        problem = _problem(index, entry)
        if problem is not None and index.catalogue.find(entry.id) == entry:  # else it was just being changed
            mended = repair and _mend(index, entry)
            if repair and not mended:
                index.delete(entry.id)
                lost.append(entry.id)
            note(f"document {short(entry.id)}: {problem}", repair)
        checked(1)
    orphans: list[Version] = []
    coming = set() if repair else {entry.id for entry, _, _ in index.catalogue.pending()}
    for document_id, content_hash, number in index.engine.names():
        known = index.catalogue.find(document_id)
        if document_id not in coming and (
            known is None or known.content_hash != content_hash or number >= known.chunks
        ):
            orphans.append(Version(document_id, content_hash, number + 1))
            note(f"chunk {number} of {short(document_id)}: belongs to no stored document", repair)
    if repair and orphans:
        index.engine.remove(orphans)
        index.engine.flush()
    if not found and index.engine.count() != chunks:
        note(f"the engine counts {index.engine.count()} chunks, the catalogue {chunks}", False)
    return CheckReport(documents, chunks, tuple(problems), found, repaired, tuple(lost))


def _problem(index: Index, entry: Entry) -> str | None:
    items = index.engine.read(entry.version, vectors=True)
    if len(items) != entry.chunks:
        return f"{entry.chunks - len(items)} of {entry.chunks} chunks are missing"
    language = index.manifest.fingerprint.lexical_language
    for item in items:
        weights = document_weights(item.chunk.embedded_text, language)
        if item.terms is None or not _equal(item.terms, weights):
            return f"chunk {item.number}: its words do not belong to its text"
    texts, _, vectors = digest(items).partition(":")
    texts_then, _, vectors_then = entry.digest.partition(":")
    if texts != texts_then:
        return "its text or metadata is not what was stored"
    if vectors != vectors_then:
        return "its vectors are not what was stored"
    return None


def _equal(one: TermWeights, other: TermWeights) -> bool:
    return np.array_equal(one.terms, other.terms) and np.array_equal(one.weights, other.weights)


def _mend(index: Index, entry: Entry) -> bool:
    """Embed a document anew from its stored text, if that is whole."""
    items = index.engine.read(entry.version, vectors=True)
    if not _text_is_whole(items, entry):
        return False
    embedder = index.embedder
    encoded = embedder.encode(
        [item.chunk.embedded_text for item in items], embedder.document_prompt, "documents", False
    )
    document = EncodedDocument(
        entry.id,
        entry.content_hash,
        [item.chunk for item in items],
        encoded.embeddings,
        [item.truncated for item in items],
        items[0].metadata,
        entry.source,
    )
    index.store([document])
    return True


def _text_is_whole(items: list[Stored], entry: Entry) -> bool:
    bare = [replace(item, vector=None, terms=None) for item in items]
    return len(items) == entry.chunks and digest(bare).partition(":")[0] == entry.digest.partition(":")[0]

"""Bring an index to another place, from a folder to a cluster or back, document by document, without embedding."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np

from bicross.documents.document import short
from bicross.errors import CorpusError
from bicross.index.catalogue import Entry
from bicross.index.fitted import FILE as FITTED
from bicross.index.fitted import read_parts, write_parts
from bicross.index.index import Index
from bicross.index.records import EncodedDocument, digest

#: Chunks that are handed over together.
BATCH = 2048


@dataclass(frozen=True)
class CopyReport:
    """What a copy did.

    Attributes:
        documents, chunks: That the copy has now of the original.
        copied: Documents that were handed over; the others were there already.
        others: Documents of the copy that the original has not.
    """

    documents: int
    chunks: int
    copied: int
    others: int


def copy(
    source: Index,
    target: Index,
    *,
    copied: Callable[[int], None] = lambda documents: None,
    verified: Callable[[int], None] = lambda documents: None,
) -> CopyReport:
    """Bring every document of one index into another, with its vectors, and what was fitted; then read all of it back.

    Documents that the copy has with the same checksum are passed over, so the same call again after an interruption
    does what is missing.

    Args:
        source: Open.
        target: Open, made with the same model and settings.
        copied: Called with the number of documents that are safe since the last call.
        verified: Called with the number of documents read back since the last call.

    Raises:
        FingerprintError: They were made with other models or settings.
        CorpusError: The original is damaged, or what was read back differs. What was copied before is stored.
        StorageError, ClusterError: The copy cannot be written. What was copied before is stored.
    """
    target.manifest.check(source.manifest.model, source.manifest.fingerprint, target.name)
    number = 0
    batch: list[EncodedDocument] = []
    chunks = 0

    def hand_over() -> None:
        nonlocal batch, chunks, number
        target.store(batch)
        copied(len(batch))
        number += len(batch)
        batch, chunks = [], 0

    with target.changing():
        for entry in target.catalogue.ahead(source.catalogue.entries()):
            there = target.catalogue.find(entry.id)
            if there is not None and there.digest == entry.digest:
                continue
            batch.append(_read(source, entry))
            chunks += entry.chunks
            if chunks >= BATCH:
                hand_over()
        if batch:
            hand_over()
    target.optimise()
    parts = read_parts(source.path / FITTED)
    if parts and parts != read_parts(target.path / FITTED):
        write_parts(target.path / FITTED, parts)
        target.share_fitted()
    documents = whole = 0
    for entry in _verified(source, target):
        documents += 1
        whole += entry.chunks
        verified(1)
    return CopyReport(documents, whole, number, target.count().documents - documents)


def _read(index: Index, entry: Entry) -> EncodedDocument:
    items = index.engine.read(entry.version, vectors=True)
    if digest(items) != entry.digest:
        raise CorpusError(f"{index.name}: {short(entry.id)} is damaged; type: bicross check {index.name}")
    vectors = [item.vector for item in items if item.vector is not None]
    return EncodedDocument(
        entry.id,
        entry.content_hash,
        [item.chunk for item in items],
        np.stack(vectors),
        [item.truncated for item in items],
        items[0].metadata,
        entry.source,
    )


def _verified(source: Index, target: Index) -> Iterator[Entry]:
    """The entries of the original, each once its copy was read back and is the same, bit by bit."""
    for entry in source.catalogue.entries():
        there = target.catalogue.find(entry.id)
        if there is None or digest(target.engine.read(there.version, vectors=True)) != entry.digest:
            raise CorpusError(
                f"{target.name}: {short(entry.id)} is not as in {source.name}; type the same command again, and "
                f"bicross check {target.name}"
            )
        yield entry

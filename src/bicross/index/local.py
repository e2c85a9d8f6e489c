"""An index in a folder: Qdrant Edge in this process."""

from __future__ import annotations

import os
import shutil
import uuid
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any

import numpy as np
import numpy.typing as npt
import qdrant_edge as qdrant

from bicross.documents import Chunk, Document, chunk_document
from bicross.errors import CorpusError, DocumentError, StorageError, UsageError
from bicross.index.embedder import Embedder
from bicross.index.lock import FILES as LOCK_FILES
from bicross.index.lock import IndexLock
from bicross.index.manifest import FILE, Fingerprint, Manifest, read_manifest, write_manifest

#: Up to this many chunks every search compares with all of them; above, HNSW finds the neighbours.
EXACT_UP_TO = 50_000

#: Chunks that are embedded and committed together: all of a batch's documents are stored whole, or none.
BATCH_CHUNKS = 512

#: Room that must be free before a batch is written: the engine grows its files in steps and must never hit the end.
_FREE_BYTES = 96 * 2**20

#: The most chunks that one search may ask for.
MOST_CHUNKS = 1_000_000

_SHARD = "shard"
_VECTOR = "dense"
_NAMESPACE = uuid.UUID("7d0c5a4e-2f0b-5b53-9f0e-5c5b8a8e6f11")


@dataclass(frozen=True)
class Candidate:
    """A chunk that the first stage found. ``score`` is its similarity, cosine for normalised encoders."""

    chunk: Chunk
    score: float
    truncated: bool
    metadata: Mapping[str, Any]


@dataclass(frozen=True)
class AddReport:
    """What one ``add`` did.

    Attributes:
        new, changed, unchanged: Documents.
        chunks, tokens: What was embedded.
        truncated: Chunks that the model did not read to the end (titles can be longer than it reads).
        empty: Ids of documents with neither text nor title; they cannot be found, so they are left out.
    """

    new: int = 0
    changed: int = 0
    unchanged: int = 0
    chunks: int = 0
    tokens: int = 0
    truncated: int = 0
    empty: tuple[str, ...] = ()


@dataclass(frozen=True)
class IndexCount:
    """How many documents and chunks are stored."""

    documents: int
    chunks: int


@dataclass(frozen=True)
class _Prepared:
    """A document on its way into the index."""

    document: Document
    content_hash: str
    chunks: list[Chunk]


class LocalIndex:
    """A corpus in a folder, open in this process. Use ``create``, ``open`` or ``bicross.open``; a context manager.

    Searches may run in several threads. Adding is for one thread.
    """

    def __init__(
        self, path: Path, manifest: Manifest, embedder: Embedder, shard: qdrant.EdgeShard, lock: IndexLock
    ) -> None:
        self.path = path
        self.manifest = manifest
        self.embedder = embedder
        self._shard = shard
        self._lock = lock
        self._stored: dict[str, tuple[str, int]] | None = None  # document id -> (hash, chunks), read when first needed

    # -- opening and closing -------------------------------------------------------------------------------------

    @staticmethod
    def create(path: str | Path, embedder: Embedder, *, chunk_tokens: int | None = None) -> LocalIndex:
        """Make an empty index in a folder that does not exist or is empty.

        Raises:
            UsageError: The folder holds something else, or ``chunk_tokens`` does not suit the encoder.
            IndexLockedError, StorageError: See ``open``; no room for an index.
        """
        path = Path(path)
        manifest = Manifest(_findable(embedder.name), Fingerprint.of(embedder, chunk_tokens))
        leftovers = {_SHARD, *LOCK_FILES, "manifest.json.new"}  # of a creation that was interrupted
        try:
            path.mkdir(parents=True, exist_ok=True)
            foreign = sorted(p.name for p in path.iterdir() if p.name not in leftovers)
        except OSError as error:
            raise UsageError(f"{path}: cannot be made a folder ({error.strerror})") from error
        if FILE in foreign:
            raise UsageError(f"{path}: there is an index already; open it with bicross.open, or choose another folder")
        if foreign:
            raise UsageError(f"{path}: the folder is not empty ({foreign[0]}) and not an index; choose another")
        lock = IndexLock(path)
        try:
            _check_room(path, 0)
            shutil.rmtree(path / _SHARD, ignore_errors=True)
            config = qdrant.EdgeConfig(
                vectors={_VECTOR: qdrant.EdgeVectorParams(size=embedder.dimension, distance=qdrant.Distance.Dot)},
                optimizers=qdrant.EdgeOptimizersConfig(indexing_threshold=EXACT_UP_TO * embedder.dimension * 4 // 1024),
            )
            with _engine_errors(path):
                shard = qdrant.EdgeShard.create(str(path / _SHARD), config)
                shard.update(qdrant.UpdateOperation.create_field_index("document_id", qdrant.PayloadSchemaType.Keyword))
            write_manifest(path, manifest)
        except BaseException:
            lock.release()
            raise
        return LocalIndex(path, manifest, embedder, shard, lock)

    @staticmethod
    def open(path: str | Path, embedder: Embedder, *, chunk_tokens: int | None = None) -> LocalIndex:
        """Open the index in a folder with the encoder that it was made with.

        Raises:
            UsageError: No such folder.
            CorpusError: Not an index, of a newer format, or damaged.
            FingerprintError: It was made with another encoder or other settings.
            IndexLockedError: Another process has it open.
        """
        path = Path(path)
        manifest = read_manifest(path)
        wanted = manifest.fingerprint.chunk_tokens if chunk_tokens is None else chunk_tokens
        given = Fingerprint(dict(embedder.identity), wanted)
        manifest.check(embedder.name, given, path)
        lock = IndexLock(path)
        try:
            if not (path / _SHARD).is_dir():
                raise CorpusError(f"{path}: damaged: its folder {_SHARD!r} is missing; index the documents again")
            with _engine_errors(path):
                shard = qdrant.EdgeShard.load(str(path / _SHARD))
        except BaseException:
            lock.release()
            raise
        return LocalIndex(path, manifest, embedder, shard, lock)

    def close(self) -> None:
        """Write everything to disk and let other processes have the folder. Calling it twice does no harm."""
        if self._lock.held:
            try:
                with _engine_errors(self.path):
                    self._shard.flush()
                    self._shard.close()
            finally:
                self._lock.release()

    def __enter__(self) -> LocalIndex:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    # -- changing ------------------------------------------------------------------------------------------------

    def add(
        self, documents: Iterable[Document], *, committed: Callable[[int], None] = lambda documents: None
    ) -> AddReport:
        """Chunk, embed and store documents, batch by batch; each batch is on disk before the next begins.

        A document that is stored already with the same content is passed over, one with other content is replaced;
        so the same call again after an interruption does what is missing.

        Args:
            documents: Any iterable; it is read as it goes.
            committed: Called after each batch with the number of documents that are safe since the last call.

        Raises:
            DocumentError: From the iterable. What was committed before stays.
            StorageError: The disk is full, or writing failed. What was committed before stays.
        """
        stored = self._read_stored()
        counts = {"new": 0, "changed": 0, "unchanged": 0, "chunks": 0, "tokens": 0, "truncated": 0}
        batch: list[_Prepared] = []
        empty: list[str] = []

        def commit() -> None:
            if batch:
                tokens, truncated = self._commit(batch)
                counts["tokens"] += tokens
                counts["truncated"] += truncated
                for item in batch:
                    counts["changed" if item.document.id in stored else "new"] += 1
                    counts["chunks"] += len(item.chunks)
                    stored[item.document.id] = (item.content_hash, len(item.chunks))
                committed(len(batch))
                batch.clear()

        try:
            for document in documents:
                if any(document.id == other.document.id for other in batch):
                    commit()  # the same id again: the later one wins, so the earlier must be stored first
                content_hash = document.content_hash
                if stored.get(document.id, ("", 0))[0] == content_hash:
                    counts["unchanged"] += 1
                    continue
                chunks = chunk_document(document, self.manifest.fingerprint.chunk_tokens, self.embedder.token_spans)
                if not chunks:
                    empty.append(document.id)
                    self._forget(document.id)  # an older version with text must not be found any more
                    continue
                if batch and sum(len(item.chunks) for item in batch) + len(chunks) > BATCH_CHUNKS:
                    commit()
                batch.append(_Prepared(document, content_hash, chunks))
        except DocumentError:
            commit()
            raise
        commit()
        if counts["chunks"]:
            self._optimise()
        return AddReport(**counts, empty=tuple(empty))

    def _commit(self, batch: list[_Prepared]) -> tuple[int, int]:
        """Embed and store one batch: (tokens read, chunks that the model did not read to the end)."""
        texts = [chunk.embedded_text for item in batch for chunk in item.chunks]
        encoded = self.embedder.encode(texts, self.embedder.document_prompt, "documents", False)
        _check_room(self.path, 4 * (encoded.embeddings.nbytes + 4 * sum(map(len, texts))))
        row = iter(zip(encoded.embeddings, encoded.truncated, strict=True))
        points = [_point(item, number, *next(row)) for item in batch for number in range(len(item.chunks))]
        stored = self._read_stored()
        surplus: list[int | uuid.UUID | str] = [
            _point_id(f"{item.document.id}#{number}")
            for item in batch
            for number in range(len(item.chunks), stored.get(item.document.id, ("", 0))[1])
        ]
        with _engine_errors(self.path):
            self._shard.update(qdrant.UpdateOperation.upsert_points(points))
            if surplus:
                self._shard.update(qdrant.UpdateOperation.delete_points(surplus))
            self._shard.flush()
        return encoded.tokens, int(encoded.truncated.sum())

    def _forget(self, document_id: str) -> None:
        if document_id in self._read_stored():
            here = qdrant.Filter(must=[qdrant.FieldCondition("document_id", match=qdrant.MatchValue(document_id))])
            with _engine_errors(self.path):
                self._shard.update(qdrant.UpdateOperation.delete_points_by_filter(here))
                self._shard.flush()
            del self._read_stored()[document_id]

    def _read_stored(self) -> dict[str, tuple[str, int]]:
        """Hash and number of chunks of every document that is stored whole.

        A document of which a crash left a part, or old chunks beside new ones, has the hash "": it is stored again.
        """
        if self._stored is None:
            seen: dict[str, dict[tuple[str, int], int]] = {}
            for payload in self._payloads(["document_id", "hash", "chunks"]):
                versions = seen.setdefault(payload["document_id"], {})
                version = (payload["hash"], payload["chunks"])
                versions[version] = versions.get(version, 0) + 1
            self._stored = {}
            for document_id, versions in seen.items():
                (content_hash, chunks), found = max(versions.items(), key=lambda item: item[0][1])
                whole = len(versions) == 1 and found == chunks
                self._stored[document_id] = (content_hash if whole else "", chunks)
        return self._stored

    def _payloads(self, fields: list[str]) -> Iterator[dict[str, Any]]:
        offset: Any = None
        while True:
            request = qdrant.ScrollRequest(offset=offset, limit=10_000, with_payload=fields, with_vector=False)
            with _engine_errors(self.path):
                records, offset = self._shard.scroll(request)
            yield from (dict(record.payload or {}) for record in records)
            if offset is None:
                return

    def _optimise(self) -> None:
        """Build HNSW where the corpus has outgrown exact search."""
        if self.count().chunks > EXACT_UP_TO:
            _check_room(self.path, self.bytes_on_disk())
            with _engine_errors(self.path):
                self._shard.optimize()
                self._shard.flush()

    # -- reading -------------------------------------------------------------------------------------------------

    def search(self, query: str, *, top_k: int = 10) -> list[Candidate]:
        """The first stage alone: the chunks nearest to the query, best first; of those, equal scores in order of id.

        Raises:
            UsageError: The query is empty or ``top_k`` is below 1.
        """
        encoded = self.embedder.encode([query], self.embedder.query_prompt, "queries", False)
        return self.nearest(encoded.embeddings[0].tolist(), top_k)

    def nearest(self, vector: list[float], top_k: int) -> list[Candidate]:
        """The chunks nearest to an embedding of length ``dimension``; see ``search``."""
        if not 1 <= top_k <= MOST_CHUNKS:
            raise UsageError(f"top_k is {top_k}; it must be between 1 and {MOST_CHUNKS}")
        request = qdrant.QueryRequest(
            limit=top_k,
            query=qdrant.Query.Nearest(vector, _VECTOR),
            with_payload=True,
            params=qdrant.SearchParams(exact=self._chunk_count() <= EXACT_UP_TO),
        )
        with _engine_errors(self.path):
            points = self._shard.query(request)
        found = [_candidate(dict(point.payload or {}), float(point.score)) for point in points]
        return sorted(found, key=lambda c: (-c.score, c.chunk.document_id, c.chunk.start))

    def get(self, document_id: str) -> list[Candidate]:
        """The stored chunks of a document in order, each with score 0; empty when there is no such document."""
        here = qdrant.Filter(must=[qdrant.FieldCondition("document_id", match=qdrant.MatchValue(document_id))])
        request = qdrant.ScrollRequest(limit=1_000_000, filter=here, with_payload=True, with_vector=False)
        with _engine_errors(self.path):
            records, _ = self._shard.scroll(request)
        return sorted((_candidate(dict(r.payload or {}), 0.0) for r in records), key=lambda c: c.chunk.start)

    def count(self) -> IndexCount:
        """How many documents and chunks are stored."""
        first = qdrant.Filter(must=[qdrant.FieldCondition("number", match=qdrant.MatchValue(0))])
        with _engine_errors(self.path):
            documents = self._shard.count(qdrant.CountRequest(filter=first, exact=True))
        return IndexCount(documents, self._chunk_count())

    def bytes_on_disk(self) -> int:
        """Bytes that the index takes; the engine's files are sparse, so their lengths add up to more."""
        return sum(_allocated(f.stat()) for f in self.path.rglob("*") if f.is_file())

    def _chunk_count(self) -> int:
        with _engine_errors(self.path):
            return int(self._shard.info().points_count)


def _allocated(stat: os.stat_result) -> int:
    return stat.st_blocks * 512 if hasattr(stat, "st_blocks") else stat.st_size


def _point_id(chunk_id: str) -> str:
    return str(uuid.uuid5(_NAMESPACE, chunk_id))


def _point(item: _Prepared, number: int, vector: npt.NDArray[np.float32], truncated: np.bool_) -> qdrant.Point:
    chunk = item.chunks[number]
    payload = {
        "document_id": item.document.id,
        "hash": item.content_hash,
        "number": number,
        "chunks": len(item.chunks),
        "title": chunk.title,
        "text": chunk.text,
        "start": chunk.start,
        "end": chunk.end,
        "truncated": bool(truncated),
        "metadata": dict(item.document.metadata),
    }
    return qdrant.Point(_point_id(chunk.id), {_VECTOR: vector.tolist()}, payload)


def _candidate(payload: dict[str, Any], score: float) -> Candidate:
    document_id = payload["document_id"]
    chunk = Chunk(
        f"{document_id}#{payload['number']}",
        document_id,
        payload["text"],
        int(payload["start"]),
        int(payload["end"]),
        payload["title"],
    )
    return Candidate(chunk, score, bool(payload["truncated"]), payload.get("metadata") or {})


def _findable(model: str) -> str:
    """A name as it is; a folder as an absolute path, so that the index opens from anywhere."""
    folder = Path(model)
    return str(folder.resolve()) if (folder / "config.json").is_file() else model


def _check_room(path: Path, more: int) -> None:
    """The engine maps files into memory, where a full disk kills the process: so ask before writing.

    Raises:
        StorageError: Less is free than the write may need.
    """
    free, needed = shutil.disk_usage(path).free, _FREE_BYTES + more
    if free < needed:
        raise StorageError(
            f"{path}: the disk is nearly full ({free / 2**20:.0f} MiB free, {needed / 2**20:.0f} MiB needed to go on); "
            "what was committed before is safe; make room and run the same command again"
        )


@contextmanager
def _engine_errors(path: Path) -> Iterator[None]:
    """One line for whatever the engine raises, its panics included."""
    try:
        yield
    except BaseException as error:
        is_panic = type(error).__name__ == "PanicException"
        if not isinstance(error, Exception) and not is_panic:
            raise
        if isinstance(error, CorpusError):
            raise
        message = str(error).splitlines()[0] if str(error) else type(error).__name__
        if "No space left" in str(error) or "StorageFull" in str(error):
            raise StorageError(f"{path}: the disk is full; make room and run the same command again") from error
        raise CorpusError(f"{path}: the index engine failed: {message}") from error

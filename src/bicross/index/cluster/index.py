"""An index on a Qdrant server or cluster: the same data as in a folder, in two collections.

Searches go by the catalogue: a chunk counts when its document is entered with its content. So who reads need not know
what is being written, and what a writer left that died is not found. One process writes at a time, see ``lease.py``.
"""

from __future__ import annotations

import hashlib
import os
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import asdict, replace
from itertools import count
from pathlib import Path
from typing import Any, Self

from qdrant_client import models

from bicross.documents.document import short
from bicross.errors import BicrossError, ClusterError, CorpusError, StorageError, UsageError
from bicross.index.catalogue import Entry
from bicross.index.cluster.address import Address, Layout
from bicross.index.cluster.chunks import ClusterChunks
from bicross.index.cluster.connection import Connection, is_missing
from bicross.index.cluster.documents import ClusterCatalogue
from bicross.index.cluster.lease import Lease
from bicross.index.embedder import Embedder
from bicross.index.fields import FieldType
from bicross.index.filters import Condition
from bicross.index.first_stage import FirstStage
from bicross.index.fitted import FILE as FITTED
from bicross.index.fitted import read_parts, write_parts
from bicross.index.index import MOST_CHUNKS, Index, IndexCount, IndexStats, unscored
from bicross.index.manifest import FORMAT, Fingerprint, Manifest, findable, manifest_of
from bicross.index.records import Version
from bicross.index.retrieval import Candidate, Fusion, Question, Retrieved
from bicross.index.shard import CANDIDATES, EXACT_UP_TO, LINKS, scanned

#: A document whose chunks are stored and which is not entered; content hash and chunks of what it replaces, if any.
Begun = tuple[Entry, str, int]

#: Seconds to wait for one's turn to write: longer than a lease of one who died.
PATIENCE = 60.0

#: Parts of a shard, each with a graph of its own, which can be searched at once and are joined as more come.
SEGMENTS = 2

#: In the metadata of the collection: what the vectors were made with, and what was fitted.
_MANIFEST, _FITTED = "bicross", "fitted"


class ClusterIndex(Index):
    """A corpus on a cluster. Use ``create``, ``open`` or ``bicross.open``.

    What ``bicross calibrate`` fits is kept with the collection; ``path`` is a folder of this machine with a copy of it.
    Who has begun to write is the only one until it closes the index, or, where it ``takes_turns``, until that is done.
    """

    catalogue: ClusterCatalogue
    engine: ClusterChunks

    def __init__(self, connection: Connection, manifest: Manifest, embedder: Embedder) -> None:
        self.connection = connection
        self._lease = Lease(connection)
        catalogue = ClusterCatalogue(connection)
        super().__init__(
            str(connection.address),
            _folder(connection.address),
            manifest,
            embedder,
            catalogue,
            ClusterChunks(connection),
        )
        self.fetch_fitted()

    # -- opening and closing -------------------------------------------------------------------------------------

    @staticmethod
    def create(
        address: Address,
        embedder: Embedder,
        *,
        chunk_tokens: int | None = None,
        overlap: int = 0,
        language: str = "en",
        layout: Layout | None = None,
    ) -> ClusterIndex:
        """Make an empty index of a name that is not taken.

        Raises:
            UsageError: The name is taken, or a setting does not suit the encoder or the cluster.
            ClusterError: The cluster does not answer, or failed.
        """
        fingerprint = Fingerprint.of(embedder, chunk_tokens, overlap=overlap, language=language)
        manifest = Manifest(findable(embedder.name), fingerprint)
        connection = Connection(address)
        try:
            if has_collection(connection):
                raise UsageError(f"{address}: there is a collection of this name already; choose another name")
            _make_collections(connection, embedder.dimension, manifest, layout or Layout())
            if read_manifest(connection) != manifest:
                raise UsageError(f"{address}: another process has just made an index of this name; choose another name")
            return ClusterIndex(connection, manifest, embedder)
        except BaseException:
            connection.close()
            raise

    @classmethod
    def open(
        cls,
        address: Address,
        embedder: Embedder,
        *,
        chunk_tokens: int | None = None,
        overlap: int | None = None,
        language: str | None = None,
    ) -> Self:
        """Open an index with the encoder that it was made with.

        Raises:
            UsageError: There is none of this name, or the key is wrong.
            CorpusError: A collection that bicross did not make, or of another format.
            FingerprintError: It was made with another encoder or other settings.
            ClusterError: The cluster does not answer, or failed.
        """
        connection = Connection(address)
        try:
            manifest = read_manifest(connection)
            settings = {"chunk_tokens": chunk_tokens, "overlap": overlap, "lexical_language": language}
            given: dict[str, Any] = {name: value for name, value in settings.items() if value is not None}
            asked = replace(manifest.fingerprint, encoder=dict(embedder.identity), **given)
            manifest.check(embedder.name, asked, str(address))
            return cls(connection, manifest, embedder)
        except BaseException:
            connection.close()
            raise

    def close(self) -> None:
        """Let other processes write. Calling it twice does no harm."""
        with self._writing:
            with suppress(BicrossError):  # the lease runs out by itself
                self._lease.release()
            self.engine.close()
            self.connection.close()

    # -- changing ------------------------------------------------------------------------------------------------

    @contextmanager
    def changing(self) -> Iterator[None]:
        """Held by who changes documents: no other process does."""
        with self._writing:
            outermost = not self._lease.held
            self._lease.take(PATIENCE if self.takes_turns else 0.0)
            prepared = not outermost
            try:
                if outermost:
                    self._prepare()
                    prepared = True
                yield
            finally:
                if outermost and (self.takes_turns or not prepared):
                    self.catalogue.remember(False)
                    self._lease.release()

    def _prepare(self) -> None:
        """Know what other processes have changed, and put right what one left that died."""
        self._fields = dict(self.catalogue.fields())  # type: ignore[arg-type]
        if not self._fields:
            _index_payloads(self.connection)  # its creation may have been interrupted before this
        self.catalogue.remember(True)
        self.drop_stored(self.catalogue.begun())
        self._recover()

    def _finish(self, expected: Iterable[str] = ()) -> None:
        self._lease.take()  # it may have run out while chunks were stored
        super()._finish(expected)

    def enter_stored(self, stored: Sequence[Begun], types: Iterable[tuple[str, FieldType]]) -> None:
        """Enter documents whose chunks are all stored, and remove what they replace."""
        if not stored:
            return
        with self.changing():
            self._index_fields(types)
            self.catalogue.enter([entry for entry, _, _ in stored])
            self.engine.remove(
                Version(entry.id, hash_before, chunks_before)
                for entry, hash_before, chunks_before in stored
                if hash_before and hash_before != entry.content_hash
            )
            self.catalogue.strike_out(entry.id for entry, _, _ in stored)

    def drop_stored(self, stored: Sequence[Begun]) -> None:
        """Let go of chunks whose documents will not be entered."""
        if not stored:
            return
        with self.changing():
            now = self.catalogue.current(entry.id for entry, _, _ in stored)
            hashes = {name: entry.content_hash for name, entry in now.items()}
            self.engine.remove(entry.version for entry, _, _ in stored if hashes.get(entry.id) != entry.content_hash)
            self.catalogue.strike_out(entry.id for entry, _, _ in stored)

    def optimise(self, *, building: Callable[[int], None] = lambda chunks: None) -> None:
        """Nothing: the nodes build their graphs by themselves, and answer meanwhile."""

    # -- searching -----------------------------------------------------------------------------------------------

    def _known_fields(self) -> dict[str, FieldType]:
        if self._lease.held:
            return super()._known_fields()
        return dict(self.catalogue.fields())  # type: ignore[arg-type] # another process may have brought new ones

    def retrieve(
        self,
        question: Question,
        limit: int,
        condition: Condition | None = None,
        dense_weight: float | None = None,
        fusion: Fusion | FirstStage | None = None,
    ) -> Retrieved:
        """Candidates for a question, see ``retrieval.py``: those whose documents are entered with their content."""
        asked = limit
        for attempt in count():
            found = super().retrieve(question, asked, condition, dense_weight, fusion)
            valid, replaced = self._entered(found.candidates)
            if replaced and attempt < 5:  # just now: the new content is there the next time
                time.sleep(0.02 * attempt)
                continue
            if len(valid) >= limit or len(found.candidates) < asked or asked == MOST_CHUNKS:
                return replace(found, candidates=valid[:limit])
            asked = min(2 * asked + 10, MOST_CHUNKS)
        raise AssertionError

    def _entered(self, candidates: list[Candidate]) -> tuple[list[Candidate], bool]:
        """Those whose documents are entered with their content; and whether one of the others has a newer one."""
        entries = self.catalogue.current({candidate.chunk.document_id for candidate in candidates})
        hashes = {name: entry.content_hash for name, entry in entries.items()}
        valid = [c for c in candidates if hashes.get(c.chunk.document_id) == c.content_hash]
        there = {c.chunk.document_id for c in valid}
        return valid, any(c.chunk.document_id in hashes.keys() - there for c in candidates)

    # -- reading -------------------------------------------------------------------------------------------------

    def every(self, condition: Condition | None = None) -> list[Candidate]:
        """Every stored chunk of which the metadata fit, in no order, each with score 0; all of them in memory."""
        return self._entered(super().every(condition))[0]

    def get(self, document_id: str) -> list[Candidate]:
        """The stored chunks of a document in order, each with score 0; empty when there is no such document."""
        while True:
            entry = self.catalogue.current([document_id]).get(document_id)
            found = self.engine.read(entry.version) if entry else []
            if entry is None or len(found) == entry.chunks:
                return [unscored(item) for item in found]
            if self.catalogue.current([document_id]).get(document_id) == entry:
                raise CorpusError(
                    f"{self.name}: chunks of {short(document_id)} are missing; type: bicross check {self.name}"
                )

    def count(self) -> IndexCount:
        """How many documents and chunks are stored."""
        return IndexCount(self.catalogue.count()[0], self.engine.count())

    def stats(self) -> IndexStats:
        """What the index holds; how many bytes, the nodes do not tell."""
        count = self.count()
        in_graph = (
            self.connection.call(lambda client: client.get_collection(self.engine.name)).indexed_vectors_count or 0
        )
        graph = min(in_graph, count.chunks) if count.chunks > EXACT_UP_TO else 0
        return IndexStats(count.documents, count.chunks, None, graph, self._known_fields())

    # -- what was fitted -----------------------------------------------------------------------------------------

    def fetch_fitted(self) -> None:
        """Bring what was fitted for the index to this machine."""
        parts = dict(self.catalogue.metadata().get(_FITTED) or {})
        try:
            here = read_parts(self.path / FITTED)
        except (OSError, ValueError):  # a copy that is of no use
            here = {"": None}
        with suppress(OSError):
            self.path.mkdir(parents=True, exist_ok=True)
        if parts == here:
            return
        try:
            write_parts(self.path / FITTED, parts)
        except OSError as error:
            raise StorageError(
                f"{self.path}: cannot be written ({error.strerror or error}); set XDG_CACHE_HOME"
            ) from error

    def share_fitted(self) -> None:
        """Bring what was fitted on this machine to all others."""
        self.catalogue.set_metadata({_FITTED: read_parts(self.path / FITTED)})


def has_collection(connection: Connection) -> bool:
    """Whether the name of the address is taken."""
    return connection.call(lambda client: client.collection_exists(connection.address.name))


def read_manifest(connection: Connection) -> Manifest:
    """What the index of this address was made with.

    Raises:
        UsageError: There is none of this name.
        CorpusError: A collection that bicross did not make, that is half made, or of another format.
    """
    address = connection.address
    try:
        metadata = connection.call(lambda client: client.get_collection(address.name)).config.metadata or {}
    except ClusterError as error:
        if is_missing(error.__cause__):
            raise UsageError(
                f"{address}: the cluster has no index {address.name!r}; "
                f"make one with: bicross index PATH --into {address}"
            ) from None
        raise
    made = metadata.get(_MANIFEST)
    if not isinstance(made, dict):
        raise CorpusError(
            f"{address}: not an index: bicross did not make the collection {address.name!r}; choose another"
        )
    if made.get("format") != FORMAT:
        raise CorpusError(f"{address}: the index has format {made.get('format')}, this bicross reads {FORMAT}")
    if not connection.call(lambda client: client.collection_exists(address.documents)):
        raise CorpusError(
            f"{address}: half an index: the collection {address.documents!r} is missing; "
            f"delete {address.name!r} and make the index again"
        )
    try:
        return manifest_of(made)
    except (KeyError, TypeError, ValueError) as error:
        raise CorpusError(f"{address}: its manifest is damaged ({error!r}); make the index again") from None


def _make_collections(connection: Connection, dimension: int, manifest: Manifest, layout: Layout) -> None:
    """The collection of documents first: an index without it is half made, and said to be."""
    address = connection.address
    nodes = len(peers(connection))
    replicas = layout.replicas or min(2, nodes)
    if replicas > nodes:
        raise UsageError(f"{address}: {replicas} replicas need as many nodes, and there are {nodes}")
    spread: dict[str, Any] = {
        "shard_number": layout.shards or (2 * nodes if nodes > 1 else 1),
        "replication_factor": replicas,
        "on_disk_payload": True,
    }
    # so small that each of three nodes has it: a majority of them is left when one is lost
    _make(
        connection,
        address.documents,
        vectors_config={},
        **{**spread, "replication_factor": max(replicas, min(3, nodes))},
    )
    codes: Any = None
    if layout.quantisation == "int8":
        scalar = models.ScalarQuantizationConfig(type=models.ScalarType.INT8, quantile=0.99, always_ram=True)
        codes = models.ScalarQuantization(scalar=scalar)
    elif layout.quantisation == "binary":
        codes = models.BinaryQuantization(binary=models.BinaryQuantizationConfig(always_ram=True))
    dense = models.VectorParams(
        size=dimension, distance=models.Distance.DOT, datatype=models.Datatype.FLOAT16, on_disk=layout.on_disk
    )
    words = models.SparseVectorParams(index=models.SparseIndexParams(on_disk=layout.on_disk))
    _make(
        connection,
        address.name,
        vectors_config={"dense": dense},
        sparse_vectors_config={"lexical": words},
        # as in a folder: no links of their own for each field, see ``shard.py``
        hnsw_config=models.HnswConfigDiff(
            m=LINKS, ef_construct=CANDIDATES, payload_m=0, full_scan_threshold=scanned(dimension)
        ),
        optimizers_config=models.OptimizersConfigDiff(default_segment_number=SEGMENTS),
        quantization_config=codes,
        metadata={_MANIFEST: asdict(manifest)},
        **spread,
    )
    _index_payloads(connection)


def _make(connection: Connection, name: str, **settings: Any) -> None:
    """Make a collection; when it is asked again, since no answer came, it may be there."""
    connection.call(lambda client: client.collection_exists(name) or client.create_collection(name, **settings))


def _index_payloads(connection: Connection) -> None:
    """Let the nodes index what every search and every change asks by."""
    name, documents = connection.address.name, connection.address.documents
    keyword = models.KeywordIndexParams(type=models.KeywordIndexType.KEYWORD, on_disk=True)
    integers = models.IntegerIndexParams(type=models.IntegerIndexType.INTEGER, lookup=True, range=False, on_disk=True)
    connection.call(lambda client: client.create_payload_index(documents, "kind", keyword, wait=True))
    connection.call(lambda client: client.create_payload_index(name, "number", integers, wait=True))
    connection.call(lambda client: client.create_payload_index(name, "terms", integers, wait=True))


def peers(connection: Connection) -> list[str]:
    """The nodes of the cluster, by their addresses; one empty name for a server that is alone."""
    status = connection.call(lambda client: client.cluster_status())
    return [peer.uri for peer in (getattr(status, "peers", None) or {}).values()] or [""]


def _folder(address: Address) -> Path:
    """Where this machine keeps its copy of what was fitted for an index on a cluster."""
    home = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    return home / "bicross" / "clusters" / hashlib.sha256(str(address).encode()).hexdigest()[:16]

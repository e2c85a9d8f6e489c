"""An index on a Qdrant server or cluster: the same data as in a folder, in two collections.

Searches go by the catalogue: a chunk counts when its document is entered with its content. So who reads need not know
what is being written, and what a writer left that died is not found. One process writes at a time, see ``lease.py``.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from qdrant_client import models

from bicross.errors import ClusterError, CorpusError, UsageError
from bicross.index.cluster.address import Address, Layout
from bicross.index.cluster.chunks import ClusterChunks
from bicross.index.cluster.connection import Connection, is_missing
from bicross.index.cluster.documents import ClusterCatalogue
from bicross.index.cluster.lease import Lease
from bicross.index.embedder import Embedder
from bicross.index.filters import Condition
from bicross.index.fitted import FILE as FITTED
from bicross.index.fitted import read_parts, write_parts
from bicross.index.index import Index, IndexCount, IndexStats
from bicross.index.manifest import FORMAT, Fingerprint, Manifest, findable, manifest_of
from bicross.index.retrieval import Candidate, Question, Retrieved
from bicross.index.shard import EXACT_UP_TO

#: Seconds to wait for one's turn to write.
PATIENCE = 30.0

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
        except BaseException:
            connection.close()
            raise
        return ClusterIndex(connection, manifest, embedder)

    @staticmethod
    def open(
        address: Address,
        embedder: Embedder,
        *,
        chunk_tokens: int | None = None,
        overlap: int | None = None,
        language: str | None = None,
    ) -> ClusterIndex:
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
        except BaseException:
            connection.close()
            raise
        return ClusterIndex(connection, manifest, embedder)

    def close(self) -> None:
        """Let other processes write. Calling it twice does no harm."""
        with self._writing:
            with suppress(ClusterError):  # the lease runs out by itself
                self._lease.release()
            self.engine.close()
            self.connection.close()

    # -- changing ------------------------------------------------------------------------------------------------

    @contextmanager
    def _changing(self) -> Iterator[None]:
        with self._writing:
            outermost = not self._lease.held
            self._lease.take(PATIENCE if self.takes_turns else 0.0)
            try:
                if outermost:
                    if not self._fields:
                        _index_payloads(self.connection)  # its creation may have been interrupted before this
                    self.catalogue.remember(True)
                    self._fields = dict(self.catalogue.fields())  # type: ignore[arg-type]
                    self._recover()
                yield
            finally:
                if outermost and self.takes_turns:
                    self.catalogue.remember(False)
                    self._lease.release()

    def optimise(self, *, building: Callable[[int], None] = lambda chunks: None) -> None:
        """Nothing: the nodes build their graphs by themselves, and answer meanwhile."""

    # -- searching -----------------------------------------------------------------------------------------------

    def condition(self, filter: str | None) -> Condition | None:
        """A filter, parsed and checked against the fields of this index."""
        if filter is not None and not self._lease.held:  # another process may have brought new ones
            self._fields = dict(self.catalogue.fields())  # type: ignore[arg-type]
        return super().condition(filter)

    def retrieve(
        self,
        question: Question,
        limit: int,
        condition: Condition | None = None,
        dense_weight: float | None = None,
        fusion: Any = None,
    ) -> Retrieved:
        """Candidates for a question, see ``retrieval.py``: those whose documents are entered with their content."""
        asked = limit
        while True:
            found = super().retrieve(question, asked, condition, dense_weight, fusion)
            valid = self._entered(found.candidates)
            whole = len(found.candidates) < asked
            if len(valid) >= limit or whole:
                return replace(found, candidates=valid[:limit])
            asked = 2 * asked + 10

    def _entered(self, candidates: list[Candidate]) -> list[Candidate]:
        entries = self.catalogue.current({candidate.chunk.document_id for candidate in candidates})
        hashes = {name: entry.content_hash for name, entry in entries.items()}
        return [c for c in candidates if hashes.get(c.chunk.document_id) == c.content_hash]

    # -- reading -------------------------------------------------------------------------------------------------

    def every(self, condition: Condition | None = None) -> list[Candidate]:
        """Every stored chunk of which the metadata fit, in no order, each with score 0; all of them in memory."""
        return self._entered(super().every(condition))

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
        return IndexStats(count.documents, count.chunks, None, graph, dict(self._fields))

    # -- what was fitted -----------------------------------------------------------------------------------------

    def fetch_fitted(self) -> None:
        """Bring what was fitted for the index to this machine."""
        parts = dict(self.catalogue.metadata().get(_FITTED) or {})
        self.path.mkdir(parents=True, exist_ok=True)
        if read_parts(self.path / FITTED) != parts:
            write_parts(self.path / FITTED, parts)

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
    if connection.call(lambda client: client.collection_exists(address.documents)):  # of an interrupted creation
        connection.call(lambda client: client.delete_collection(address.documents))
    _make(connection, address.documents, vectors_config={}, **spread)
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
        hnsw_config=models.HnswConfigDiff(m=16, ef_construct=200),
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

"""An index, wherever it lies: a catalogue of documents and an engine with their chunks, changed together."""

from __future__ import annotations

import threading
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Mapping
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, replace
from itertools import chain
from pathlib import Path
from types import TracebackType
from typing import Self, TypeVar

import numpy as np

from bicross.documents import Document
from bicross.documents.document import short
from bicross.errors import CorpusError, DocumentError, UsageError
from bicross.index.adding import Adding, AddReport
from bicross.index.catalogue import Entry
from bicross.index.embedder import Embedder
from bicross.index.engine import Documents, Engine
from bicross.index.fields import MOST_INDEXED, FieldType, field_name, field_types, merged
from bicross.index.filters import Condition, check_field, known_name, parse_filter
from bicross.index.first_stage import FirstStage, find_first_stage
from bicross.index.lexical import document_weights
from bicross.index.manifest import Manifest
from bicross.index.records import DTYPE, EncodedDocument, Row, Stored, Version, digest, rows, stored
from bicross.index.retrieval import Candidate, Fusion, Mode, Question, Retrieved, ask, check_mode, retrieve

#: Chunks that are committed together when they come with their vectors: a commit costs the disk the same for more.
BATCH_ENCODED = 4096

#: Documents that are deleted together.
BATCH_DELETED = 1000

#: The most chunks that one search may ask for.
MOST_CHUNKS = 1_000_000

T = TypeVar("T")


@dataclass(frozen=True)
class IndexCount:
    """How many documents and chunks are stored."""

    documents: int
    chunks: int


@dataclass(frozen=True)
class IndexStats:
    """What an index holds.

    Attributes:
        documents, chunks: Stored.
        bytes: Taken on disk; None where only the nodes of a cluster know.
        graph_vectors: Vectors in the HNSW graph, at least; 0 while every search compares with all of them.
        fields: Name and type of each metadata field.
    """

    documents: int
    chunks: int
    bytes: int | None
    graph_vectors: int
    fields: Mapping[str, FieldType]


class Index(ABC):
    """A corpus that is open in this process; ``bicross.open`` gives one. A context manager.

    Threads may share it: searches run side by side, changes one after the other, and a search never sees half of one.

    Attributes:
        name: As it is called in messages: the folder, or the address without its key.
        path: The folder in which what was fitted for it lies.
        manifest: What its vectors were made with.
        embedder: Its bi-encoder.
        catalogue, engine: Its documents, and their chunks.
        takes_turns: Whether other processes may write between two changes of this one, where that can be.
    """

    takes_turns = False

    def __init__(
        self, name: str, path: Path, manifest: Manifest, embedder: Embedder, catalogue: Documents, engine: Engine
    ) -> None:
        self.name = name
        self.path = path
        self.manifest = manifest
        self.embedder = embedder
        self.catalogue = catalogue
        self.engine = engine
        self._writing = threading.RLock()
        self._fields: dict[str, FieldType] = dict(catalogue.fields())  # type: ignore[arg-type]

    @abstractmethod
    def close(self) -> None:
        """Write everything down and let other processes have it. Calling it twice does no harm."""

    @abstractmethod
    def optimise(self, *, building: Callable[[int], None] = lambda chunks: None) -> None:
        """Arrange what is stored so that it is found fast. ``add`` ends with it.

        Args:
            building: Called before a long work, with the number of chunks.
        """

    @abstractmethod
    def share_fitted(self) -> None:
        """Let all who open the index have what was fitted for it, which lies in ``path``."""

    @abstractmethod
    def stats(self) -> IndexStats:
        """What the index holds."""

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    # -- changing ------------------------------------------------------------------------------------------------

    def add(
        self,
        documents: Iterable[Document],
        *,
        committed: Callable[[int], None] = lambda documents: None,
        optimise: bool = True,
    ) -> AddReport:
        """Chunk, embed and store documents, batch by batch; each batch is on disk before the next begins.

        A document that is stored already with the same content is passed over, one with other content is replaced;
        so the same call again after an interruption does what is missing.

        Args:
            documents: Any iterable; it is read as it goes.
            committed: Called after each batch with the number of documents that are safe since the last call.
            optimise: End with ``optimise``. Without, what is new is found, but slower where it is much.

        Raises:
            DocumentError: From the iterable. What was committed before stays.
            StorageError: The disk is full, or writing failed. What was committed before stays.
        """
        with self.changing():
            report = Adding(self, committed).run(documents)
            if optimise:
                self.optimise()  # also when nothing is new: the last run may have been stopped before this
            return report

    def upsert(
        self, documents: Iterable[Document], *, committed: Callable[[int], None] = lambda documents: None
    ) -> AddReport:
        """The same as ``add``, under the name that other indexes have for it."""
        return self.add(documents, committed=committed)

    def delete(self, document_ids: str | Iterable[str]) -> list[str]:
        """Delete documents, at once from both sides.

        Returns:
            The ids that were not stored.
        """
        unknown: list[str] = []
        batch: dict[str, Entry] = {}
        with self.changing():
            for document_id in [document_ids] if isinstance(document_ids, str) else document_ids:
                entry = self.catalogue.find(document_id)
                if entry is None:
                    unknown.append(document_id)
                    continue
                batch[document_id] = replace(entry, chunks=0)
                if len(batch) == BATCH_DELETED:
                    self._switch(list(batch.values()))
                    batch = {}
            if batch:
                self._switch(list(batch.values()))
        return unknown

    def add_encoded(self, documents: Iterable[EncodedDocument], *, optimise: bool = True) -> int:
        """Store documents with the embeddings that they come with, as ``export`` wrote them; the number stored.

        Those that are there already with the same content are passed over. ``optimise`` is as in ``add``: who calls
        this for block after block leaves it to the last one.

        Raises:
            DocumentError: A vector has another width than the index, or holds NaN.
            StorageError: See ``add``.
        """
        batch: list[EncodedDocument] = []
        ids: set[str] = set()
        chunks = number = 0
        with self.changing():
            for document in self.catalogue.ahead(documents):
                _check_vectors(document, self.embedder.dimension)
                entry = self.catalogue.find(document.id)
                if entry and entry.content_hash == document.content_hash:
                    continue
                if batch and (document.id in ids or chunks + len(document.chunks) > BATCH_ENCODED):
                    self.store(batch)
                    batch, chunks, ids = [], 0, set()
                batch.append(document)
                ids.add(document.id)
                chunks += len(document.chunks)
                number += 1
            if batch:
                self.store(batch)
            if optimise:
                self.optimise()
        return number

    def store(self, batch: list[EncodedDocument]) -> None:
        """Commit one batch: every document of it is stored whole when this returns, in place of its older version."""
        with self.changing():
            self._index_fields(pair for document in batch for pair in field_types(document.metadata))
            self._switch(*self._rows_of(batch))

    def _rows_of(self, batch: list[EncodedDocument]) -> tuple[list[Entry], Iterable[Row]]:
        """What the catalogue is given of documents, and the engine."""
        language = self.manifest.fingerprint.lexical_language
        chunks = [rows(d, [document_weights(chunk.embedded_text, language) for chunk in d.chunks]) for d in batch]
        return [_entry(d, c) for d, c in zip(batch, chunks, strict=True)], chain.from_iterable(chunks)

    def _switch(self, entries: list[Entry], chunks: Iterable[Row] = ()) -> None:
        """Write down what will change, change it in the engine, and enter it: see ``catalogue.py``."""
        with self.changing():
            self._recover()  # of a batch that failed in this process
            self.catalogue.intend(entries)
            with self._moving():
                self.engine.put(chunks)
                self.engine.flush()  # what is new must be safe before what is old goes
                self._finish(entry.id for entry in entries)

    def _finish(self, expected: Iterable[str] = ()) -> None:
        """The engine has what was written down, ``expected`` among it: enter it, and remove what it replaces."""
        pending = self.catalogue.pending()
        if set(expected) - {entry.id for entry, _, _ in pending}:
            raise CorpusError(f"{self.name}: another process took this one for dead; run the same command again")
        replaced = [
            Version(entry.id, hash_before, chunks_before)
            for entry, hash_before, chunks_before in pending
            if hash_before and (entry.chunks == 0 or hash_before != entry.content_hash)
        ]
        self.catalogue.enter([entry for entry, _, _ in pending])
        if replaced:
            self.engine.remove(replaced)
            self.engine.flush()
        self.catalogue.settle()

    def _recover(self) -> None:
        """Put right what a crash left: a document is there whole in its new version, or still in its old one."""
        pending = self.catalogue.pending()
        if not pending:
            return
        half = []
        for entry, hash_before, _ in pending:
            if entry.chunks and not self.engine.has(entry.version):
                half.append(entry.version if entry.content_hash != hash_before else Version(entry.id, "", 0))
        with self._moving():
            self.engine.remove(half)
            self.engine.flush()
            self.catalogue.withdraw(version.document_id for version in half)
            self._finish()

    def changing(self) -> AbstractContextManager[object]:
        """Held by who changes documents: nobody else does."""
        return self._writing

    def _moving(self) -> AbstractContextManager[object]:
        """Held while the engine passes from one state to the next."""
        return nullcontext()

    def _index_fields(self, types: Iterable[tuple[str, FieldType]]) -> None:
        """Let the engine index metadata fields that are new, or of which the values have got another type."""
        wider = merged(self._fields, types)
        for name, kind in wider.items():
            if name in self._fields or len(self._fields) < MOST_INDEXED:
                self.engine.index_field(name, kind)
            self._fields[name] = kind
        if wider:
            self.catalogue.set_fields(dict(wider))

    # -- searching -----------------------------------------------------------------------------------------------

    def search(
        self,
        query: str,
        *,
        top_k: int = 10,
        mode: Mode = "hybrid",
        filter: str | None = None,
        dense_weight: float | None = None,
        fusion: Fusion | None = None,
    ) -> list[Candidate]:
        """The first stage alone: the best chunks for a query, best first; of those, equal scores in order of id.

        Args:
            query: Not empty.
            top_k: Chunks to return.
            mode: ``dense`` (by meaning), ``lexical`` (by words, BM25) or ``hybrid``.
            filter: Only chunks of documents whose metadata fit, see ``filters.py``.
            dense_weight: In a hybrid search, weigh the scores of both sides by this and by 1 minus this, in place of
                any other fusion.
            fusion: How a hybrid search joins both sides: ``fitted`` (by weights fitted on judged queries, see
                ``first_stage.py``) or ``rrf`` (by reciprocal ranks); by default fitted where there are such numbers.

        Raises:
            UsageError: The query is empty, an argument is out of its range, the filter is wrong, or there are no fitted
                numbers.
            CorpusError: Those of the index are damaged.
        """
        check_mode(mode, dense_weight, fusion)
        condition = self.condition(filter)
        return self.retrieve(self.ask(query, mode), top_k, condition, dense_weight, fusion).candidates

    def ask(self, query: str, mode: Mode) -> Question:
        """Read a query for ``retrieve``."""
        return ask(query, mode, self.embedder, self.manifest.fingerprint.lexical_language)

    def condition(self, filter: str | None) -> Condition | None:
        """A filter, parsed and checked against the fields of this index."""
        return None if filter is None else parse_filter(filter, self._known_fields())

    def retrieve(
        self,
        question: Question,
        limit: int,
        condition: Condition | None = None,
        dense_weight: float | None = None,
        fusion: Fusion | FirstStage | None = None,
    ) -> Retrieved:
        """Candidates for a question, see ``retrieval.py``; ``fusion`` may also be numbers that are tried out."""
        if not 1 <= limit <= MOST_CHUNKS:
            raise UsageError(f"top_k is {limit}; it must be between 1 and {MOST_CHUNKS}")
        hybrid = question.vectors is not None and question.terms is not None
        if isinstance(fusion, FirstStage):
            numbers: FirstStage | None = fusion
        else:
            numbers = self.first_stage if hybrid and fusion != "rrf" and dense_weight is None else None
        if fusion == "fitted" and numbers is None:
            raise UsageError(f"{self.name}: no fusion was fitted for {self.manifest.model}; choose fusion rrf")
        return self._steady(lambda: retrieve(self.engine, question, limit, condition, dense_weight, numbers))

    @property
    def first_stage(self) -> FirstStage | None:
        """What a hybrid search weighs both sides by: fitted for this index, else for its encoder; None without either.

        Raises:
            CorpusError: The index's own numbers are damaged.
        """
        return find_first_stage(self.path, self.manifest.fingerprint.encoder)

    def nearest(self, vector: list[float], top_k: int) -> list[Candidate]:
        """The chunks nearest to an embedding of length ``dimension``."""
        if len(vector) != self.embedder.dimension or not np.isfinite(vector).all():
            raise UsageError(f"a query vector needs {self.embedder.dimension} finite numbers")
        return self.retrieve(Question("", [list(vector)], None), top_k).candidates

    def facets(self, field: str, *, filter: str | None = None, limit: int = 20) -> list[tuple[str | int | bool, int]]:
        """How many documents have each value of a metadata field, the most frequent values first.

        Raises:
            UsageError: No document has the field, or its values cannot be counted (fractions, dates, mixed types).
        """
        fields = self._known_fields()
        field = known_name(fields, field_name(field))
        kind = check_field(fields, field)
        if kind not in ("text", "integer", "boolean"):
            raise UsageError(f"the field {field!r} is of type {kind}; only texts, whole numbers, true and false count")
        if limit < 1:
            raise UsageError(f"limit is {limit}; it must be at least 1")
        condition = self.condition(filter)
        return self._steady(lambda: self.engine.facet(field, kind, condition, limit))

    def _known_fields(self) -> dict[str, FieldType]:
        """Name and type of each metadata field."""
        return dict(self._fields)

    def _steady(self, read: Callable[[], T]) -> T:
        """Read what is of one state of the index."""
        return read()

    # -- reading -------------------------------------------------------------------------------------------------

    def get(self, document_id: str) -> list[Candidate]:
        """The stored chunks of a document in order, each with score 0; empty when there is no such document."""

        def read() -> list[Candidate]:
            entry = self.catalogue.find(document_id)
            found = self.engine.read(entry.version) if entry else []
            return [unscored(item) for item in found]

        return self._steady(read)

    def every(self, condition: Condition | None = None) -> list[Candidate]:
        """Every stored chunk of which the metadata fit, in no order, each with score 0; all of them in memory."""

        def read() -> list[Candidate]:
            return [unscored(item) for item in self.engine.every(condition)]

        return self._steady(read)

    def count(self) -> IndexCount:
        """How many documents and chunks are stored."""
        return IndexCount(*self.catalogue.count())


def unscored(item: Stored) -> Candidate:
    """A chunk that was not searched for."""
    return Candidate(item.chunk, 0.0, item.truncated, item.metadata, content_hash=item.content_hash)


def _entry(document: EncodedDocument, chunks: list[Row]) -> Entry:
    """What the catalogue keeps of a document."""
    kept = [stored(payload, vector.astype(DTYPE).astype(np.float32), terms) for payload, vector, terms in chunks]
    return Entry(document.id, document.content_hash, len(kept), digest(kept), document.source)


def _check_vectors(document: EncodedDocument, dimension: int) -> None:
    shape = (len(document.chunks), dimension)
    if document.vectors.shape != shape:
        raise DocumentError(
            f"document {short(document.id)}: vectors of shape {document.vectors.shape}; this index needs {shape}"
        )
    if not np.isfinite(document.vectors).all():
        raise DocumentError(f"document {short(document.id)}: a vector holds NaN or infinity; embed it again")

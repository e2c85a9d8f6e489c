"""The engine: one shard of Qdrant Edge in this process, with a dense and a sparse vector for each chunk."""

from __future__ import annotations

import uuid
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from datetime import date, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import qdrant_edge as qdrant

from bicross.errors import CorpusError, StorageError
from bicross.index.catalogue import ANEW
from bicross.index.fields import FieldType, is_date
from bicross.index.filters import All, Compare, Condition, Either, Exists, In, Not
from bicross.index.lexical import TermWeights
from bicross.index.records import Found, Row, Stored, Version, stored
from bicross.index.ties import best

#: Up to this many chunks every search compares with all of them; above, HNSW finds the neighbours.
EXACT_UP_TO = 50_000

#: How widely the graph is searched, at least. Questions lie far from passages: with less, recall falls quickly.
EF = 600

#: A filter that leaves about so many chunks or fewer is answered by scanning their codes, which misses nothing; the
#: graph needs then no links of its own for each field, which take longer to build than all others.
_SCAN = 50_000

FOLDER = "shard"

#: Links of a chunk in the graph, and candidates that are looked at for them.
LINKS, CANDIDATES = 16, 200

_DENSE, _LEXICAL = "dense", "lexical"
_NAMESPACE = uuid.UUID("7d0c5a4e-2f0b-5b53-9f0e-5c5b8a8e6f11")
_PAGE = 1000

# where a filter lets through more than is scanned, the walk through the graph also looks behind chunks that do not fit
# (ACORN, Patel et al. 2024, https://doi.org/10.1145/3654923); without that it ends among them. benchmarks/filters.py
_PAST_THE_UNFIT = qdrant.AcornSearchParams(enable=True, max_selectivity=1.0)

_EXACT = qdrant.SearchParams(exact=True, quantization=qdrant.QuantizationSearchParams(ignore=True))

_ON_DISK: Any = {"enable_hnsw": False, "memory": qdrant.Memory.Cached}

_SCHEMAS: dict[FieldType, Any] = {
    "text": qdrant.KeywordIndexParams(**_ON_DISK),
    "integer": qdrant.IntegerIndexParams(lookup=True, range=True, **_ON_DISK),
    "float": qdrant.FloatIndexParams(**_ON_DISK),
    "boolean": qdrant.KeywordIndexParams(**_ON_DISK),
    "date": qdrant.DatetimeIndexParams(**_ON_DISK),
}


class Shard:
    """Chunks by version and number. A version is a document with one content; two versions can stand side by side.

    Raises (every method):
        StorageError: The disk is full.
        CorpusError: The engine failed; its files are damaged.
    """

    def __init__(self, path: Path, dimension: int, engine: qdrant.EdgeShard) -> None:
        self.path = path
        self.dimension = dimension
        self.engine = engine

    @staticmethod
    def create(path: Path, dimension: int) -> Shard:
        """An empty shard in ``path / FOLDER``, which must not exist."""
        with engine_errors(path):
            shard = qdrant.EdgeShard.create(str(path / FOLDER), _config(dimension))
            shard.update(qdrant.UpdateOperation.create_field_index("number", _SCHEMAS["integer"]))
            shard.flush()
        return Shard(path, dimension, shard)

    @staticmethod
    def load(path: Path, dimension: int) -> Shard:
        """The shard in ``path / FOLDER``."""
        if not (path / FOLDER).is_dir():
            raise CorpusError(f"{path}: damaged: its folder {FOLDER!r} is missing; {ANEW}")
        try:
            with engine_errors(path):
                return Shard(path, dimension, qdrant.EdgeShard.load(str(path / FOLDER), _config(dimension)))
        except CorpusError as error:
            raise CorpusError(f"{error}; its files are damaged: {ANEW}") from error

    def close(self) -> None:
        with engine_errors(self.path):
            self.engine.flush()
            self.engine.close()

    # -- changing ------------------------------------------------------------------------------------------------

    def put(self, rows: Iterable[Row]) -> None:
        """Store chunks; those of the same version are overwritten. Up to 1,000 are one operation."""
        points: list[qdrant.Point] = []
        for payload, vector, terms in rows:
            name = point_id(payload["document_id"], payload["hash"], payload["number"])
            points.append(qdrant.Point(name, {_DENSE: vector.tolist(), _LEXICAL: _sparse(terms)}, payload))
            if len(points) == _PAGE:
                self._upsert(points)
                points = []
        self._upsert(points)

    def _upsert(self, points: list[qdrant.Point]) -> None:
        if points:
            with engine_errors(self.path):
                self.engine.update(qdrant.UpdateOperation.upsert_points(points))

    def remove(self, versions: Iterable[Version]) -> None:
        """Delete every chunk of these versions; those that are not there do no harm."""
        ids = [point for version in versions for point in point_ids(version)]
        with engine_errors(self.path):
            for start in range(0, len(ids), _PAGE):
                self.engine.update(qdrant.UpdateOperation.delete_points(ids[start : start + _PAGE]))

    def flush(self) -> None:
        """Everything so far is on disk when this returns."""
        with engine_errors(self.path):
            self.engine.flush()

    def tidy(self) -> None:
        """Let go of what was deleted, where that is much. Blocks this process."""
        with engine_errors(self.path):
            self.engine.optimize()
            self.engine.flush()

    def put_aside(self) -> None:
        """Pack what was stored since the last time, which is held in memory, into a segment on disk, without a graph.

        Such segments are searched by scanning their codes, until ``build_graph`` makes one of all.
        """
        with engine_errors(self.path):
            try:
                self._open(graph=False)
                self.engine.optimize()
                self.engine.flush()
            finally:
                self._open()

    def build_graph(self) -> None:
        """Make one segment with one graph of all chunks; a graph that is there is extended. Blocks this process."""
        with engine_errors(self.path):
            self._open()  # opened anew, the engine has let go of the pages that it wrote, a fifth of all
            self.engine.optimize()
            self.engine.flush()

    def _open(self, *, graph: bool = True) -> None:
        """Open the engine anew; what was not flushed may be lost."""
        self.engine.close()
        self.engine = qdrant.EdgeShard.load(str(self.path / FOLDER), _config(self.dimension, graph=graph))

    def index_field(self, name: str, kind: FieldType) -> None:
        """Index a metadata field as one of this type, in place of any other; one of mixed values has none."""
        with engine_errors(self.path):
            for path in (payload_path(name), boolean_path(name)):
                self.engine.update(qdrant.UpdateOperation.delete_field_index(path))
            if kind in _SCHEMAS:
                path = boolean_path(name) if kind == "boolean" else payload_path(name)
                self.engine.update(qdrant.UpdateOperation.create_field_index(path, _SCHEMAS[kind]))

    # -- searching -----------------------------------------------------------------------------------------------

    def nearest(
        self, vector: Sequence[float], limit: int, condition: Condition | None, among: Sequence[str] | None = None
    ) -> Found:
        """The chunks with the largest dot product, best first; with ``among``, of these points alone, all scored."""
        params = self._params(limit, condition is not None) if among is None else _EXACT
        return self._query(qdrant.Query.Nearest(list(vector), _DENSE), limit, condition, params, among)

    def matching(
        self, query: TermWeights, limit: int, condition: Condition | None, among: Sequence[str] | None = None
    ) -> Found:
        """The chunks with the highest BM25 that share a term with the query, best first; ``among``: see ``nearest``."""
        if not len(query.terms):
            return {}
        return self._query(qdrant.Query.Nearest(_sparse(query), _LEXICAL), limit, condition, None, among)

    def _query(
        self,
        query: qdrant.Query,
        limit: int,
        condition: Condition | None,
        params: qdrant.SearchParams | None,
        among: Sequence[str] | None,
    ) -> Found:
        if among is not None and not among:
            return {}
        only = _filter(condition) if among is None else qdrant.Filter(must=[qdrant.HasIdCondition(set(among))])

        def ask(number: int) -> list[qdrant.ScoredPoint]:
            request = qdrant.QueryRequest(limit=number, query=query, filter=only, params=params)
            with engine_errors(self.path):
                return self.engine.query(request)

        return best(ask, limit)

    def fetch(self, points: Iterable[str]) -> dict[str, Stored]:
        """What is stored of these points."""
        ids: list[Any] = list(points)
        with engine_errors(self.path):
            records = self.engine.retrieve(ids, True, False)
        return {str(record.id): _stored(record) for record in records}

    def _params(self, limit: int, filtered: bool) -> qdrant.SearchParams:
        if self.size() <= EXACT_UP_TO:
            return _EXACT
        # the graph is walked over four bits a number; twice as many as asked for are then scored in full
        quantised = qdrant.QuantizationSearchParams(rescore=True, oversampling=2.0)
        return qdrant.SearchParams(
            hnsw_ef=max(EF, 3 * limit), quantization=quantised, acorn=_PAST_THE_UNFIT if filtered else None
        )

    def facet(
        self, name: str, kind: FieldType, condition: Condition | None, limit: int
    ) -> list[tuple[str | int | bool, int]]:
        """How many documents have each value of a text, integer or boolean field, the most frequent first."""
        must: list[Any] = [_is("number", 0)]
        if condition is not None:
            must.append(_translated(condition))
        path = boolean_path(name) if kind == "boolean" else payload_path(name)
        request = qdrant.FacetRequest(path, limit=limit, exact=True, filter=qdrant.Filter(must=must))
        with engine_errors(self.path):
            hits = self.engine.facet(request).hits
        return [(hit.value == "true" if kind == "boolean" else hit.value, int(hit.count)) for hit in hits]

    # -- reading -------------------------------------------------------------------------------------------------

    def size(self) -> int:
        """Chunks, told at once; one that a crash while optimising left in two segments counts twice until the next."""
        with engine_errors(self.path):
            return int(self.engine.info().points_count)

    def count(self, condition: Condition | None = None) -> int:
        """Chunks, or those that fit, counted."""
        with engine_errors(self.path):
            return int(self.engine.count(qdrant.CountRequest(exact=True, filter=_filter(condition))))

    def read(self, version: Version, *, vectors: bool = False) -> list[Stored]:
        """The chunks of a version that are there, in order."""
        with engine_errors(self.path):
            records = self.engine.retrieve(point_ids(version), True, vectors)
        return sorted((_stored(record) for record in records), key=lambda item: item.number)

    def has(self, version: Version) -> bool:
        """Whether every chunk of a version is there."""
        with engine_errors(self.path):
            return len(self.engine.retrieve(point_ids(version), False, False)) == version.chunks

    def names(self) -> Iterator[tuple[str, str, int]]:
        """(document id, content hash, number) of every chunk, in the engine's order."""
        for record in self._scroll(["document_id", "hash", "number"], None):
            payload = dict(record.payload or {})
            yield payload["document_id"], payload["hash"], int(payload["number"])

    def every(self, condition: Condition | None) -> Iterator[Stored]:
        """Every chunk that fits, in the engine's order."""
        return map(_stored, self._scroll(True, condition))

    def _scroll(self, payload: Any, condition: Condition | None) -> Iterator[qdrant.Record]:
        offset: Any = None
        while True:
            request = qdrant.ScrollRequest(
                offset=offset, limit=_PAGE, filter=_filter(condition), with_payload=payload, with_vector=False
            )
            with engine_errors(self.path):
                records, offset = self.engine.scroll(request)
            yield from records
            if offset is None:
                return


def _config(dimension: int, *, graph: bool = True) -> qdrant.EdgeConfig:
    """How the engine keeps chunks; ``graph`` says what it makes of them when it is asked to optimise: one segment with
    one graph, or a packed segment of those that have gathered, each time another.
    """
    return qdrant.EdgeConfig(
        vectors={
            _DENSE: qdrant.EdgeVectorParams(
                size=dimension,
                distance=qdrant.Distance.Dot,
                datatype=qdrant.VectorStorageDatatype.Float16,
                memory=qdrant.Memory.Cold,  # read for the few that are scored again; the codes are in memory
            )
        },
        sparse_vectors={
            _LEXICAL: qdrant.EdgeSparseVectorParams(modifier=qdrant.Modifier.Idf, memory=qdrant.Memory.Cached)
        },
        hnsw_config=qdrant.HnswIndexConfig(
            m=LINKS if graph else 0, ef_construct=CANDIDATES, full_scan_threshold=scanned(dimension)
        ),
        quantization_config=qdrant.TurboQuantQuantizationConfig(bits=qdrant.TurboQuantBitSize.Bits4),
        optimizers=qdrant.EdgeOptimizersConfig(
            indexing_threshold=EXACT_UP_TO * dimension * 2 // 1024 if graph else 1,
            default_segment_number=1 if graph else 2**16,
            max_segment_size=2**31,
        ),
        # every batch ends with flush(), so a log of it would be written for nothing and replayed at each start
        wal_enabled=False,
    )


def scanned(dimension: int) -> int:
    """Kilobytes of vectors up to which what a filter leaves is scanned: the engine counts it so."""
    return _SCAN * dimension * 2 // 1024


def point_id(document_id: str, content_hash: str, number: int) -> str:
    return str(uuid.uuid5(_NAMESPACE, f"{content_hash}#{number}#{document_id}"))


def point_ids(version: Version) -> list[Any]:
    return [point_id(version.document_id, version.content_hash, number) for number in range(version.chunks)]


def _sparse(weights: TermWeights) -> qdrant.SparseVector:
    return qdrant.SparseVector(weights.terms.tolist(), weights.weights.tolist())


def _stored(record: qdrant.Record) -> Stored:
    payload = dict(record.payload or {})
    vectors: Any = record.vector
    if not vectors:
        return stored(payload)
    dense: npt.NDArray[np.float32] = np.array(vectors[_DENSE], np.float32)
    sparse = vectors.get(_LEXICAL)
    indices, values = (sparse.indices, sparse.values) if sparse else ([], [])
    return stored(payload, dense, TermWeights(np.array(indices, np.uint32), np.array(values, np.float32)))


# -- filters -----------------------------------------------------------------------------------------------------


def payload_path(name: str) -> str:
    return f"metadata.{name}"


def boolean_path(name: str) -> str:
    quoted = name.replace('"', "'")
    return f'booleans."{quoted}"'


def _is(key: str, value: str | int) -> qdrant.FieldCondition:
    return qdrant.FieldCondition(key, match=qdrant.MatchValue(value))


def _filter(condition: Condition | None) -> qdrant.Filter | None:
    return None if condition is None else _translated(condition)


def _translated(condition: Condition) -> qdrant.Filter:
    """The engine's own form of a condition."""
    match condition:
        case All(conditions):
            return qdrant.Filter(must=[_translated(c) for c in conditions])
        case Either(conditions):
            return qdrant.Filter(should=[_translated(c) for c in conditions])
        case Not(inner):
            return qdrant.Filter(must_not=[_translated(inner)])
        case Exists(field):
            return qdrant.Filter(must_not=[qdrant.IsEmptyCondition(payload_path(field))])
        case In(field, values, kind):
            return qdrant.Filter(should=[_comparison(Compare(field, "==", value, kind)) for value in values])
        case Compare():
            return qdrant.Filter(must=[_comparison(condition)])


_BOUNDS = {"<": "lt", "<=": "lte", ">": "gt", ">=": "gte"}


def _comparison(test: Compare) -> qdrant.FieldCondition:
    key, value = payload_path(test.field), test.value
    if test.kind == "date" and is_date(str(value)):
        return qdrant.FieldCondition(key, range=qdrant.RangeDateTime(**bounds(test)))
    if not isinstance(value, str | bool) and (test.kind != "integer" or test.operator != "==" or value % 1):
        return qdrant.FieldCondition(key, range=qdrant.RangeFloat(**bounds(test)))
    if isinstance(value, bool):
        return _is(boolean_path(test.field), str(value).lower())
    return _is(key, int(value) if isinstance(value, float) else value)


def bounds(test: Compare) -> dict[str, Any]:
    """A comparison with a number, a point in time, or a date, which stands for its whole day, as ``gte``, ``lt`` …"""
    operator = test.operator
    if test.kind != "date" or not isinstance(test.value, str):
        names = ("gte", "lte") if operator == "==" else (_BOUNDS[operator],)
        return dict.fromkeys(names, float(test.value))
    value = last = test.value
    if len(value) == len("2024-01-31"):
        last = (date.fromisoformat(value) + timedelta(days=1)).isoformat()
    until = "lte" if last == value else "lt"
    match operator:
        case "==":
            return {"gte": value, until: last}
        case "<=":
            return {until: last}
        case ">":
            return {"gt": value} if last == value else {"gte": last}
        case _:
            return {_BOUNDS[operator]: value}


@contextmanager
def engine_errors(path: Path) -> Iterator[None]:
    """One line for whatever the engine raises, its panics included."""
    try:
        yield
    except BaseException as error:
        is_panic = type(error).__name__ == "PanicException"
        if (not isinstance(error, Exception) and not is_panic) or isinstance(error, CorpusError):
            raise
        message = str(error).splitlines()[0] if str(error) else type(error).__name__
        if "No space left" in str(error) or "StorageFull" in str(error):
            raise StorageError(f"{path}: the disk is full; make room and run the same command again") from error
        raise CorpusError(f"{path}: the index engine failed: {message}") from error

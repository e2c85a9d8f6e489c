"""The engine on a cluster: a collection with a dense and a sparse vector for each chunk, as the engine in a folder has.

Two things differ. The inverse document frequency of a word is counted here, over all shards, where a server would take
that of each shard alone; so chunks carry the numbers of their terms, which are indexed. And a chunk is only found once
its document is entered in the catalogue, see ``index.py``.
"""

from __future__ import annotations

import math
import time
from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor, wait
from functools import cached_property
from itertools import islice
from typing import Any

import numpy as np
import numpy.typing as npt
from qdrant_client import QdrantClient, models

from bicross.index.cluster.connection import Connection
from bicross.index.fields import FieldType, is_date
from bicross.index.filters import All, Compare, Condition, Either, Exists, In, Not
from bicross.index.lexical import TermWeights
from bicross.index.records import Found, Row, Stored, Vectors, Version, stored
from bicross.index.shard import EF, EXACT_UP_TO, boolean_path, bounds, payload_path, point_id, point_ids
from bicross.index.ties import best

_DENSE, _LEXICAL = "dense", "lexical"
_PAGE = 1000

#: Points of one request (a message of gRPC holds some megabytes), and requests on their way at once.
_SENT, _ON_THEIR_WAY = 256, 4

#: Seconds that nodes may take to go through all chunks for the sake of a field; one that is gone is noticed before.
_INDEXED_WITHIN = 3600

#: Values of a field that each shard counts: one that is frequent in all may be rare in some.
_FACETS = 10_000

#: Requests at once where a query has many words.
_AT_ONCE = 16

#: Seconds for which it is remembered how many chunks there are, and how many have a word.
FRESH = 5.0

# as in a folder, see shard.py
_PAST_THE_UNFIT = models.AcornSearchParams(enable=True, max_selectivity=1.0)

_EXACT = models.SearchParams(exact=True, quantization=models.QuantizationSearchParams(ignore=True))

_SCHEMAS: dict[FieldType, Any] = {
    "text": models.KeywordIndexParams(type=models.KeywordIndexType.KEYWORD, on_disk=True),
    "integer": models.IntegerIndexParams(type=models.IntegerIndexType.INTEGER, lookup=True, range=True, on_disk=True),
    "float": models.FloatIndexParams(type=models.FloatIndexType.FLOAT, on_disk=True),
    "boolean": models.KeywordIndexParams(type=models.KeywordIndexType.KEYWORD, on_disk=True),
    "date": models.DatetimeIndexParams(type=models.DatetimeIndexType.DATETIME, on_disk=True),
}


class ClusterChunks:
    """Chunks by version and number, as of ``shard.Shard``.

    Raises (every method):
        ClusterError: The cluster does not answer, or failed.
    """

    def __init__(self, connection: Connection) -> None:
        self.connection = connection
        self.name = connection.address.name
        self._counted: dict[int | None, tuple[float, int]] = {}  # by term; None for all chunks
        self._asking = ThreadPoolExecutor(_AT_ONCE, thread_name_prefix="bicross-ask")

    def close(self) -> None:
        """End the threads that ask."""
        self._asking.shutdown()

    # -- changing ------------------------------------------------------------------------------------------------

    def put(self, rows: Iterable[Row]) -> None:
        """Store chunks; those of the same version are overwritten."""
        waiting = iter(rows)
        sent: deque[Future[None]] = deque()
        try:
            while points := [_point(*row) for row in islice(waiting, _SENT)]:
                sent.append(self._asking.submit(self._upsert, points))
                if len(sent) == _ON_THEIR_WAY:
                    sent[0].result()
                    sent.popleft()
        finally:
            wait(sent)  # also after a failure: nothing is on its way once this returns
            self._counted.clear()
        for request in sent:
            request.result()

    def _upsert(self, points: list[models.PointStruct]) -> None:
        self.connection.call(lambda client: client.upsert(self.name, points, wait=True))

    def remove(self, versions: Iterable[Version]) -> None:
        """Delete every chunk of these versions; those that are not there do no harm."""
        ids = [point for version in versions for point in point_ids(version)]
        for start in range(0, len(ids), _PAGE):
            self._delete(ids[start : start + _PAGE])

    def _delete(self, ids: list[Any]) -> None:
        points = models.PointIdsList(points=ids)
        self.connection.call(lambda client: client.delete(self.name, points, wait=True))
        self._counted.clear()

    def flush(self) -> None:
        """Nothing: what a node has acknowledged is in its log."""

    def index_field(self, name: str, kind: FieldType) -> None:
        """Index a metadata field as one of this type, in place of any other; one of mixed values has none."""
        for path in (payload_path(name), boolean_path(name)):
            self._forget_field(path)
        if kind in _SCHEMAS:
            path = boolean_path(name) if kind == "boolean" else payload_path(name)
            self.connection.call(
                lambda client: client.create_payload_index(self.name, path, _SCHEMAS[kind], wait=True),
                within=_INDEXED_WITHIN,
            )

    def _forget_field(self, path: str) -> None:
        self.connection.call(
            lambda client: client.delete_payload_index(self.name, path, wait=True), within=_INDEXED_WITHIN
        )

    # -- searching -----------------------------------------------------------------------------------------------

    def nearest(
        self, vector: Sequence[float], limit: int, condition: Condition | None, among: Sequence[str] | None = None
    ) -> Found:
        """The chunks with the largest dot product, best first; with ``among``, of these points alone, all scored."""
        params = self._params(limit, condition is not None) if among is None else _EXACT
        return self._query(list(vector), _DENSE, limit, condition, params, among)

    def matching(
        self, query: TermWeights, limit: int, condition: Condition | None, among: Sequence[str] | None = None
    ) -> Found:
        """The chunks with the highest BM25 that share a term with the query, best first; ``among``: see ``nearest``."""
        if not len(query.terms):
            return {}
        rarity = self._inverse_document_frequencies(query.terms.tolist())
        weighted = TermWeights(query.terms, query.weights * rarity)
        return self._query(_sparse(weighted), _LEXICAL, limit, condition, None, among)

    def _query(
        self,
        query: list[float] | models.SparseVector,
        using: str,
        limit: int,
        condition: Condition | None,
        params: models.SearchParams | None,
        among: Sequence[str] | None,
    ) -> Found:
        if among is not None and not among:
            return {}
        only = _filter(condition) if among is None else models.Filter(must=[models.HasIdCondition(has_id=list(among))])

        def ask(number: int) -> list[models.ScoredPoint]:
            return self.connection.call(
                lambda client: client.query_points(
                    self.name,
                    query=query,
                    using=using,
                    limit=number,
                    query_filter=only,
                    search_params=params,
                    with_payload=False,
                )
            ).points

        return best(ask, limit)

    def _params(self, limit: int, filtered: bool) -> models.SearchParams:
        if self._count(None) <= EXACT_UP_TO:
            return _EXACT
        walked = max(EF, 3 * limit)
        oversampling = walked / limit if self._of_bits else 2.0
        rescored = models.QuantizationSearchParams(rescore=True, oversampling=oversampling)
        return models.SearchParams(hnsw_ef=walked, quantization=rescored, acorn=_PAST_THE_UNFIT if filtered else None)

    @cached_property
    def _of_bits(self) -> bool:
        """Whether codes are of a bit a number: so coarse that all that the walk comes by is scored again."""
        config = self.connection.call(lambda client: client.get_collection(self.name)).config
        return isinstance(config.quantization_config, models.BinaryQuantization)

    def _inverse_document_frequencies(self, terms: list[int]) -> npt.NDArray[np.float32]:
        """As the engine in a folder weighs a word: of all chunks, how few have it."""
        every = self._count(None)
        having = list(self._asking.map(self._count, terms))
        every = max(every, *having)  # one may be remembered from before the other
        return np.array([math.log((every - n + 0.5) / (n + 0.5) + 1.0) for n in having], np.float32)

    def _count(self, term: int | None) -> int:
        """Chunks that have a term, or all of them; remembered for some seconds.

        Counted one by one as long as searches are exact, too. Beyond that a node gives the length of its lists, in
        which some may be that were deleted since they were made.
        """
        now = time.monotonic()
        known = self._counted.get(term)
        if known is None or now - known[0] > FRESH:
            if len(self._counted) > 100_000:
                self._counted.clear()
            if term is not None:
                having = models.Filter(must=[_is("terms", term)])
                number = self._counting(having, exact=self._count(None) <= EXACT_UP_TO)
            elif (number := self._counting(None, exact=False)) <= EXACT_UP_TO:
                number = self._counting(None)
            self._counted[term] = known = now, number
        return known[1]

    def _counting(self, only: models.Filter | None, exact: bool = True) -> int:
        return self.connection.call(lambda client: client.count(self.name, count_filter=only, exact=exact)).count

    def fetch(self, points: Iterable[str]) -> dict[str, Stored]:
        """What is stored of these points."""
        records = self._records(list(points), vectors=False)
        return {str(record.id): _stored(record) for record in records}

    def facet(
        self, name: str, kind: FieldType, condition: Condition | None, limit: int
    ) -> list[tuple[str | int | bool, int]]:
        """How many documents have each value of a text, integer or boolean field, the most frequent first."""
        must: list[Any] = [_is("number", 0)]
        if condition is not None:
            must.append(_translated(condition))
        path = boolean_path(name) if kind == "boolean" else payload_path(name)
        answer = self.connection.call(
            lambda client: client.facet(
                self.name, key=path, facet_filter=models.Filter(must=must), limit=max(limit, _FACETS), exact=True
            )
        )
        counted = [(hit.value == "true" if kind == "boolean" else hit.value, int(hit.count)) for hit in answer.hits]
        return counted[:limit]

    # -- reading -------------------------------------------------------------------------------------------------

    def size(self) -> int:
        """Chunks."""
        return self._count(None)

    def count(self, condition: Condition | None = None) -> int:
        """Chunks, or those that fit, counted."""
        return self._counting(_filter(condition))

    def read(self, version: Version, *, vectors: bool = False) -> list[Stored]:
        """The chunks of a version that are there, in order."""
        return sorted(map(_stored, self._records(point_ids(version), vectors)), key=lambda item: item.number)

    def has(self, version: Version) -> bool:
        """Whether every chunk of a version is there."""
        return len(self._records(point_ids(version), vectors=False, payload=False)) == version.chunks

    def _records(self, ids: list[Any], vectors: bool, payload: bool = True) -> list[models.Record]:
        kept: Any = models.PayloadSelectorExclude(exclude=["terms"]) if payload else False
        pages = (ids[start : start + _PAGE] for start in range(0, len(ids), _PAGE))
        return [record for page in pages for record in self._retrieve(page, kept, vectors)]

    def _retrieve(self, ids: list[Any], payload: Any, vectors: bool) -> list[models.Record]:
        return self.connection.call(
            lambda client: client.retrieve(self.name, ids, with_payload=payload, with_vectors=vectors)
        )

    def names(self) -> Iterator[tuple[str, str, int]]:
        """(document id, content hash, number) of every chunk, in the engine's order."""
        for record in self._scroll(["document_id", "hash", "number"], None):
            payload = dict(record.payload or {})
            yield payload["document_id"], payload["hash"], int(payload["number"])

    def every(self, condition: Condition | None) -> Iterator[Stored]:
        """Every chunk that fits, in the engine's order."""
        return map(_stored, self._scroll(models.PayloadSelectorExclude(exclude=["terms"]), condition))

    def _scroll(self, payload: Any, condition: Condition | None) -> Iterator[models.Record]:
        offset: Any = None
        while True:

            def page(client: QdrantClient, offset: Any = offset) -> tuple[list[models.Record], Any]:
                return client.scroll(
                    self.name,
                    scroll_filter=_filter(condition),
                    limit=_PAGE,
                    offset=offset,
                    with_payload=payload,
                    with_vectors=False,
                )

            records, offset = self.connection.call(page)
            yield from records
            if offset is None:
                return


def _point(payload: dict[str, Any], vector: Vectors, terms: TermWeights) -> models.PointStruct:
    return models.PointStruct(
        id=point_id(payload["document_id"], payload["hash"], payload["number"]),
        vector={_DENSE: vector.tolist(), _LEXICAL: _sparse(terms)},
        payload={**payload, "terms": terms.terms.tolist()},
    )


def _sparse(weights: TermWeights) -> models.SparseVector:
    return models.SparseVector(indices=weights.terms.tolist(), values=weights.weights.tolist())


def _stored(record: models.Record) -> Stored:
    payload = dict(record.payload or {})
    vectors: Any = record.vector
    if not vectors:
        return stored(payload)
    dense: npt.NDArray[np.float32] = np.array(vectors[_DENSE], np.float32)
    sparse = vectors.get(_LEXICAL)
    indices, values = (sparse.indices, sparse.values) if sparse else ([], [])
    return stored(payload, dense, TermWeights(np.array(indices, np.uint32), np.array(values, np.float32)))


# -- filters -----------------------------------------------------------------------------------------------------


def _is(key: str, value: str | int) -> models.FieldCondition:
    return models.FieldCondition(key=key, match=models.MatchValue(value=value))


def _filter(condition: Condition | None) -> models.Filter | None:
    return None if condition is None else _translated(condition)


def _translated(condition: Condition) -> models.Filter:
    """The server's own form of a condition; see ``shard._translated``."""
    match condition:
        case All(conditions):
            return models.Filter(must=[_translated(c) for c in conditions])
        case Either(conditions):
            return models.Filter(should=[_translated(c) for c in conditions])
        case Not(inner):
            return models.Filter(must_not=[_translated(inner)])
        case Exists(field):
            empty = models.IsEmptyCondition(is_empty=models.PayloadField(key=payload_path(field)))
            return models.Filter(must_not=[empty])
        case In(field, values, kind):
            return models.Filter(should=[_comparison(Compare(field, "==", value, kind)) for value in values])
        case Compare():
            return models.Filter(must=[_comparison(condition)])


def _comparison(test: Compare) -> models.FieldCondition:
    key, value = payload_path(test.field), test.value
    if test.kind == "date" and is_date(str(value)):
        return models.FieldCondition(key=key, range=models.DatetimeRange(**bounds(test)))
    if not isinstance(value, str | bool) and (test.kind != "integer" or test.operator != "==" or value % 1):
        return models.FieldCondition(key=key, range=models.Range(**bounds(test)))
    if isinstance(value, bool):
        return _is(boolean_path(test.field), str(value).lower())
    return _is(key, int(value) if isinstance(value, float) else value)

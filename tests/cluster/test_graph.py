"""With too many chunks for an exact search, nodes walk graphs over codes; here they are made to with a few hundred."""

from __future__ import annotations

from pathlib import Path

import pytest
from qdrant_client import models
from qdrant_node import until

import bicross
from bicross import Document
from bicross.index.cluster.address import Layout
from bicross.opening import open_copy

QUERIES = ["remove a file", "split a string into words", "absolute path", "median of values", "keys and values"]
PLACES = [
    {"mode": "dense"},
    {"mode": "dense", "filter": "number >= 5"},
    {"mode": "dense", "filter": "number == 7"},
    {"mode": "lexical"},
    {"mode": "hybrid", "filter": "even == true"},
]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory, functions: list[Document]) -> Path:
    path = tmp_path_factory.mktemp("graph") / "index"
    with bicross.create(path) as index:
        index.add(
            Document(d.id, d.text, metadata={"number": n % 10, "even": n % 2 == 0}) for n, d in enumerate(functions)
        )
    return path


def found(index) -> list[list[str]]:
    asked = [(query, place) for query in QUERIES for place in PLACES]
    return [[c.chunk.id for c in index.search(query, top_k=10, **place)] for query, place in asked]


@pytest.mark.parametrize("quantisation", ["none", "int8", "binary"])
def test_a_graph_finds_what_an_exact_search_finds(
    folder: Path, address: str, quantisation, monkeypatch: pytest.MonkeyPatch
) -> None:
    with (
        bicross.open(folder) as source,
        open_copy(source, address, layout=Layout(quantisation=quantisation)) as index,
    ):
        name = index.connection.address.name
        few = models.OptimizersConfigDiff(indexing_threshold=10)  # kB, from which on nodes build a graph
        index.connection.call(lambda client: client.update_collection(name, optimizers_config=few))
        bicross.copy(source, index)
        expected = found(index)
        both = 2 * index.count().chunks  # vectors of meaning, and of words
        until(lambda: index.connection.call(lambda client: client.get_collection(name)).indexed_vectors_count >= both)
        monkeypatch.setattr("bicross.index.cluster.chunks.EXACT_UP_TO", 10)
        index.engine._counted.clear()
        shares = [len(set(got) & set(all_)) / len(all_) for got, all_ in zip(found(index), expected, strict=True)]
        assert sum(shares) / len(shares) > 0.95
        index.delete(index.search(QUERIES[0], top_k=1)[0].chunk.document_id)
        assert expected[0][0] not in {chunk for chunks in found(index) for chunk in chunks}

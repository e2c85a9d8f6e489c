"""An index on a cluster of three nodes, six shards and two replicas gives what one in a folder gives."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

import bicross
from bicross import Document, Searcher

QUERIES = [
    "which function removes a file",
    "split a string into a list of words",
    "absolute path",
    "copy a directory tree",
    "median of values",
    "dict keys and values",
]


def documents(functions: list[Document]) -> list[Document]:
    kinds = ("a", "b", "c")
    return [
        Document(
            d.id,
            d.text,
            title=d.id,
            metadata={
                "kind": kinds[n % 3],
                "number": n,
                "share": n / 7,
                "even": n % 2 == 0,
                "day": f"2024-{n % 12 + 1:02}-15",
                "tags": ["x", "y"] if n % 5 == 0 else ["z"],
                **({"rare": n} if n % 50 == 0 else {}),
            },
        )
        for n, d in enumerate(functions)
    ]


@pytest.fixture(scope="module")
def both(tmp_path_factory: pytest.TempPathFactory, lasting, functions: list[Document]):
    """The same documents in a folder and on the cluster; to be read alone."""
    folder = tmp_path_factory.mktemp("same") / "folder"
    address = f"qdrant://127.0.0.1:{lasting[0].http}/same"
    with bicross.create(folder) as local, bicross.create(address) as cluster:
        local.add(documents(functions))
        bicross.copy(local, cluster)
        yield local, cluster


@pytest.fixture
def own(tmp_path: Path, address: str, functions: list[Document]):
    """A few documents in a folder and on a server, each indexed by itself; to be changed."""
    with bicross.create(tmp_path / "own") as local, bicross.create(address) as cluster:
        for index in (local, cluster):
            index.add(documents(functions)[:50])
        yield local, cluster


def assert_equal(mine, theirs) -> None:
    """The same chunks with the same scores in order; equal ones may change places, also past the last place."""
    np.testing.assert_allclose([c.score for c in mine], [c.score for c in theirs], atol=1e-4, rtol=0)
    others = {c.chunk.id: c for c in theirs}
    for one in mine:
        if one.score <= mine[-1].score + 1e-4 and one.chunk.id not in others:
            continue  # as good as the last one
        other = others[one.chunk.id]
        assert (one.chunk, one.metadata, one.truncated) == (other.chunk, other.metadata, other.truncated)
        for name in ("score", "dense", "lexical"):
            values = getattr(one, name), getattr(other, name)
            assert values == (None, None) or values[0] == pytest.approx(values[1], abs=1e-4)


@pytest.mark.parametrize("mode", ["dense", "lexical", "hybrid"])
def test_searches_give_the_same(both, mode: str) -> None:
    local, cluster = both
    for query in QUERIES:
        assert_equal(local.search(query, top_k=20, mode=mode), cluster.search(query, top_k=20, mode=mode))
    if mode == "hybrid":
        for how in ({"fusion": "rrf"}, {"dense_weight": 0.3}):
            assert_equal(local.search(QUERIES[0], top_k=30, **how), cluster.search(QUERIES[0], top_k=30, **how))


@pytest.mark.parametrize(
    "filter",
    [
        'kind == "a"',
        'kind != "a" and number >= 20',
        "share < 3.5 or number in [100, 101]",
        "even == true and not exists rare",
        'day >= "2024-06-01" and day <= "2024-09-15"',
        'day == "2024-02-15"',
        'tags == "x"',
        "number == 50",
        "share > 1.0",
    ],
)
def test_filters_give_the_same(both, filter: str) -> None:
    local, cluster = both
    for mode in ("dense", "hybrid"):
        mine = local.search(QUERIES[1], top_k=50, mode=mode, filter=filter)
        assert mine
        assert_equal(mine, cluster.search(QUERIES[1], top_k=50, mode=mode, filter=filter))


def test_the_rest_gives_the_same(both, cross_encoder) -> None:
    local, cluster = both
    assert cluster.count() == local.count()
    assert cluster.stats().fields == local.stats().fields
    for field in ("kind", "even", "number", "tags"):
        assert sorted(cluster.facets(field, limit=1000)) == sorted(local.facets(field, limit=1000))
    assert cluster.get("str.split") == local.get("str.split")
    assert list(cluster.catalogue.entries()) == list(local.catalogue.entries())
    assert bicross.check(cluster).whole
    mine, theirs = (Searcher(i, cross_encoder).search(QUERIES[0], top_k=10) for i in (local, cluster))
    np.testing.assert_allclose([h.score for h in mine.hits], [h.score for h in theirs.hits], atol=1e-3)


def test_changes_give_the_same(own, functions: list[Document]) -> None:
    local, cluster = own
    assert list(cluster.catalogue.entries()) == list(local.catalogue.entries())
    changed = [Document(d.id, f"{d.text} Now with pumps.", metadata={"kind": "new"}) for d in functions[:5]]
    gone = [d.id for d in functions[10:20]]
    for index in own:
        report = index.add([*changed, functions[30], Document("empty", " ")])
        assert (report.new, report.changed, report.emptied) == (0, 6, 1)
        assert index.delete([*gone, "never"]) == ["never"]
        again = index.add(changed)
        assert (again.new, again.changed, again.unchanged) == (0, 0, 5)
    assert cluster.count() == local.count()
    assert cluster.get(functions[0].id) == local.get(functions[0].id)
    assert cluster.get(gone[0]) == []
    assert_equal(local.search("pumps", mode="dense"), cluster.search("pumps", mode="dense"))
    assert {c.chunk.document_id for c in cluster.search("pumps", mode="lexical")} == {d.id for d in changed}
    assert bicross.check(cluster).whole


def test_exports_are_the_same(both, tmp_path: Path) -> None:
    written = []
    for number, index in enumerate(both):
        bicross.export(index, tmp_path / f"{number}.jsonl")
        written.append((tmp_path / f"{number}.jsonl").read_text().splitlines()[1:])
    assert written[0] == written[1]


def test_it_is_laid_out_over_the_nodes(both) -> None:
    _, cluster = both
    for name, replicas in (("same", 2), ("same.documents", 3)):
        found = cluster.connection.call(lambda client, name=name: client.get_collection(name)).config.params
        assert (found.shard_number, found.replication_factor) == (6, replicas)

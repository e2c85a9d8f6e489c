"""Three nodes, six shards, two replicas: one is killed while documents are stored, and while they are searched."""

from __future__ import annotations

import subprocess
import sys
import threading
import time

import pytest
from qdrant_node import until

import bicross
from bicross import Document
from bicross.errors import IndexLockedError

pytestmark = pytest.mark.slow


def some(number: int, version: int = 1) -> list[Document]:
    return [Document(f"d{n}", f"document {n} about pumps, version {version}") for n in range(number)]


def replicas(index, node) -> list[str]:
    """State of each replica of the collection on a node, or on others, as that node sees it."""
    from qdrant_client import QdrantClient

    client = QdrantClient(url=node.url, check_compatibility=False)
    try:
        found = client.collection_cluster_info(index.connection.address.name)
        return [str(s.state.value) for s in (*found.local_shards, *found.remote_shards)]
    finally:
        client.close()


def test_a_node_dies_while_documents_are_stored(nodes, on_all: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("bicross.index.adding.BATCH_CHUNKS", 20)
    given = some(400)
    acknowledged = 0

    def committed(documents: int) -> None:
        nonlocal acknowledged
        acknowledged += documents
        if acknowledged == 100:
            nodes[0].kill()

    with bicross.create(on_all) as index:
        report = index.add(given, committed=committed)
        assert (report.new, acknowledged) == (400, 400)
        assert index.count().documents == index.count().chunks == 400
        assert {c.chunk.document_id for c in index.search("pumps", top_k=500, mode="dense")} == {d.id for d in given}
        nodes[0].start()
        index.add(some(50, version=2))  # while it catches up
        until(lambda: set(replicas(index, nodes[0])) == {"Active"})
        nodes[1].kill()  # what the first one has now is all there is of some shards
        assert index.count().documents == index.count().chunks == 400
        texts = {c.chunk.document_id: c.chunk.text for c in index.search("pumps", top_k=500, mode="lexical")}
        assert texts == {d.id: d.text for d in [*some(400), *some(50, version=2)]}
        assert bicross.check(index).whole


def test_a_node_dies_while_searches_go_on(nodes, on_all: str) -> None:
    with bicross.create(on_all) as index:
        index.add(some(60))
        expected = [c.chunk.id for c in index.search("document about pumps", top_k=60, mode="lexical")]
        gaps, failed, ended = [], [], threading.Event()

        def searching() -> None:
            while not ended.is_set():
                begun = time.monotonic()
                try:
                    found = index.search("document about pumps", top_k=60, mode="lexical")
                    if [c.chunk.id for c in found] != expected:
                        failed.append("others")
                except Exception as error:
                    failed.append(str(error))
                gaps.append(time.monotonic() - begun)

        threads = [threading.Thread(target=searching) for _ in range(2)]
        for thread in threads:
            thread.start()
        time.sleep(1)
        nodes[0].kill()
        time.sleep(5)
        nodes[0].start()
        time.sleep(2)
        ended.set()
        for thread in threads:
            thread.join()
        assert not failed
        assert len(gaps) > 20
        assert max(gaps) < 30  # one time-out, and then another node


def test_a_writer_dies(nodes, on_all: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """What it left half done is not found, and put right by the next one, once the lease has run out."""
    monkeypatch.setattr("bicross.index.cluster.lease.LASTS", 5.0)
    program = """
import os, sys
import bicross
from bicross.index.cluster import lease
from bicross.index.cluster.chunks import ClusterChunks
lease.LASTS = 5.0
put = ClusterChunks._upsert
def half(self, points):
    put(self, points[: len(points) // 2])
    os.kill(os.getpid(), 9)
with bicross.open(sys.argv[1]) as index:
    ClusterChunks._upsert = half
    index.add([bicross.Document(f"d{n}", f"document {n} about valves") for n in range(40)])
"""
    with bicross.create(on_all) as index:
        index.add(some(20))
    killed = subprocess.run([sys.executable, "-c", program, on_all], timeout=120)
    assert killed.returncode == -9
    with bicross.open(on_all) as index:
        assert index.engine.count() > 20  # half of its chunks are there
        texts = {c.chunk.document_id: c.chunk.text for c in index.search("document", top_k=100, mode="dense")}
        assert texts == {d.id: d.text for d in some(20)}
        with pytest.raises(IndexLockedError, match="another process"):
            index.add(some(1))
        time.sleep(5.5)
        report = index.add([Document(f"d{n}", f"document {n} about valves") for n in range(40)])
        # of the first twenty all chunks were there: they were entered before this began
        assert (report.new, report.changed, report.unchanged) == (20, 0, 20)
        assert index.count().documents == index.engine.count() == 40
        assert bicross.check(index).whole


def test_any_node_may_be_gone(nodes, on_all: str) -> None:
    """Another process takes over the writing, whichever node is gone."""
    bicross.create(on_all).close()
    for number, node in enumerate(nodes):
        node.kill()
        with bicross.open(on_all) as index:
            index.add([Document(f"while {number} was gone", f"a text about pump {number}")])
            assert index.count().documents == number + 1
            assert len(index.search("pump", mode="lexical")) == number + 1
        node.start()
        with bicross.open(on_all) as index:
            until(lambda node=node, index=index: set(replicas(index, node)) == {"Active"})


def test_a_lease_that_runs_out_is_noticed(nodes, on_all: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Who was suspended while chunks were stored enters nothing once another process may write."""
    monkeypatch.setattr("bicross.index.cluster.lease.LASTS", 3.0)
    monkeypatch.setattr("bicross.index.cluster.lease.RENEWED", 60.0)
    with bicross.create(on_all) as index, bicross.open(on_all) as other:
        put = index.engine.put

        def slow(rows) -> None:
            put(rows)
            time.sleep(4)
            other.add([Document("theirs", "a text of the other process")])

        monkeypatch.setattr(index.engine, "put", slow)
        with pytest.raises(bicross.BicrossError, match="another process may write now"):
            index.add([Document("mine", "a text of this one")])
        # all of its chunks were there, so the other one entered it
        assert {entry.id for entry in other.catalogue.entries()} == {"mine", "theirs"}
        assert other.engine.count() == 2
        assert bicross.check(other).whole


def test_without_a_quorum_nothing_is_half_made(nodes, on_all: str) -> None:
    nodes[1].kill()
    nodes[2].kill()
    with pytest.raises(bicross.BicrossError) as raised:
        bicross.create(f"{on_all}?timeout=2")
    assert "\n" not in str(raised.value)
    nodes[1].start()
    nodes[2].start()
    with bicross.create(on_all) as index:
        index.add(some(5))
        assert index.count().documents == 5

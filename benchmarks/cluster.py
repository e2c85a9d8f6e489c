"""What an index on a Qdrant cluster takes of its nodes: work, bytes and memory a chunk, work and bytes a query.

Nodes are processes on this machine, where they compete for its cores. So what is told is the processor time of each
process and the bytes that it sent and received, which hardly depend on that, and not how long it all took. Runs:

* a node with more and more chunks, and with other codes, from which ``bicross plan --cluster`` reckons,
* 1, 2 and 3 nodes with the same number of chunks each, and with the same number in all,
* the machine that embeds, as ``bicross plan`` measures it,
* three nodes with two replicas, of which one is killed with ``kill -9``, or stalled, again and again while they are
  searched.

Vectors and texts are those of ``vectors.py``. A run that is in the results already is passed over, so it goes on where
it was stopped. Prints a line a run and writes ``benchmarks/results/cluster.json``.

Run: ``python benchmarks/cluster.py --data folder --embedded folder``
"""

from __future__ import annotations

import argparse
import json
import os
import re
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np

sys.path.insert(0, str(Path(__file__).parent.parent / "tests" / "cluster"))

from growth import question
from qdrant_node import Node, at, binary, cluster
from vectors import Precomputed, Vectors, blocks, documents, vectors_and_queries

from bicross.index.cluster.address import Layout, Quantisation, parse_address
from bicross.index.cluster.index import ClusterIndex
from bicross.machine import machine_profile

RESULTS = Path(__file__).parent / "results" / "cluster.json"
MODES = {"dense": ("dense", 10), "lexical": ("lexical", 10), "hybrid": ("hybrid", 10), "hybrid 50": ("hybrid", 50)}
QUERIES, PASSES = 40, 5
#: The name of the index, and that a node may take long to answer.
PATIENT = "index?timeout=60"
TICKS = os.sysconf("SC_CLK_TCK")


@dataclass(frozen=True)
class Setting:
    """One run."""

    nodes: int
    chunks: int
    quantisation: Quantisation = "int8"
    words: int = 60

    @property
    def name(self) -> str:
        return f"{self.nodes} x {self.chunks // self.nodes:,}, {self.quantisation}, {self.words} words"


#: The unit of the scaled-down runs: chunks of a node. Up to 50,000 in all a search is exact, and walks no graph.
UNIT = 60_000

#: One node that grows; longer texts; other codes; as many chunks a node; as many in all; and what the figures
#: of one node are held against, too.
SETTINGS = (
    Setting(1, UNIT),
    Setting(1, UNIT, words=180),
    Setting(1, UNIT, "none"),
    Setting(1, UNIT, "binary"),
    Setting(1, 3 * UNIT),
    Setting(2, 2 * UNIT),
    Setting(3, 3 * UNIT),
    Setting(2, 3 * UNIT),
    Setting(1, 5 * UNIT),
)


@dataclass(frozen=True)
class Counters:
    """What a node has used since it was started: seconds of processors; bytes to and from its clients, and others."""

    cpu_s: float
    client: int
    peers: int

    def since(self, before: Counters) -> Counters:
        return Counters(self.cpu_s - before.cpu_s, self.client - before.client, self.peers - before.peers)


def counters(node: Node) -> Counters:
    assert node.process is not None
    fields = Path(f"/proc/{node.process.pid}/stat").read_text().rsplit(")", 1)[1].split()
    return Counters((int(fields[11]) + int(fields[12])) / TICKS, _bytes(node.http + 1), _bytes(node.peers))


def _bytes(port: int) -> int:
    """What went to and from this port, over the connections that are open now."""
    shown = subprocess.run(["ss", "-tniH", f"( sport = :{port} )"], capture_output=True, text=True, check=True).stdout
    return sum(int(number) for number in re.findall(r"bytes_(?:sent|received):(\d+)", shown))


def own_memory(node: Node) -> tuple[int, int]:
    """Bytes of a node that are its own, and those of files that it has in memory."""
    assert node.process is not None
    status = Path(f"/proc/{node.process.pid}/status").read_text()
    own, files = (int(re.findall(rf"{kind}:\s+(\d+) kB", status)[0]) * 1024 for kind in ("RssAnon", "RssFile"))
    return own, files


def stored(node: Node) -> dict[str, int]:
    """Bytes on the disk of a node, by what they are for."""
    taken: dict[str, int] = {}
    for file in (node.folder / "storage" / "collections").rglob("*"):
        if file.is_file():
            parts = file.relative_to(node.folder / "storage" / "collections").parts
            kind = parts[4] if len(parts) > 5 and parts[2] == "segments" else "other"
            kind = "log" if "wal" in parts else "catalogue" if parts[0].endswith(".documents") else kind
            taken[kind] = taken.get(kind, 0) + file.stat().st_blocks * 512
    return taken


def until_quiet(index: ClusterIndex, nodes: Sequence[Node]) -> None:
    """Until the nodes have built their graphs: every collection green, and no node at work."""
    quiet = 0
    while quiet < 3:
        before = [counters(node).cpu_s for node in nodes]
        time.sleep(2)
        busy = max(counters(node).cpu_s - was for node, was in zip(nodes, before, strict=True)) > 0.2
        state = index.connection.call(lambda client: client.get_collection(index.engine.name)).status.value
        quiet = 0 if busy or state != "green" else quiet + 1


def used(nodes: Sequence[Node], before: Sequence[Counters], per: int, scale: float) -> dict[str, list[float]]:
    """Of each node, a unit of work: processor time times ``scale``, bytes from and to clients, and other nodes."""
    spent = [counters(node).since(was) for node, was in zip(nodes, before, strict=True)]
    return {
        "cpu": [round(scale * one.cpu_s / per, 3) for one in spent],
        "client_bytes": [round(one.client / per) for one in spent],
        "peer_bytes": [round(one.peers / per) for one in spent],
    }


def measure(setting: Setting, vectors: Path, queries: Vectors, work: Path) -> dict[str, Any]:
    """Store, wait for the graphs, start the nodes anew, search."""
    row: dict[str, Any] = {"nodes": setting.nodes, "chunks": setting.chunks, "quantisation": setting.quantisation}
    row["words"] = setting.words
    with tempfile.TemporaryDirectory(dir=work) as folder, cluster(Path(folder), setting.nodes) as nodes:
        layout = Layout(replicas=1, quantisation=setting.quantisation)
        with ClusterIndex.create(parse_address(at(nodes, PATIENT)), Precomputed(), layout=layout) as index:
            before, own = [counters(node) for node in nodes], time.process_time()
            for first, block in blocks(vectors, 0, setting.chunks):
                index.add_encoded(documents(block, first, setting.words))
            row["store"] = used(nodes, before, setting.chunks, 1e6)
            row["store"]["program_cpu"] = round(1e6 * (time.process_time() - own) / setting.chunks, 1)
            until_quiet(index, nodes)
            row["store_and_graph"] = used(nodes, before, setting.chunks, 1e6)
        row["disk"] = [{kind: round(size) for kind, size in sorted(stored(node).items())} for node in nodes]
        for node in nodes:
            node.kill()
        for node in nodes:
            node.start()
        with ClusterIndex.open(parse_address(at(nodes, PATIENT)), Precomputed()) as index:
            until_quiet(index, nodes)
            row["memory_at_first"] = [own_memory(node) for node in nodes]
            truth = nearest(vectors, setting.chunks, queries[: QUERIES * PASSES])
            row["queries"] = {name: _search(index, nodes, queries, truth, name) for name in MODES}
            row["memory"] = [own_memory(node) for node in nodes]
    return row


def nearest(vectors: Path, chunks: int, queries: Vectors) -> list[set[str]]:
    """The ten nearest of each query, by an exact search here."""
    scores, numbers = (np.empty((len(queries), 0), kind) for kind in (np.float32, np.int64))
    for first, block in blocks(vectors, 0, chunks):
        scores = np.concatenate([scores, queries @ block.T], 1)
        numbers = np.concatenate([numbers, np.tile(np.arange(first, first + len(block)), (len(queries), 1))], 1)
        best = np.argpartition(-scores, 10, 1)[:, :10]
        scores, numbers = (np.take_along_axis(values, best, 1) for values in (scores, numbers))
    return [set(map(str, row.tolist())) for row in numbers]


def _search(index: ClusterIndex, nodes: list[Node], queries: Vectors, truth: list[set[str]], name: str) -> Any:
    """Some passes of other queries each, after one that makes the nodes warm; the medians, for the machine is noisy."""
    mode, limit = MODES[name]
    asked = [question(query, number, mode) for number, query in enumerate(queries[: QUERIES * PASSES])]
    for one in asked[-QUERIES:]:
        index.retrieve(one, limit)
    passes, shares = [], []
    for start in range(0, len(asked), QUERIES):
        before, own = [counters(node) for node in nodes], time.process_time()
        for number in range(start, start + QUERIES):
            found = index.retrieve(asked[number], limit).candidates
            shares.append(len(truth[number] & {c.chunk.document_id for c in found}) / 10)
        taken = used(nodes, before, QUERIES, 1e3)
        passes.append({**taken, "program_cpu": [round(1e3 * (time.process_time() - own) / QUERIES, 3)]})
    row: dict[str, Any] = {
        what: [statistics.median(values) for values in zip(*(one[what] for one in passes), strict=True)]
        for what in passes[0]
    }
    row["program_cpu"] = row["program_cpu"][0]
    if mode == "dense":
        row["recall@10"] = round(float(np.mean(shares)), 4)
    return row


def dying(vectors: Path, queries: Vectors, work: Path, chunks: int = 20_000, times: int = 3) -> dict[str, Any]:
    """The longest that a search takes around the death of a node, and around one that stops to answer."""
    gaps: dict[str, list[float]] = {"killed": [], "stalled": []}
    failed: list[str] = []
    usual: list[float] = []
    with tempfile.TemporaryDirectory(dir=work) as folder, cluster(Path(folder), 3) as nodes:
        address = parse_address(at(nodes, "index"))
        with ClusterIndex.create(address, Precomputed(), layout=Layout(replicas=2)) as index:
            index.add_encoded(chain.from_iterable(documents(block, n) for n, block in blocks(vectors, 0, chunks)))
            until_quiet(index, nodes)
            taken: list[float] = []
            ended = threading.Event()

            def searching(seed: int) -> None:
                number = seed
                while not ended.is_set():
                    number += 1
                    begun = time.monotonic()
                    try:
                        index.retrieve(question(queries[number % len(queries)], number, "hybrid"), 10)
                    except Exception as error:
                        failed.append(str(error))
                    taken.append(time.monotonic() - begun)

            with ThreadPoolExecutor(2) as pool:
                for seed in (0, 500):
                    pool.submit(searching, seed)
                for kind in gaps:
                    for number in range(times):
                        node = nodes[number % 3]
                        time.sleep(3)
                        usual += taken
                        taken.clear()
                        node.kill() if kind == "killed" else node.stall()
                        time.sleep(10 if kind == "killed" else 20)
                        gaps[kind].append(round(max(taken), 2))
                        node.start() if kind == "killed" else node.go_on()
                        time.sleep(5)
                        _until_active(index)
                        taken.clear()
                ended.set()
    return {
        "chunks": chunks,
        "searches": len(usual),
        "usual_ms": round(1e3 * statistics.median(usual), 1),
        "failed": len(failed),
        "errors": sorted(set(failed))[:3],
        "longest_s": gaps,
    }


def _until_active(index: ClusterIndex) -> None:
    """Until every node has caught up."""
    states = {""}
    while states != {"Active"}:
        time.sleep(0.5)
        info = index.connection.call(lambda client: client.collection_cluster_info(index.engine.name))
        states = {str(shard.state.value) for shard in (*info.local_shards, *info.remote_shards)}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True, help="with corpora/ and beir/")
    parser.add_argument("--embedded", type=Path, required=True, help="keeps what vectors.py embeds")
    parser.add_argument("--work", type=Path, default=Path(tempfile.gettempdir()))
    asked = parser.parse_args()
    results = json.loads(RESULTS.read_text()) if RESULTS.is_file() else {"runs": {}}
    vectors, queries = vectors_and_queries(asked.data, asked.embedded, 5 * UNIT)
    binary()

    def keep() -> None:
        RESULTS.write_text(json.dumps(results, indent=1) + "\n")

    for setting in SETTINGS:
        if setting.name not in results["runs"]:
            results["runs"][setting.name] = row = measure(setting, vectors, queries, asked.work)
            print(setting.name, {k: v for k, v in row.items() if k not in ("disk",)}, flush=True)
            keep()
    if "dying" not in results:
        results["dying"] = dying(vectors, queries, asked.work)
        print("dying", results["dying"], flush=True)
        keep()
    if "profile" not in results:  # of the machine that embeds in the table of docs/scale.md
        results["profile"] = machine_profile(remeasure=True).as_dict()
        keep()


if __name__ == "__main__":
    main()

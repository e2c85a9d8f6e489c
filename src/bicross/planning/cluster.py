"""How many nodes an index on a Qdrant cluster needs, and how many machines to embed its chunks and to serve it.

What a chunk and a query take of a node is measured by ``benchmarks/cluster.py``: chunks of 60 words, vectors of 384
numbers, hybrid searches for 50 chunks with six words, on cores of a Zen 4 server. It is extrapolated by how it grows:
with the chunks (bytes, and the lists of words that a search goes through), with their logarithm (the walk through a
graph), or with the nodes (which the one that is asked asks in its turn). ``docs/scale.md`` says how far off that was
where it could be measured.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Literal, get_args

from bicross.errors import UsageError
from bicross.planning.numbers import positive, size, whole_number
from bicross.planning.profile import MachineProfile
from bicross.planning.workload import Workload

Codes = Literal["none", "int8", "binary"]

#: Tokens of a chunk that was measured, and numbers in its vector.
TOKENS, DIMENSION = 78.0, 384

#: The most chunks of a node that were measured.
MEASURED = 300_000

#: Bytes on disk of a chunk beside its vector: its links in the graph; what does not depend on its text; a token; and
#: a document in one copy of the catalogue, of which there are three.
LINKS, CHUNK, TOKEN, DOCUMENT, CATALOGUES = 44.19, 901.1, 22.24, 342.3, 3

#: Bytes of a token in the lists of words, which searches go through, so that they should be in memory.
LISTS = 3.337

#: Bytes of a chunk that a node keeps beside its codes: what it knows it by.
HELD = 93.62

#: Bytes of the log of a node, and in memory of one that is empty.
LOG, EMPTY = 89_350_144, 59_686_912

#: Microseconds of a node's processors for a chunk that is stored, its part of the graph included, by the chunks of a
#: node; for each token that it has more; and as a multiple of that with other codes.
STORE_US = ((60_000, 671.2), (180_000, 1145))
STORE_TOKEN_US = 3.74
STORE_TIMES: Mapping[Codes, float] = {"none": 1.39, "int8": 1.0, "binary": 1.06}

#: Milliseconds of a node's processors for a query, likewise: by meaning, by words; and for what joins both.
DENSE_MS = ((60_000, 3.5), (180_000, 4.0))
DENSE_TIMES: Mapping[Codes, float] = {"none": 0.929, "int8": 1.0, "binary": 1.5}
LEXICAL_MS = ((60_000, 3.0), (180_000, 3.25))
JOINED_MS = 4.875

#: Milliseconds that the node which is asked takes more for each other node, and bytes among nodes.
FANOUT_MS, AMONG = 2.75, 73_737

#: Of the program that asks: microseconds to store a chunk, milliseconds for a query.
PROGRAM_US, PROGRAM_MS = 529, 18.17

#: Bytes on the network between program and nodes for a chunk, for each token that it has more, and for a query; and
#: what goes from node to node for a chunk that another one keeps, as a multiple.
SENT, SENT_TOKEN, ASKED, FORWARDED = 3_799, 12.4, 49_172, 1.41

#: Shares of a node that are planned with: of its memory and its disk (segments are written anew beside the old ones),
#: and of its processors in the busiest time.
MEMORY, DISK, BUSY = 0.8, 0.6, 0.6

#: The share of a query's time that the first stage may take.
FIRST_STAGE = 0.5

#: Nodes beyond which nothing is looked for.
MOST = 1_000_000

#: Hours of a month.
MONTH = 730

_DAY = 86_400


@dataclass(frozen=True)
class Nodes:
    """What the nodes of a cluster are like, and what is kept on them.

    Attributes:
        cores: Of a node.
        memory, disk: Of a node, in bytes.
        replicas: Copies of each chunk.
        codes: What the graph is walked over, in memory.
        within_s: Seconds within which all is to be embedded.
        chunks_per_s: That a machine reads, embeds and hands over; None for what this machine does.
        node_price, machine_price: Of a node, and of a machine that embeds or serves, an hour; 0 where nothing is known.
    """

    cores: int = 16
    memory: float = 64e9
    disk: float = 1e12
    replicas: int = 2
    codes: Codes = "int8"
    within_s: float = 86_400.0
    chunks_per_s: float | None = None
    node_price: float = 0.0
    machine_price: float = 0.0

    def __post_init__(self) -> None:
        """Raises: UsageError: A value that no node can have."""
        if self.codes not in get_args(Codes):
            raise UsageError(f"quantisation {str(self.codes)[:40]!r} is not known; choose none, int8 or binary")
        whole_number(self.cores, "node cores")
        whole_number(self.replicas, "replicas")
        least = EMPTY / MEMORY
        if not self.memory > least:
            raise UsageError(f"node memory is {size(self.memory)}; a node takes {size(least)} when it is empty")
        if not self.disk > LOG / DISK:
            raise UsageError(f"node disk is {size(self.disk)}; the log alone takes {size(LOG / DISK)}")
        positive(self.within_s, "within hours")
        if self.chunks_per_s is not None:
            positive(self.chunks_per_s, "chunks per second")
        for what, price in (("node price", self.node_price), ("machine price", self.machine_price)):
            if price:
                positive(price, what)


@dataclass(frozen=True)
class ClusterPlan:
    """An index on a cluster.

    Attributes:
        asked: What was asked for.
        disk, memory: Bytes of all copies; of memory what searches touch again and again.
        nodes_for: Nodes that suffice for memory, for disk, for the queries of the busiest time, for the time of a query
            (0: none do), and to lose one of them.
        nodes: The most of these.
        store_core_s, store_s: Seconds of the nodes' processors to store all copies and build their graphs; and with all
            cores at work.
        query_core_s: Seconds of the nodes' processors for a query.
        first_stage_s: Seconds of the first stage of a query: the work of the node that is asked, whose cores share what
            asking the others takes, and of the program.
        waiting_s: What of it the program waits.
        sent: Bytes to the nodes and between them until all copies are stored.
        asked_per_s: Bytes a second from programs to nodes, among nodes and back in the busiest time.
        embed_s: Seconds to read, embed and hand over all chunks on one machine.
        embedders: Machines that do so in the time.
    """

    asked: Nodes
    disk: int
    memory: int
    nodes_for: Mapping[str, int]
    nodes: int
    store_core_s: float
    store_s: float
    query_core_s: float
    first_stage_s: float
    waiting_s: float
    sent: int
    asked_per_s: float
    embed_s: float
    embedders: int

    @property
    def price_once(self) -> float:
        """To embed all of it."""
        return self.embed_s / 3600 * self.asked.machine_price

    def price_month(self, servers: int) -> float:
        """Of the nodes and so many servers."""
        return MONTH * (self.nodes * self.asked.node_price + servers * self.asked.machine_price)


def chunk_disk(tokens: float, dimension: int, codes: Codes) -> float:
    """Bytes on disk of a chunk in one copy, its catalogue aside."""
    return 2 * dimension + code_bytes(dimension, codes) + LINKS + CHUNK + TOKEN * tokens


def chunk_memory(tokens: float, dimension: int, codes: Codes) -> float:
    """Bytes of a chunk that should be in memory: codes and links, which each walk touches, and lists of words.

    Without codes the walk touches the vectors themselves.
    """
    return (code_bytes(dimension, codes) or 2 * dimension) + HELD + LINKS + LISTS * tokens


def own_memory(chunks: float, dimension: int, codes: Codes) -> float:
    """Bytes that the process of a node with so many chunks has of its own, files that it reads left out."""
    return EMPTY + chunks * (code_bytes(dimension, codes) + HELD)


def code_bytes(dimension: int, codes: Codes) -> float:
    """Bytes of the codes of a vector."""
    return {"none": 0.0, "int8": dimension + 4.0, "binary": dimension / 8}[codes]


def store_us(chunks: float, tokens: float, codes: Codes) -> float:
    """Microseconds of a node's processors for a chunk, among so many of the node."""
    words = STORE_TOKEN_US * (tokens - TOKENS)
    return max(0.0, _with_logarithm(STORE_US, chunks) * STORE_TIMES[codes] + words)


def sent_bytes(tokens: float, dimension: int) -> float:
    """Bytes that a program sends of a chunk."""
    return max(0.0, SENT + SENT_TOKEN * (tokens - TOKENS)) + 4 * (dimension - DIMENSION)


def forwarded(nodes: int, copies: int) -> float:
    """How often a chunk goes from one node to another, as a multiple of what the program sends."""
    return FORWARDED * copies * (1 - 1 / nodes)


def query_ms(chunks: float, dimension: int, codes: Codes) -> float:
    """Milliseconds of a node's processors for a query, among so many chunks of the node."""
    dense = _with_logarithm(DENSE_MS, chunks) * DENSE_TIMES[codes] * dimension / DIMENSION
    return dense + _in_proportion(LEXICAL_MS, chunks) + JOINED_MS


def _with_logarithm(measured: tuple[tuple[int, float], tuple[int, float]], chunks: float) -> float:
    """What was measured, and rises with the logarithm of the chunks beyond; less is not planned with."""
    (n0, y0), (n1, y1) = measured
    return y0 + max(0.0, y1 - y0) * math.log(max(chunks, n0) / n0) / math.log(n1 / n0)


def _in_proportion(measured: tuple[tuple[int, float], tuple[int, float]], chunks: float) -> float:
    """As much more for each chunk as between what was measured; less is not planned with."""
    (n0, y0), (n1, y1) = measured
    return y0 + max(0.0, y1 - y0) * max(0.0, (chunks - n0) / (n1 - n0))


def plan_cluster(
    profile: MachineProfile,
    work: Workload,
    asked: Nodes,
    *,
    queries_per_day: int,
    latency_s: float,
    peak: float,
    precision: str = "auto",
) -> ClusterPlan:
    """Nodes, machines that embed, and hours of both.

    Args:
        profile: The machine that embeds.
        work: The corpus.
        asked: The nodes.
        queries_per_day: How many.
        latency_s: What a query may take in all.
        peak: How many times the mean the busiest time has.
        precision: Of the bi-encoder.
    """
    chunks, dimension, tokens, codes = work.chunks, profile.dimension, work.tokens_per_chunk, asked.codes
    stored = asked.replicas * chunks
    disk = stored * chunk_disk(tokens, dimension, codes) + CATALOGUES * DOCUMENT * work.documents
    memory = stored * chunk_memory(tokens, dimension, codes)
    rate = queries_per_day * peak / _DAY

    def node_s(nodes: int) -> float:
        """Seconds of a node's processors for a query, in the mean: one copy of each shard is searched."""
        return query_ms(chunks / nodes, dimension, codes) / 1e3

    def waiting_s(nodes: int) -> float:
        return node_s(nodes) + (nodes - 1) * FANOUT_MS / asked.cores / 1e3

    def first_stage_s(nodes: int) -> float:
        return waiting_s(nodes) + PROGRAM_MS / 1e3

    nodes_for = {
        "memory": math.ceil(memory / (MEMORY * asked.memory - EMPTY)),
        "disk": math.ceil(disk / (DISK * asked.disk - LOG)),
        "queries": _fewest(lambda nodes: rate * node_s(nodes) <= BUSY * asked.cores),
        "latency": _fewest(lambda nodes: first_stage_s(nodes) <= FIRST_STAGE * latency_s),
        "loss of one": max(3, asked.replicas) if asked.replicas > 1 else 1,
    }
    nodes = max(nodes_for.values())
    store_core_s = stored * store_us(stored / nodes, tokens, codes) / 1e6
    read = [t + profile.text_special for t in work.chunk_tokens]
    embed_s = work.documents * work.read_s + chunks * (profile.at(precision).encode.mean(read) + PROGRAM_US / 1e6)
    if asked.chunks_per_s is not None:
        embed_s = chunks / asked.chunks_per_s
    return ClusterPlan(
        asked=asked,
        disk=math.ceil(disk),
        memory=math.ceil(memory),
        nodes_for=nodes_for,
        nodes=nodes,
        store_core_s=store_core_s,
        store_s=store_core_s / (nodes * asked.cores),
        query_core_s=nodes * node_s(nodes),
        first_stage_s=first_stage_s(nodes),
        waiting_s=waiting_s(nodes),
        sent=math.ceil(chunks * sent_bytes(tokens, dimension) * (1 + forwarded(nodes, asked.replicas))),
        asked_per_s=rate * (ASKED + (nodes - 1) * AMONG),
        embed_s=embed_s,
        embedders=math.ceil(embed_s / asked.within_s),
    )


def _fewest(suffice: Callable[[int], bool]) -> int:
    """The least number of nodes that suffices; 0 where none does."""
    most = 1
    while not suffice(most):
        most *= 2
        if most > MOST:
            return 0
    low = most // 2  # does not
    while most - low > 1:
        middle = (low + most) // 2
        low, most = (low, middle) if suffice(middle) else (middle, most)
    return most

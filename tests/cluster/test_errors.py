"""What is wrong with a cluster, its address or its key is said in a line, and nothing is changed."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import grpc
import pytest
from qdrant_client import QdrantClient, models
from qdrant_client.grpc import HealthCheckReply
from qdrant_client.grpc.qdrant_pb2_grpc import QdrantServicer, add_QdrantServicer_to_server

import bicross
from bicross import Document
from bicross.errors import ClusterError, CorpusError, FingerprintError, IndexLockedError, UsageError
from bicross.index.cluster.address import KEY, is_address, parse_address


def bicross_command(*words: object, **environment: str) -> tuple[int, str]:
    command = [sys.executable, "-m", "bicross", *map(str, words)]
    kept = {name: value for name, value in os.environ.items() if name != KEY}
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, env=kept | environment)
    assert "Traceback" not in done.stderr
    return done.returncode, done.stderr


@contextmanager
def client(node) -> Iterator[QdrantClient]:
    made = QdrantClient(url=node.url, check_compatibility=False)
    yield made
    made.close()


@pytest.mark.parametrize(
    "address",
    [
        "qdrant://localhost:6333",
        "qdrant://localhost:6333/",
        "qdrant://localhost:6333/a b",
        "qdrant://localhost:6333/../x",
        "qdrant://localhost:6333/a/b",
        "qdrant://localhost:6333/a.documents",
        "qdrant://localhost:port/a",
        "qdrant://localhost:99999/a",
        "qdrant://:6333/a",
        "qdrant:///a",
        "qdrant://a:1,,b:2/c",
        "qdrant://localhost:6333/a?timeout=soon",
        "qdrant://localhost:6333/a?timeout=-1",
        "qdrant://localhost:6333/a?colour=red",
        "qdrant://user:secret-key-in-it@localhost:6333/a",
        "qdrant://user:secret-key-in-it/more@localhost:6333/a",
        "qdrant://localhost:6333/\u7d22\u5f15",
    ],
)
def test_odd_addresses(address: str) -> None:
    assert is_address(address)
    with pytest.raises(UsageError) as raised:
        parse_address(address)
    assert "\n" not in str(raised.value) and "secret-key-in-it" not in str(raised.value)


def test_a_key_that_is_none() -> None:
    with pytest.raises(UsageError, match="QDRANT_API_KEY has characters"):
        parse_address("qdrant://localhost/a", {KEY: "…"})


def test_addresses() -> None:
    parsed = parse_address("qdrants://a,b:7000,[::1]:8000/x.y-z_1?timeout=2.5", {KEY: " secret "})
    assert parsed.nodes == (("a", 6333), ("b", 7000), ("::1", 8000))
    assert (parsed.name, parsed.tls, parsed.timeout, parsed.key) == ("x.y-z_1", True, 2.5, "secret")
    assert str(parsed) == "qdrants://a:6333,b:7000,[::1]:8000/x.y-z_1"
    assert "secret" not in repr(parsed)
    assert not is_address("folder") and not is_address(Path("qdrant:")) and not is_address("C:\\index")


def test_nobody_there() -> None:
    with socket.socket() as taken:  # bound, and nobody listens
        taken.bind(("127.0.0.1", 0))
        port = taken.getsockname()[1]
        code, error = bicross_command("search", f"qdrant://127.0.0.1:{port}/x", "anything")
    assert code == 1 and error.count("\n") == 1 and "no answer after 2 attempts" in error


def test_a_port_of_something_else(alone) -> None:
    code, error = bicross_command("info", f"qdrant://127.0.0.1:{alone.http + 1}/x?timeout=2")  # that of gRPC
    assert code == 1 and error.count("\n") == 1


def test_keys(start_node: Callable, name: str, functions: list[Document]) -> None:
    node = start_node(key="the-right-key")
    address = f"qdrant://127.0.0.1:{node.http}/{name}"
    code, error = bicross_command("info", address)
    assert code == 2 and "it wants a key; set QDRANT_API_KEY" in error
    code, error = bicross_command("info", address, QDRANT_API_KEY="not-the-right-key")
    assert code == 2 and "the key is wrong" in error and "not-the-right-key" not in error
    code, error = bicross_command("info", address, QDRANT_API_KEY="the-right-key")
    assert code == 2 and f"has no index '{name}'" in error and "the-right-key" not in error


def test_collections_of_others(alone, address: str, name: str, cities: Path) -> None:
    with client(alone) as others:
        others.create_collection(name, vectors_config=models.VectorParams(size=4, distance=models.Distance.DOT))
        for call in (bicross.open, bicross.create):
            with pytest.raises((CorpusError, UsageError), match=r"bicross did not make|there is a collection"):
                call(address)
        code, error = bicross_command("index", cities, "--into", address)
        assert code == 1 and "bicross did not make the collection" in error
        assert others.get_collection(name).points_count == 0


def test_other_models_and_settings(alone, address: str, make_model: Callable, cities: Path) -> None:
    bicross.create(address).close()
    with pytest.raises(FingerprintError, match="was made with all-MiniLM-L6-v2"):
        bicross.open(address, make_model())
    with pytest.raises(FingerprintError, match="chunk_tokens"):
        bicross.open(address, chunk_tokens=32)
    code, error = bicross_command("index", cities, "--into", address, "--overlap", "20")
    assert code == 1 and "other settings" in error
    with bicross.open(address) as opened:
        assert opened.count().documents == 0


def test_half_an_index(alone, address: str, name: str) -> None:
    bicross.create(address).close()
    with client(alone) as others:
        others.delete_collection(f"{name}.documents")
    with pytest.raises(CorpusError, match="half an index"):
        bicross.open(address)


def test_a_server_that_is_too_old(name: str) -> None:
    class Old(QdrantServicer):
        def HealthCheck(self, request, context):  # noqa: N802
            return HealthCheckReply(title="qdrant", version="1.9.7")

    server = grpc.server(ThreadPoolExecutor(1))
    add_QdrantServicer_to_server(Old(), server)
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    with pytest.raises(ClusterError, match=r"Qdrant 1\.9\.7; bicross needs 1\.16 or newer"):
        bicross.open(f"qdrant://127.0.0.1:{port - 1}/{name}")
    server.stop(None)


def test_one_writes_at_a_time(address: str, functions: list[Document]) -> None:
    with bicross.create(address) as first, bicross.open(address) as second:
        first.add(functions[:3])
        with pytest.raises(IndexLockedError, match="another process writes to it"):
            second.add(functions[3:6])
        assert second.count().documents == 3  # it reads all the same
    with bicross.open(address) as third:
        third.add(functions[3:6])
        assert third.count().documents == 6


def test_a_node_that_does_not_answer(start_node: Callable, name: str, functions: list[Document]) -> None:
    node = start_node()
    address = f"qdrant://127.0.0.1:{node.http}/{name}?timeout=1"
    with bicross.create(address) as index:
        index.add(functions[:5])
        node.stall()
        with pytest.raises(ClusterError, match=r"no answer after 6 attempts"):
            index.search("path")
        node.go_on()
        assert index.search("path")
        assert index.count().documents == 5

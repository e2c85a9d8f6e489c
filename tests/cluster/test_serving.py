"""Servers in front of one cluster keep nothing of their own: any of them answers, any of them writes."""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import httpx
import pytest

import bicross


@pytest.fixture
def serve(tmp_path: Path) -> Iterator[Callable[[str], httpx.Client]]:
    """Serve an address by a process of its own: ``serve(address)`` gives a client of it."""
    running: list[tuple[subprocess.Popen[bytes], httpx.Client]] = []

    def start(address: str) -> httpx.Client:
        log = tmp_path / f"log{len(running)}"
        with log.open("wb") as stream:
            command = [sys.executable, "-m", "bicross", "serve", address, "--port", "0"]
            process = subprocess.Popen(command, stdout=stream, stderr=stream)
        while not (found := re.search(r"is served at (\S+)", log.read_text())):
            assert process.poll() is None, log.read_text()
        client = httpx.Client(base_url=found.group(1), timeout=60, transport=httpx.HTTPTransport(retries=20))
        running.append((process, client))
        return client

    yield start
    for process, client in running:
        client.close()
        process.terminate()
        process.wait(60)


def test_two_servers_of_one_index(address: str, serve) -> None:
    bicross.create(address).close()
    servers = [serve(address), serve(address)]
    for number in range(10):  # in turns, each must wait until the other has written
        given = {
            "documents": [{"id": f"d{number}", "text": f"document {number} about pumps", "metadata": {"n": number}}]
        }
        answer = servers[number % 2].post("/documents", json=given)
        assert answer.status_code == 200 and answer.json()["new"] == 1, answer.text
    asked = {"query": "pumps", "top_k": 20, "filter": "n >= 5"}
    answers = [server.post("/search", json=asked).json() for server in servers]
    assert {hit["document_id"] for hit in answers[0]["hits"]} == {f"d{n}" for n in range(5, 10)}
    assert [h["document_id"] for h in answers[0]["hits"]] == [h["document_id"] for h in answers[1]["hits"]]
    assert servers[0].request("DELETE", "/documents", json={"ids": ["d9"]}).json()["deleted"] == 1
    assert servers[1].get("/documents/d9").status_code == 404
    assert servers[1].get("/ready").json() == {"ready": True, "documents": 9, "chunks": 9}


def test_a_cluster_that_is_gone(start_node, name: str, serve) -> None:
    node = start_node()
    address = f"qdrant://127.0.0.1:{node.http}/{name}?timeout=1"
    with bicross.create(address) as index:
        index.add([bicross.Document("a", "a text about pumps")])
    server = serve(address)
    assert server.get("/ready").status_code == 200
    node.kill()
    for answer in (server.get("/ready"), server.post("/search", json={"query": "pumps"})):
        assert answer.status_code == 503
        assert answer.json()["message"] == "the cluster does not answer; try again later"
    assert server.get("/health").status_code == 200
    assert server.post("/embed", json={"inputs": "a text"}).status_code == 200  # which needs no cluster
    node.start()
    assert server.get("/ready").status_code == 200
    assert server.post("/search", json={"query": "pumps"}).json()["hits"][0]["document_id"] == "a"

"""Assistants, through the client of the protocol's own library."""

from __future__ import annotations

import asyncio
import contextlib
import os
import socket
import subprocess
import sys
import time
from pathlib import Path

import httpx
import pytest
from mcp import Client, StdioServerParameters
from mcp.client.stdio import stdio_client
from mcp.shared.exceptions import MCPError

from .conftest import Running, Start

QUERY = "remove white space from both ends"


async def use(client: Client, expected: list[str]) -> None:
    tools = {tool.name: tool for tool in (await client.list_tools()).tools}
    assert set(tools) == {"search", "get_document"}
    assert tools["search"].annotations.read_only_hint
    found = (await client.call_tool("search", {"query": QUERY, "top_k": 3})).structured_content
    assert [hit["document_id"] for hit in found["hits"]] == expected
    assert 0 <= found["hits"][0]["relevance"] <= 1
    best = found["hits"][0]
    whole = (await client.call_tool("get_document", {"document_id": best["document_id"]})).structured_content
    assert best["text"] in whole["text"] and whole["metadata"]["home"]
    part = (
        await client.call_tool("get_document", {"document_id": best["document_id"], "length": 10})
    ).structured_content
    assert part["text"] == whole["text"][:10] and part["next_start"] == 10
    for name, arguments in (
        ("search", {"query": "x", "top_k": 1000}),
        ("search", {"query": "x", "filter": "home =="}),
        ("get_document", {"document_id": "nobody"}),
    ):
        with contextlib.suppress(MCPError):  # either way of saying so is right
            assert (await client.call_tool(name, arguments)).is_error


@pytest.fixture
def expected(running: Running) -> list[str]:
    return [hit["document_id"] for hit in running.search(QUERY, top_k=3)["hits"]]


def over_stdio(index: Path, expected: list[str]) -> None:
    parameters = StdioServerParameters(
        command=sys.executable, args=["-m", "bicross", "mcp", str(index)], env=dict(os.environ)
    )

    async def run() -> None:
        async with Client(stdio_client(parameters)) as client:
            await use(client, expected)

    asyncio.run(run())


def test_over_standard_input(index: Path, expected: list[str]) -> None:
    over_stdio(index, expected)


def test_beside_a_server_that_has_the_index_open(index: Path, serve: Start, expected: list[str]) -> None:
    server = serve(index)
    over_stdio(index, expected)
    assert server.metric('bicross_requests_total{method="POST",route="/search"') >= 1


def test_over_http(index: Path, tmp_path: Path, expected: list[str]) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    with (tmp_path / "log").open("w") as log:
        process = subprocess.Popen(
            [sys.executable, "-m", "bicross", "mcp", str(index), "--http", "--port", str(port)], stdout=log, stderr=log
        )
    try:
        for _ in range(300):
            if "is served" in (tmp_path / "log").read_text():
                break
            time.sleep(0.1)

        async def run() -> None:
            async with Client(f"http://127.0.0.1:{port}/mcp") as client:
                await use(client, expected)

        asyncio.run(run())
        foreign = httpx.post(f"http://127.0.0.1:{port}/mcp", json={}, headers={"origin": "https://evil.example"})
        assert foreign.status_code == 403
    finally:
        process.terminate()
        assert process.wait(30) == 0

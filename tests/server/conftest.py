"""A server in a process of its own, over a real index."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import httpx
import pytest

import bicross
from bicross import BiEncoder, Document


class Running:
    """A server process and how to reach it."""

    def __init__(self, process: subprocess.Popen[str], url: str, log: Path) -> None:
        self.process, self.url, self.log = process, url, log
        self.http = httpx.Client(base_url=url, timeout=60)

    def search(self, query: str, **options: object) -> dict:
        response = self.http.post("/search", json={"query": query, **options})
        assert response.status_code == 200, response.text
        return response.json()

    def metric(self, name: str) -> float:
        """A counter or gauge, by its name and labels as they are shown."""
        lines = self.http.get("/metrics").text.splitlines()
        return sum(float(line.rsplit(" ", 1)[1]) for line in lines if line.startswith(name))

    def entries(self) -> list[dict]:
        """The access log."""
        return [json.loads(line) for line in self.log.read_text().splitlines() if line.startswith("{")]

    def stop(self, with_signal: int = signal.SIGTERM) -> int:
        self.http.close()
        self.process.send_signal(with_signal)
        return self.process.wait(60)


def start(index: Path, log: Path, *options: str, environment: dict[str, str] | None = None) -> Running:
    """Start a server on a free port, and wait until it is ready."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [sys.executable, "-m", "bicross", "serve", str(index), "--port", str(port), *options]
    with log.open("w") as out:
        process = subprocess.Popen(
            command, stdout=out, stderr=out, text=True, env={**os.environ, **(environment or {})}
        )
    url = f"http://127.0.0.1:{port}"
    for _ in range(600):
        assert process.poll() is None, log.read_text()
        with contextlib.suppress(httpx.TransportError):
            if httpx.get(f"{url}/ready", timeout=5).status_code == 200:
                return Running(process, url, log)
        time.sleep(0.1)
    process.kill()
    raise AssertionError(log.read_text())


Start = Callable[..., Running]


@pytest.fixture
def serve(tmp_path: Path) -> Iterator[Start]:
    """``serve(index, *options)`` starts a server; it ends with the test."""
    started: list[Running] = []

    def run(index: Path, *options: str, **more: object) -> Running:
        started.append(start(index, tmp_path / f"server-{len(started)}.log", *options, **more))
        return started[-1]

    yield run
    for running in started:
        if running.process.poll() is None:
            running.stop(signal.SIGKILL)


@pytest.fixture(scope="session")
def made(tmp_path_factory: pytest.TempPathFactory, bi_encoder: BiEncoder, functions: list[Document]) -> Path:
    """An index of Python's functions, with fields to filter by. Tests take copies."""
    folder = tmp_path_factory.mktemp("served") / "index"
    with bicross.create(folder) as index:
        index.add(
            replace(d, title=d.id, metadata={"home": d.id.partition(".")[0], "letters": len(d.text)}) for d in functions
        )
    return folder


@pytest.fixture
def index(made: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(made, tmp_path / "index"))


@pytest.fixture(scope="session")
def running(made: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    """One server for the tests that change nothing."""
    folder = tmp_path_factory.mktemp("running")
    shutil.copytree(made, folder / "index")
    server = start(folder / "index", folder / "log")
    yield server
    assert server.stop() == 0, server.log.read_text()

"""Who may ask, how much, and how many at once."""

from __future__ import annotations

import json
import socket
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx
import pytest

from .conftest import Running, Start

WRITE, READ = "w" * 32, "r" * 32
MANY = {"query": "pump", "documents": [f"Sentence {n} about {n * n} pumps. " * 30 for n in range(200)]}


def bearer(key: str) -> dict[str, str]:
    return {"authorization": f"Bearer {key}"}


def test_keys(index: Path, tmp_path: Path, serve: Start) -> None:
    keys = tmp_path / "keys"
    keys.write_text(f"# for the page\nread {READ}\n")
    server = serve(index, "--keys", str(keys), environment={"BICROSS_API_KEY": WRITE})
    ask = {"json": {"query": "sort a list"}}
    assert server.http.get("/health").status_code == server.http.get("/").status_code == 200
    assert server.http.get("/metrics").status_code == 401
    missing = server.http.post("/search", **ask)
    assert missing.status_code == 401 and "a key is needed" in missing.json()["message"]
    assert server.http.post("/search", **ask, headers=bearer("x" * 32)).status_code == 401
    assert server.http.post("/search", **ask, headers=bearer(READ)).status_code == 200
    assert server.http.post("/search", **ask, headers={"x-api-key": WRITE}).status_code == 200
    new = {"json": {"documents": [{"id": "k", "text": "a text"}]}}
    assert server.http.post("/documents", **new, headers=bearer(READ)).status_code == 403
    assert server.http.post("/documents", **new, headers=bearer(WRITE)).status_code == 200
    assert server.http.delete("/documents/k", headers=bearer(READ)).status_code == 403
    logged = server.log.read_text()
    assert READ not in logged and WRITE not in logged


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--host", "0.0.0.0"], "there is no key"),
        (["--keys", "nowhere"], "cannot be read"),
        (["--port", "99999"], "between 0 and 65535"),
    ],
)
def test_a_server_that_would_be_open_or_is_told_nonsense_does_not_start(
    index: Path, options: list[str], said: str
) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "bicross", "serve", str(index), *options], capture_output=True, text=True, timeout=60
    )
    assert done.returncode == 2 and said in done.stderr and "Traceback" not in done.stderr


def test_a_port_that_is_taken_and_a_short_key(index: Path) -> None:
    command = [sys.executable, "-m", "bicross", "serve", str(index)]
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = str(taken.getsockname()[1])
        done = subprocess.run([*command, "--port", port], capture_output=True, text=True, timeout=60)
    assert done.returncode == 2 and "choose another --port" in done.stderr
    done = subprocess.run(
        command, capture_output=True, text=True, timeout=60, env={"BICROSS_API_KEY": "abc", "PATH": ""}
    )
    assert done.returncode == 2 and "at least 16 characters" in done.stderr and "abc" not in done.stderr


def test_another_file_is_not_taken_for_keys(index: Path, tmp_path: Path) -> None:
    file = tmp_path / "settings.json"
    file.write_text('{"name":"a-setting-of-another-program"}')
    command = [sys.executable, "-m", "bicross", "serve", str(index), "--keys", str(file)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60)
    assert done.returncode == 2 and "line 1: a key has letters" in done.stderr and "another-program" not in done.stderr


def test_beyond_what_can_wait_clients_are_told_to_come_again(index: Path, serve: Start) -> None:
    server = serve(index, "--in-flight", "4")
    with ThreadPoolExecutor(16) as pool:
        asked = [
            pool.submit(httpx.post, f"{server.url}/v1/rerank", json={**MANY, "query": f"pump {n}"}, timeout=60)
            for n in range(16)
        ]
        answers = [future.result() for future in asked]
    statuses = {answer.status_code for answer in answers}
    assert statuses == {200, 429}
    refused = next(answer for answer in answers if answer.status_code == 429)
    assert int(refused.headers["retry-after"]) >= 1 and "try again" in refused.json()["message"]
    assert server.metric("bicross_requests_refused_total") == sum(a.status_code == 429 for a in answers)
    assert server.search("sort")["hits"]


def test_work_for_a_client_that_left_is_dropped(running: Running) -> None:
    before = running.metric('bicross_requests_abandoned_total{why="gone"}')
    with pytest.raises(httpx.ReadTimeout):
        httpx.post(f"{running.url}/v1/rerank", json={**MANY, "query": "who leaves"}, timeout=0.3)
    end = time.monotonic() + 5
    while running.metric('bicross_requests_abandoned_total{why="gone"}') == before and time.monotonic() < end:
        time.sleep(0.05)
    assert running.metric('bicross_requests_abandoned_total{why="gone"}') == before + 1
    while running.metric("bicross_queue_items") and time.monotonic() < end:
        time.sleep(0.05)
    assert running.metric("bicross_queue_items") == 0


def test_a_deadline_is_kept(running: Running) -> None:
    begun = time.monotonic()
    answer = running.http.post("/v1/rerank", json={**MANY, "query": "in no time", "budget_ms": 20})
    assert answer.status_code == 504 and "time" in answer.json()["message"]
    assert time.monotonic() - begun < 5


def test_bodies(running: Running) -> None:
    post = running.http.post
    assert post("/search", content=b'{"query":"x"}', headers={"content-type": "text/plain"}).status_code == 415
    assert post("/search", content=b"{", headers={"content-type": "application/json"}).status_code == 422
    large = post("/search", content=b"x" * (17 * 2**20), headers={"content-type": "application/json"})
    assert large.status_code == 413
    streamed = post("/search", content=(b"x" * 2**20 for _ in range(18)), headers={"content-type": "application/json"})
    assert streamed.status_code == 413
    many = post("/v1/embeddings", json={"input": ["x"] * 5000})
    assert many.status_code == 400 and "4,096" in many.json()["message"]


def test_foreign_pages_and_names_are_refused(running: Running) -> None:
    ask = {"json": {"query": "x"}}
    assert running.http.post("/search", **ask, headers={"origin": "https://evil.example"}).status_code == 403
    assert running.http.post("/search", **ask, headers={"origin": running.url}).status_code == 200
    assert running.http.post("/search", **ask, headers={"host": "evil.example:80"}).status_code == 421
    answer = running.http.options("/search", headers={"origin": "https://evil.example"})
    assert "access-control-allow-origin" not in answer.headers


def test_headers(running: Running) -> None:
    headers = running.http.get("/").headers
    assert "default-src 'none'" in headers["content-security-policy"]
    assert "unsafe-inline" not in headers["content-security-policy"]
    assert headers["x-content-type-options"] == "nosniff" and "server" not in headers


@pytest.mark.parametrize(
    "path", ["/page/../../pyproject.toml", "/page/%2e%2e/%2e%2e/app.py", "/page/..%2fapp.py", "//etc/passwd"]
)
def test_no_path_leads_to_other_files(running: Running, path: str) -> None:
    host, port = running.url.removeprefix("http://").split(":")
    with socket.create_connection((host, int(port)), timeout=20) as connection:
        connection.sendall(f"GET {path} HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\n\r\n".encode())
        answer = b"".join(iter(lambda: connection.recv(65536), b""))
    assert b" 404 " in answer.split(b"\r\n")[0], answer[:200]
    assert "message" in json.loads(answer.partition(b"\r\n\r\n")[2])


@pytest.mark.slow
@pytest.mark.parametrize(
    "sent",
    [
        b"GET /hea",
        b"POST /search HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: application/json\r\nContent-Length: 100\r\n\r\n{",
    ],
)
def test_a_slow_client_is_cut(running: Running, sent: bytes) -> None:
    host, port = running.url.removeprefix("http://").split(":")
    begun = time.monotonic()
    with socket.create_connection((host, int(port)), timeout=40) as connection:
        connection.sendall(sent)
        try:
            answer = connection.recv(65536)
        except ConnectionResetError:
            answer = b""
    assert answer == b"" or b" 408 " in answer
    assert time.monotonic() - begun < 30

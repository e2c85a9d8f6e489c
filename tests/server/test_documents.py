"""Writes that were answered are on disk and found."""

from __future__ import annotations

import signal
import threading
from pathlib import Path

import httpx
import pytest

import bicross

from .conftest import Start

NEW = {
    "id": "a/b c?.txt",
    "text": "The turbine was stopped since a bearing ran hot.",
    "title": "Turbine",
    "metadata": {"n": 1},
}


def test_store_find_replace_delete(index: Path, serve: Start) -> None:
    server = serve(index)
    report = server.http.post("/documents", json={"documents": [NEW]}).json()
    assert (report["new"], report["changed"]) == (1, 0)
    assert server.search("hot bearing")["hits"][0]["document_id"] == NEW["id"]
    path = f"/documents/{NEW['id'].replace('/', '%2F').replace(' ', '%20').replace('?', '%3F')}"
    assert server.http.get(path).json()["chunks"][0]["text"] == NEW["text"]
    changed = {**NEW, "text": "The turbine runs again."}
    assert server.http.put("/documents", json={"documents": [changed]}).json()["changed"] == 1
    assert server.http.get(path).json()["chunks"][0]["text"] == changed["text"]
    assert server.http.request("DELETE", "/documents", json={"ids": [NEW["id"], "nobody"]}).json() == {
        "deleted": 1,
        "unknown": ["nobody"],
    }
    assert server.http.get(path).status_code == 404
    assert server.http.delete(path).status_code == 404
    assert server.stop() == 0
    with bicross.open(index) as opened:
        assert not opened.get(NEW["id"])


@pytest.mark.parametrize(
    ("body", "status"),
    [
        ({"documents": []}, 422),
        ({"documents": [{"id": "", "text": "x"}]}, 422),
        ({"documents": [{"id": "x", "text": "x", "metadata": {"a": {"b": [float("inf")]}}}]}, None),
        ({"documents": [{"id": "x" * 20_000, "text": "x"}]}, 400),
    ],
)
def test_what_cannot_be_stored(index: Path, serve: Start, body: dict, status: int | None) -> None:
    server = serve(index)
    before = server.http.get("/ready").json()
    if status is None:  # no JSON at all
        response = server.http.post(
            "/documents",
            content='{"documents": [{"id": "x", "text": "x", "metadata": {"a": Infinity}}]}',
            headers={"content-type": "application/json"},
        )
        status = response.status_code
        assert status in (400, 422)
    else:
        response = server.http.post("/documents", json=body)
    assert response.status_code == status and response.json()["message"]
    assert server.http.get("/ready").json() == before


def test_after_a_kill_every_acknowledged_write_is_there(index: Path, serve: Start) -> None:
    server = serve(index)
    acknowledged: list[str] = []

    def write() -> None:
        with httpx.Client(base_url=server.url, timeout=60) as http:
            for n in range(10_000):
                document = {"id": f"w{n}", "text": f"Entry number {n} of the log of the pump."}
                try:
                    if http.post("/documents", json={"documents": [document]}).status_code == 200:
                        acknowledged.append(document["id"])
                except httpx.TransportError:
                    return

    thread = threading.Thread(target=write)
    thread.start()
    while len(acknowledged) < 5:
        thread.join(0.05)
    server.stop(signal.SIGKILL)
    thread.join()
    again = serve(index)
    missing = [i for i in acknowledged if again.http.get(f"/documents/{i}").status_code != 200]
    assert len(acknowledged) >= 5 and not missing


def test_a_stop_finishes_what_was_begun(index: Path, serve: Start) -> None:
    server = serve(index)
    texts = [{"id": f"d{n}", "text": f"Paragraph {n} about pumps and valves. " * 20} for n in range(300)]
    answers: list[httpx.Response] = []
    thread = threading.Thread(
        target=lambda: answers.append(httpx.post(f"{server.url}/documents", json={"documents": texts}, timeout=60))
    )
    thread.start()
    while not server.metric("bicross_requests_in_flight"):
        thread.join(0.01)
    assert server.stop() == 0
    thread.join()
    assert answers[0].status_code == 200 and answers[0].json()["new"] == 300
    with bicross.open(index) as opened:
        assert all(opened.get(text["id"]) for text in texts)


def test_a_link_that_leads_elsewhere_is_followed(index: Path, tmp_path: Path, serve: Start) -> None:
    other = tmp_path / "other"
    with bicross.create(other) as made:
        made.add([bicross.Document("new", "Nothing but a new sentence about bread.")])
    link = tmp_path / "current"
    link.symlink_to(index)
    server = serve(link)
    assert server.http.get("/ready").json()["documents"] > 100
    link.unlink()
    link.symlink_to(other)
    for _ in range(300):
        if server.http.get("/ready").json()["documents"] == 1:
            break
        threading.Event().wait(0.1)
    assert server.search("bread")["hits"][0]["document_id"] == "new"
    with bicross.open(index):  # the one before is free again
        pass

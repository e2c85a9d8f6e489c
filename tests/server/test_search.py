"""What the server finds is what the library finds."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

import bicross
from bicross import CrossEncoder, Searcher

from .conftest import Running

QUERY = "remove white space from both ends"


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"rerank": False, "mode": "dense"},
        {"mode": "lexical", "top_k": 3},
        {"filter": 'home == "bytes"', "candidates": 20},
        {"fusion": "rrf", "read_all": True},
        {"min_relevance": 0.3},
    ],
    ids=str,
)
def test_hits_are_those_of_a_searcher(
    running: Running, made: Path, cross_encoder: CrossEncoder, tmp_path: Path, options: dict
) -> None:
    answer = running.search(QUERY, **options)
    asked = {k: v for k, v in options.items() if k != "rerank"}
    with bicross.open(shutil.copytree(made, tmp_path / "copy")) as index:
        expected = Searcher(index, cross_encoder if options.get("rerank", True) else None).search(QUERY, **asked)
    assert [hit["document_id"] for hit in answer["hits"]] == [hit.document_id for hit in expected.hits]
    assert [hit["score"] for hit in answer["hits"]] == pytest.approx([hit.score for hit in expected.hits], abs=0.05)
    assert answer["retrieved"] == expected.retrieved
    assert {stage["stage"] for stage in answer["stages"]} == {stage.stage for stage in expected.stages}
    assert (answer["reading"] or {}).get("read", 0) == (expected.reading.read if expected.reading else 0)


def test_a_stream_has_the_first_stage_before_the_answer(running: Running) -> None:
    request = {"query": QUERY, "stream": True, "highlight": True}
    with running.http.stream("POST", "/search", json=request) as response:
        assert response.headers["content-type"].startswith("text/event-stream")
        text = response.read().decode()
    blocks = [block.split("\n") for block in text.strip().split("\n\n")]
    assert [block[0] for block in blocks] == ["event: retrieved", "event: result"]
    retrieved, result = (json.loads(block[1].removeprefix("data: ")) for block in blocks)
    assert [hit["document_id"] for hit in retrieved["hits"]] == result["retrieved"][: len(retrieved["hits"])]
    assert all(hit["relevance"] is None for hit in retrieved["hits"])
    assert result["hits"][0]["relevance"] > 0
    hit = result["hits"][0]
    assert {hit["text"][start:end].lower() for start, end in hit["matches"]} & {
        "remove",
        "removed",
        "whitespace",
        "ends",
    }


def test_facets_and_fields(running: Running) -> None:
    assert running.http.get("/fields").json() == {"home": "text", "letters": "integer"}
    facets = running.http.get("/facets", params={"field": "home", "limit": 2}).json()
    assert len(facets) == 2 and facets[0]["documents"] >= facets[1]["documents"] > 1
    wrong = running.http.get("/facets", params={"field": "colour"})
    assert wrong.status_code == 400 and "colour" in wrong.json()["message"]


@pytest.mark.parametrize(
    ("body", "status", "message"),
    [
        ({"query": "  "}, 400, "query is empty"),
        ({"query": "x", "top_k": 0}, 422, "top_k: "),
        ({"query": "x", "top_k": 10**9}, 400, "top_k is 1000000000"),
        ({"query": "x", "reranked": True}, 422, "reranked: "),
        ({"query": "x", "filter": "home =="}, 400, "filter"),
        ({"query": "x", "rerank": False, "budget_ms": 5}, 400, "there is no cross-encoder"),
        ({"query": "x" * 1_000_001}, 400, "a text may have 1,000,000"),
    ],
)
def test_what_is_wrong_is_said_in_one_line(running: Running, body: dict, status: int, message: str) -> None:
    response = running.http.post("/search", json=body)
    assert response.status_code == status
    said = response.json()
    assert message in said["message"] and "\n" not in said["message"] and said["error"]["message"] == said["message"]
    assert "Traceback" not in response.text and "site-packages" not in response.text


def test_the_second_time_nothing_is_read(running: Running) -> None:
    query = "how is a list put in order"
    first = running.search(query)
    tokens = running.metric("bicross_tokens_total")
    assert running.search(query)["hits"] == first["hits"]
    assert running.metric("bicross_tokens_total") == tokens
    assert running.metric('bicross_cache_total{encoder="cross-encoder",found="yes"}') > 0


def test_no_query_is_logged(running: Running) -> None:
    running.search("something nobody else asks")
    assert "nobody else" not in running.log.read_text()
    assert running.entries()[-1]["route"] == "/search"

"""Clients of other services get what they expect."""

from __future__ import annotations

import base64

import cohere
import numpy as np
import openai
import pytest
from huggingface_hub import InferenceClient, constants

from bicross import BiEncoder, CrossEncoder

from .conftest import Running

TEXTS = ["The pump was replaced.", "Paris is the capital of France.", "今天北京的天气很好。"]
QUERY = "capital of France"


@pytest.fixture
def expected(cross_encoder: CrossEncoder) -> list[tuple[int, float]]:
    ranked = cross_encoder.rank(QUERY, TEXTS, scores="relevance")
    return [(r.corpus_id, r.score) for r in ranked]


@pytest.mark.parametrize("format", ["float", "base64"])
def test_openai(running: Running, bi_encoder: BiEncoder, format: str) -> None:
    client = openai.OpenAI(base_url=f"{running.url}/v1", api_key="not needed here", http_client=running.http)
    answer = client.embeddings.create(model="any", input=TEXTS, encoding_format=format)
    rows = [
        np.frombuffer(base64.b64decode(d.embedding), "<f4") if isinstance(d.embedding, str) else np.array(d.embedding)
        for d in answer.data
    ]
    np.testing.assert_allclose(rows, bi_encoder.encode_document(TEXTS), atol=0.01)
    assert answer.usage.total_tokens > 10
    assert bi_encoder.name in [model.id for model in client.models.list()]
    with pytest.raises(openai.BadRequestError, match="dimensions is 7"):
        client.embeddings.create(model="any", input="x", dimensions=7)


def test_cohere(running: Running, expected: list[tuple[int, float]]) -> None:
    old, new = (
        home(api_key="none", base_url=running.url, httpx_client=running.http)
        for home in (cohere.Client, cohere.ClientV2)
    )
    first = old.rerank(model="any", query=QUERY, documents=TEXTS, top_n=2, return_documents=True)
    assert [(r.index, r.relevance_score) for r in first.results] == [
        (place, pytest.approx(score, abs=0.02)) for place, score in expected[:2]
    ]
    assert first.results[0].document.text == TEXTS[first.results[0].index]
    second = new.rerank(model="any", query=QUERY, documents=TEXTS)
    assert [r.index for r in second.results] == [place for place, _ in expected]
    assert second.meta.api_version.version == "2"


def test_jina(running: Running, expected: list[tuple[int, float]]) -> None:
    """Jina has no client of its own: its documentation posts with requests."""
    body = {"model": "any", "query": QUERY, "documents": [{"text": t} for t in TEXTS], "return_documents": False}
    answer = running.http.post("/v1/rerank", json=body).json()
    assert [r["index"] for r in answer["results"]] == [place for place, _ in expected]
    assert answer["usage"]["total_tokens"] > 0 and "document" not in answer["results"][0]


def test_text_embeddings_inference(
    running: Running, bi_encoder: BiEncoder, cross_encoder: CrossEncoder, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)  # this client asks no hub, and would refuse
    client = InferenceClient(f"{running.url}/embed")
    found = client.feature_extraction(TEXTS[0])
    np.testing.assert_allclose(found, bi_encoder.encode_document(TEXTS[:1]), atol=0.01)
    ranks = running.http.post("/rerank", json={"query": QUERY, "texts": TEXTS, "raw_scores": True, "return_text": True})
    expected = cross_encoder.rank(QUERY, TEXTS)
    assert [(r["index"], r["score"]) for r in ranks.json()] == [
        (r.corpus_id, pytest.approx(r.score, abs=0.05)) for r in expected
    ]
    long = {"inputs": "word " * 2000, "truncate": False}
    assert "longer than" in running.http.post("/embed", json=long).json()["message"]
    assert running.http.get("/info").json()["dimension"] == bi_encoder.dimension


def test_score_pairs_plan(running: Running, cross_encoder: CrossEncoder) -> None:
    pairs = [(QUERY, text) for text in TEXTS]
    for kind in ("logit", "relevance"):
        got = running.http.post("/score", json={"pairs": pairs, "scores": kind}).json()["scores"]
        assert got == pytest.approx(cross_encoder.predict(pairs, scores=kind).tolist(), abs=0.05)
    report = running.http.post(
        "/pairs", json={"texts": ["The cat sleeps.", "Bread is baked.", "The cat sleeps."]}
    ).json()
    assert [(pair["a"], pair["b"]) for pair in report["pairs"]] == [("0", "2")]

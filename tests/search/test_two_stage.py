"""Two stages over a real index with the real models."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

import bicross
from bicross import BiEncoder, CrossEncoder, Document, LocalIndex, Searcher
from bicross.errors import UsageError

QUERY = "How many people live in Berlin?"


@pytest.fixture(scope="module")
def index(tmp_path_factory: pytest.TempPathFactory, bi_encoder: BiEncoder, cities: Path) -> LocalIndex:
    path = tmp_path_factory.mktemp("search") / "index"
    with LocalIndex.create(path, bi_encoder, chunk_tokens=32) as opened:
        opened.add(bicross.read_documents([cities]))
        yield opened


@pytest.fixture(scope="module")
def searcher(index: LocalIndex, cross_encoder: CrossEncoder) -> Searcher:
    return Searcher(index, cross_encoder)


def test_the_answer_is_on_top_and_every_stage_is_shown(searcher: Searcher) -> None:
    result = searcher.search(QUERY, top_k=3, candidates=25, read_all=True)
    best = result.hits[0]
    assert best.document_id == "berlin"
    assert "3,520,031" in best.text
    assert set(best.scores) == {"dense", "lexical", "fused", "cross_encoder", "final"}
    assert best.scores["final"].rank == 1
    assert best.score == best.scores["final"].score
    assert 0 <= best.relevance <= 1
    costs = {stage.stage: stage for stage in result.stages}
    assert list(costs) == ["embed query", "retrieve dense", "retrieve lexical", "rerank"]
    assert costs["rerank"].items == 25
    assert costs["rerank"].tokens > 25 * 10
    assert len({hit.document_id for hit in result.hits}) == 3


def test_the_final_score_is_the_sum_that_the_result_tells(searcher: Searcher, cross_encoder: CrossEncoder) -> None:
    numbers = searcher.two_stages()
    assert numbers is not None, "the shipped cross-encoder is fitted to the default bi-encoder"
    result = searcher.search(QUERY)
    assert result.weights == {"cross_encoder": numbers.logit, "fused": numbers.evidence}
    for hit in result.hits:
        logit = hit.scores["cross_encoder"].score
        assert hit.score == pytest.approx(sum(w * hit.scores[name].score for name, w in result.weights.items()))
        assert hit.relevance == pytest.approx(float(numbers.calibration(hit.score)))
        (alone,) = cross_encoder.predict([(QUERY, f"{hit.title}\n{hit.text}")])
        assert alone == pytest.approx(logit, abs=0.1)  # bf16 in another batch


@pytest.mark.parametrize(
    ("mode", "stage", "stages"),
    [
        ("dense", "dense", ["embed query", "retrieve dense"]),
        ("lexical", "lexical", ["retrieve lexical"]),
        ("hybrid", "fused", ["embed query", "retrieve dense", "retrieve lexical"]),
    ],
)
def test_without_a_cross_encoder_the_first_stage_orders(
    index: LocalIndex, mode: str, stage: str, stages: list[str]
) -> None:
    result = Searcher(index).search(QUERY, top_k=5, mode=mode)
    assert [hit.document_id for hit in result.hits] == result.retrieved[:5]
    assert result.hits[0].relevance is None
    assert [hit.scores[stage].rank for hit in result.hits] == [1, 2, 3, 4, 5]
    assert [cost.stage for cost in result.stages] == stages


def test_reranking_what_words_alone_found_needs_no_embedding(searcher: Searcher) -> None:
    result = searcher.search("museums", mode="lexical", top_k=3)
    assert [cost.stage for cost in result.stages] == ["retrieve lexical", "rerank"]
    assert all("museum" in hit.text for hit in result.hits)
    logits = [hit.scores["cross_encoder"].score for hit in result.hits]
    assert [hit.score for hit in result.hits] == logits == sorted(logits, reverse=True)


def test_a_word_that_no_document_has_finds_nothing_by_words(searcher: Searcher) -> None:
    assert searcher.search("xylophagous", mode="lexical").hits == []
    assert searcher.search("the of and", mode="lexical").hits == []  # stop words alone
    assert len(searcher.search("xylophagous", top_k=3).hits) == 3


def test_numbers_are_applied_only_to_what_they_were_fitted_for(searcher: Searcher) -> None:
    assert searcher.two_stages("hybrid") != searcher.two_stages("dense") is not None
    assert searcher.two_stages("lexical") is None
    result = searcher.search(QUERY, top_k=12, dense_weight=0.5)
    assert searcher.two_stages("hybrid", 0.5) is None
    logits = [hit.scores["cross_encoder"].score for hit in result.hits]
    assert logits == sorted(logits, reverse=True)
    assert [hit.score for hit in result.hits] == logits
    assert result.weights == {}
    relevance = [hit.relevance for hit in result.hits]
    assert relevance == sorted(relevance, reverse=True)


def test_documents_not_chunks_are_returned(tmp_path: Path, bi_encoder: BiEncoder, cross_encoder: CrossEncoder) -> None:
    long = " ".join(f"Zebra number {i} eats grass." for i in range(200))
    with LocalIndex.create(tmp_path / "index", bi_encoder, chunk_tokens=16) as index:
        index.add([Document("zebras", long), Document("lion", "A lion eats meat."), Document("car", "A red car.")])
        result = Searcher(index).search("what does a zebra eat?", top_k=3)
        reranked = Searcher(index, cross_encoder).search("what does a zebra eat?", top_k=3, candidates=10)
    assert {hit.document_id for hit in reranked.hits} == {"zebras", "lion", "car"}
    assert [hit.document_id for hit in result.hits] == ["zebras", "lion", "car"]


def test_more_hits_than_candidates_means_more_candidates(searcher: Searcher) -> None:
    result = searcher.search(QUERY, top_k=12, candidates=1)
    assert result.reading.candidates >= 12
    assert len({hit.document_id for hit in result.hits}) == 12


def test_an_empty_index_gives_no_hits(tmp_path: Path, bi_encoder: BiEncoder, cross_encoder: CrossEncoder) -> None:
    with LocalIndex.create(tmp_path / "index", bi_encoder) as index:
        assert Searcher(index, cross_encoder).search("anything").hits == []


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"query": " "}, "the query is empty"),
        ({"query": "x", "top_k": 0}, "top_k is 0"),
        ({"query": "x", "top_k": -1}, "top_k is -1"),
        ({"query": "x", "candidates": 0}, "candidates is 0"),
        ({"query": "x", "mode": "magic"}, "mode 'magic' is not known"),
        ({"query": "x", "dense_weight": 1.5}, "must be between 0 and 1"),
        ({"query": "x", "mode": "lexical", "dense_weight": 0.5}, "no meaning in mode lexical"),
        ({"query": "x", "min_relevance": 1.1}, "min_relevance is 1.1; it must be between 0 and 1"),
        ({"query": "x", "min_relevance": float("nan")}, "min_relevance is nan"),
        ({"query": "x", "budget_ms": 0}, "budget_ms is 0; it must be more than 0"),
        ({"query": "x", "budget_ms": 10, "read_all": True}, "choose one of them"),
        ({"query": "x", "filter": "nothing == 1"}, "no document has the field 'nothing'"),
    ],
)
def test_bad_arguments(searcher: Searcher, arguments: dict, message: str) -> None:
    with pytest.raises(UsageError, match=message):
        searcher.search(**arguments)


def test_truncated_says_that_the_model_did_not_read_it_all(
    tmp_path: Path, bi_encoder: BiEncoder, cross_encoder: CrossEncoder
) -> None:
    title = "An endless title " * 200
    with LocalIndex.create(tmp_path / "index", bi_encoder) as index:
        report = index.add([Document("cut", "Some text.", title), Document("whole", "Some text.")])
        assert report.truncated == 1
        flags = {hit.document_id: hit.truncated for hit in Searcher(index, cross_encoder).search("text").hits}
        long_query, longer = (Searcher(index).search("text " * words) for words in (400, 5000))
    assert flags == {"cut": True, "whole": False}
    assert {hit.document_id: hit.truncated for hit in long_query.hits} == flags, "it was read in passages"
    assert all(hit.truncated for hit in longer.hits), "there are more passages than are read"


def test_a_query_that_is_too_long_to_read_is_answered_by_the_first_stage(searcher: Searcher) -> None:
    query = "a port on a river, and what is made there. " * 40
    found = searcher.search(query, candidates=12)
    assert str(found.reading) == "read 0 of 12 candidates: the query is longer than it reads"
    assert [hit.document_id for hit in found.hits] == found.retrieved[: len(found.hits)]
    assert all(hit.relevance is None for hit in found.hits)
    assert searcher.search(query, candidates=12, read_all=True).reading.read == 12
    assert searcher.search(query, candidates=12, min_relevance=0).reading.read > 0


def test_relevance_follows_the_final_score(searcher: Searcher) -> None:
    hits = searcher.search("museums", top_k=12).hits
    relevance = np.array([hit.relevance for hit in hits])
    assert (np.diff(relevance) <= 1e-6).all()

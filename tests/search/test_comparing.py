"""The same query through each way, over a real index with the real models."""

from __future__ import annotations

import json
from itertools import pairwise
from pathlib import Path

import pytest

import bicross
from bicross import BiEncoder, Comparison, CrossEncoder, LocalIndex, Searcher
from bicross.errors import UsageError
from bicross.search import comparing

QUERY = "How many people live in Berlin?"


@pytest.fixture(scope="module")
def searcher(
    tmp_path_factory: pytest.TempPathFactory, bi_encoder: BiEncoder, cross_encoder: CrossEncoder, cities: Path
) -> Searcher:
    with LocalIndex.create(tmp_path_factory.mktemp("compare") / "index", bi_encoder, chunk_tokens=32) as index:
        documents = list(bicross.read_documents([cities]))
        index.add(bicross.Document(d.id, d.text, d.title, {"number": number}) for number, d in enumerate(documents))
        yield Searcher(index, cross_encoder)


@pytest.fixture(scope="module")
def comparison(searcher: Searcher) -> Comparison:
    return bicross.compare(searcher, QUERY, top_k=5, candidates=12, every_document=True)


def ids(hits: list[bicross.Hit]) -> list[str]:
    return [hit.document_id for hit in hits]


def test_each_way_answers_as_a_search_of_its_own(searcher: Searcher, comparison: Comparison) -> None:
    assert [way.name for way in comparison.ways] == ["lexical", "dense", "hybrid", "two_stages", "cross_encoder"]
    first = Searcher(searcher.index)
    for mode in ("lexical", "dense", "hybrid"):
        assert ids(comparison.way(mode).hits) == ids(first.search(QUERY, top_k=5, mode=mode).hits)
    both = searcher.search(QUERY, top_k=5, candidates=12)
    assert ids(comparison.way("two_stages").hits) == ids(both.hits)
    assert comparison.first_stage == both.retrieved
    assert comparison.way("two_stages").hits[0].document_id == "berlin"


def test_the_cross_encoder_alone_reads_every_chunk(searcher: Searcher, comparison: Comparison) -> None:
    every = searcher.index.every()
    assert comparison.chunks == len(every) == searcher.index.count().chunks > searcher.index.count().documents
    logits = searcher.cross_encoder.predict([(QUERY, c.chunk.embedded_text) for c in every])
    best: dict[str, float] = {}
    for candidate, logit in zip(every, logits, strict=True):
        best[candidate.chunk.document_id] = max(best.get(candidate.chunk.document_id, logit), logit)
    alone = comparison.way("cross_encoder")
    assert set(alone.order) == set(best)
    assert ids(alone.hits) == alone.order[:5]
    for hit in alone.hits:
        assert hit.score == pytest.approx(best[hit.document_id], abs=0.1)  # bf16 in another batch
    scores = [hit.score for hit in alone.hits]
    assert scores == sorted(scores, reverse=True)
    assert all(best[one] >= best[other] - 0.1 for one, other in pairwise(alone.order))


def test_what_each_way_costs(searcher: Searcher, comparison: Comparison) -> None:
    chunks = searcher.index.count().chunks
    costs = {way.name: way.cost for way in comparison.ways}
    counted = {name: (cost.encodings, cost.pairs, cost.ahead) for name, cost in costs.items()}
    _, read, _ = counted["two_stages"]
    assert 5 <= read <= 12, "it may stop before the last candidate"
    assert counted == {
        "lexical": (0, 0, 0),
        "dense": (1, 0, chunks),
        "hybrid": (1, 0, chunks),
        "two_stages": (1, read, chunks),
        "cross_encoder": (0, chunks, 0),
    }
    assert costs["lexical"].tokens == 0 < costs["dense"].tokens < costs["two_stages"].tokens
    assert costs["two_stages"].tokens < costs["cross_encoder"].tokens
    assert all(cost.measured and cost.milliseconds > 0 for cost in costs.values())


def test_places_are_counted_from_the_first_stage(comparison: Comparison) -> None:
    for way in comparison.ways:
        for rank, document_id in enumerate(way.order, start=1):
            assert way.rank(document_id) == rank
            if document_id in comparison.first_stage:
                before = comparison.first_stage.index(document_id) + 1
                assert comparison.moved(way, document_id) == before - rank
            else:
                assert comparison.moved(way, document_id) is None
    missed = set(comparison.way("cross_encoder").order) - set(comparison.first_stage)
    assert missed, "twelve chunks are not all documents"
    two_stages = comparison.way("two_stages")
    assert all(two_stages.rank(document_id) is None for document_id in missed)


def test_only_here_means_that_no_other_way_shows_it(comparison: Comparison) -> None:
    shown = [document_id for way in comparison.ways for document_id in ids(way.hits)]
    for way in comparison.ways:
        assert comparison.only(way) == {i for i in ids(way.hits) if shown.count(i) == 1}
    assert any(comparison.only(way) for way in comparison.ways)


def test_a_long_work_is_a_forecast(searcher: Searcher, monkeypatch: pytest.MonkeyPatch) -> None:
    chunks = searcher.index.count().chunks
    monkeypatch.setattr(comparing, "AT_ONCE_MS", 0)
    for forecast in (None, False):
        alone = bicross.compare(searcher, QUERY, candidates=12, every_document=forecast).way("cross_encoder")
        assert (alone.hits, alone.order, alone.cost.measured) == ([], [], False)
        assert (alone.cost.pairs, alone.cost.encodings) == (chunks, 0)
        assert alone.cost.milliseconds > 0
        assert alone.cost.tokens > chunks * 10
    monkeypatch.setattr(comparing, "AT_ONCE_MS", 10**9)
    assert bicross.compare(searcher, QUERY).way("cross_encoder").cost.measured
    assert not bicross.compare(searcher, QUERY, every_document=False).way("cross_encoder").cost.measured


def test_a_filter_holds_for_every_way(searcher: Searcher) -> None:
    comparison = bicross.compare(searcher, "museums", filter="number < 6", every_document=True)
    fit = {c.chunk.document_id for c in searcher.index.every() if c.metadata["number"] < 6}
    assert len(fit) == 6
    assert comparison.chunks == comparison.way("cross_encoder").cost.pairs < searcher.index.count().chunks
    for way in comparison.ways:
        assert set(way.order) <= fit
    assert set(comparison.way("cross_encoder").order) == fit


@pytest.mark.parametrize("every_document", [None, True, False])
def test_nothing_fits(searcher: Searcher, every_document: bool | None) -> None:
    comparison = bicross.compare(searcher, QUERY, filter="number > 1000", every_document=every_document)
    assert comparison.chunks == 0
    assert [way.hits for way in comparison.ways] == [[]] * 5
    assert comparison.way("cross_encoder").cost.pairs == 0


def test_json_says_for_each_hit_where_it_stands(comparison: Comparison) -> None:
    plain = json.loads(json.dumps(comparison.as_dict()))
    assert (plain["query"], plain["chunks"]) == (QUERY, comparison.chunks)
    for way, stored in zip(comparison.ways, plain["ways"], strict=True):
        assert stored["way"] == way.name
        for rank, (hit, record) in enumerate(zip(way.hits, stored["hits"], strict=True), start=1):
            assert record["ranks"] == {other.name: other.rank(hit.document_id) for other in comparison.ways}
            assert record["ranks"][way.name] == rank
            assert record["moved"] == comparison.moved(way, hit.document_id)
            assert record["only_here"] == (hit.document_id in comparison.only(way))
            assert record["text"] == hit.text


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"query": " "}, "the query is empty"),
        ({"query": "x", "top_k": 0}, "top_k is 0"),
        ({"query": "x", "candidates": 0}, "candidates is 0"),
        ({"query": "x", "filter": "nothing == 1"}, "no document has the field 'nothing'"),
    ],
)
def test_bad_arguments(searcher: Searcher, arguments: dict, message: str) -> None:
    with pytest.raises(UsageError, match=message):
        bicross.compare(searcher, **arguments)


def test_both_encoders_are_needed(searcher: Searcher) -> None:
    with pytest.raises(UsageError, match="needs a searcher with a cross-encoder"):
        bicross.compare(Searcher(searcher.index), QUERY)

"""The fused score of a hybrid search: its formula, where its numbers come from, and queries longer than a passage."""

from __future__ import annotations

import json
import math
import subprocess
import sys
from dataclasses import asdict, replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

import bicross
from bicross import BiEncoder, Document, LocalIndex, Searcher
from bicross.errors import CorpusError, UsageError
from bicross.index.first_stage import FILE, FirstStage, Traits, read_fitted, shipped, traits, write_fitted
from bicross.index.fusing import convex_scores
from bicross.index.lexical import MOST_TERMS
from bicross.index.passages import PASSAGES, cut

QUERY = "How many people live in Berlin?"

coefficients = st.floats(-50, 50)
numbers = st.builds(FirstStage, coefficients, coefficients, coefficients, coefficients)
shares = st.floats(0, 1)
scores = st.dictionaries(st.sampled_from("abcdefghij"), st.floats(-1, 1), min_size=1)


@pytest.fixture
def index(tmp_path: Path, bi_encoder: BiEncoder, cities: Path) -> LocalIndex:
    with LocalIndex.create(tmp_path / "index", bi_encoder, chunk_tokens=32) as opened:
        opened.add(bicross.read_documents([cities]))
        yield opened


# -- the formula -------------------------------------------------------------------------------------------------


@given(numbers, shares, shares, shares)
def test_a_weight_is_a_share(fitted: FirstStage, spelled: float, dense_gap: float, lexical_gap: float) -> None:
    seen = Traits(spelled, dense_gap, lexical_gap)
    assert 0 <= fitted.lexical_weight(seen) <= 1
    assert replace(fitted, bias=fitted.bias + 1).lexical_weight(seen) >= fitted.lexical_weight(seen)
    assert FirstStage(**json.loads(json.dumps(asdict(fitted)))).sha256 == fitted.sha256


@given(scores, st.dictionaries(st.sampled_from("abcdefghij"), st.floats(1e-3, 40)), shares, st.randoms())
def test_fused_scores_are_the_formula_in_any_order(dense, lexical, weight, random) -> None:
    lexical = {key: score for key, score in lexical.items() if key in dense}
    fused = convex_scores(dense, lexical, weight)
    best = max(lexical.values(), default=1.0)
    for key in dense:
        expected = (1 - weight) * dense[key] + weight * lexical.get(key, 0.0) / best
        assert fused[key] == pytest.approx(expected, abs=1e-9)
    shuffled = random.sample(list(dense.items()), len(dense))
    assert convex_scores(dict(shuffled), dict(reversed(lexical.items())), weight) == fused


@given(st.lists(st.floats(-1, 1), min_size=1, max_size=8), st.lists(st.floats(1e-6, 50), max_size=8), st.floats(0.1, 9))
def test_traits_are_shares_whatever_the_scale_of_the_words(dense: list[float], words: list[float], by: float) -> None:
    sides = [{str(i): s for i, s in enumerate(sorted(side, reverse=True))} for side in (dense, words)]
    seen = traits(0.0, *sides, depth=5)
    assert 0 <= seen.dense_gap <= 1
    assert 0 <= seen.lexical_gap <= 1
    scaled = traits(0.0, sides[0], {key: by * score for key, score in sides[1].items()}, depth=5)
    assert scaled.lexical_gap == pytest.approx(seen.lexical_gap, abs=1e-9)


def test_a_list_that_stands_out_has_a_gap() -> None:
    seen = traits(0.5, {"a": 0.8, "b": 0.2, "c": 0.2}, {"b": 4.0}, depth=2)
    assert seen == Traits(0.5, pytest.approx(1 - 0.5 / 0.8), 0.5)  # c lies below the depth; a has no word and counts 0
    assert traits(0.0, {}, {}, 100) == Traits(0.0, 0.0, 0.0)


# -- a real index ------------------------------------------------------------------------------------------------


def test_a_hybrid_search_uses_the_fitted_weights(index: LocalIndex) -> None:
    fitted = index.first_stage
    assert fitted is not None
    assert fitted == shipped(index.manifest.fingerprint.encoder)
    question = index.ask(QUERY, "hybrid")
    found = index.retrieve(question, 1000)
    chunks = index.count().chunks
    assert len(found.candidates) == chunks
    weighing = found.weighing
    assert weighing is not None
    assert weighing.lexical_weight == fitted.lexical_weight(weighing.traits)
    # every score of either side is its true one, whichever side found the chunk
    sides = {m: {c.chunk.id: c.score for c in index.search(QUERY, mode=m, top_k=1000)} for m in ("dense", "lexical")}
    assert 0 < len(sides["lexical"]) < chunks
    for c in found.candidates:
        assert c.dense == pytest.approx(sides["dense"][c.chunk.id], abs=1e-4)
        assert c.lexical == (pytest.approx(sides["lexical"][c.chunk.id]) if c.chunk.id in sides["lexical"] else None)
        words = weighing.lexical_weight * (c.lexical or 0.0) / weighing.lexical_best
        assert c.score == pytest.approx((1 - weighing.lexical_weight) * c.dense + words)
    again = index.search(QUERY, top_k=5, fusion="fitted")
    assert [(c.chunk.id, c.score) for c in again] == [(c.chunk.id, c.score) for c in found.candidates[:5]]


def test_reciprocal_ranks_on_request(index: LocalIndex) -> None:
    found = index.retrieve(index.ask(QUERY, "hybrid"), 5, fusion="rrf")
    assert found.weighing is None
    assert all(1 / (60 + 100) <= c.score <= 2 / 61 for c in found.candidates)


def test_the_weight_does_not_depend_on_how_much_is_asked_for(tmp_path: Path, bi_encoder: BiEncoder) -> None:
    with LocalIndex.create(tmp_path / "index", bi_encoder) as index:
        index.add(
            Document(f"{i}", f"Note {i} on {'pumps' if i % 3 else 'the red valve'} in hall {i % 7}.")
            for i in range(250)
        )
        question = index.ask("red valve in hall 3", "hybrid")
        few, many = index.retrieve(question, 10), index.retrieve(question, 250)
        assert few.weighing == many.weighing
        assert [c.chunk.id for c in few.candidates] == [c.chunk.id for c in many.candidates[:10]]


def test_a_query_without_a_known_word_is_found_by_meaning(index: LocalIndex) -> None:
    found = index.search("zweiundvierzig qwertz", top_k=5)
    assert all(c.lexical is None and c.score == c.dense for c in found)


def test_a_script_that_the_encoder_spells_goes_by_words(tmp_path: Path, bi_encoder: BiEncoder) -> None:
    texts = {
        "museum": "柏林的博物馆岛有五座博物馆。",
        "tower": "电视塔在亚历山大广场。",
        "food": "咖喱香肠是柏林的小吃。",
    }
    with LocalIndex.create(tmp_path / "index", bi_encoder, language="zh") as index:
        index.add(Document(name, text) for name, text in texts.items())
        found = index.retrieve(index.ask("博物馆岛在哪里？", "hybrid"), 3)
        assert found.weighing.traits.spelled > 0.9
        assert found.candidates[0].chunk.document_id == "museum"
        english = index.retrieve(index.ask("Where is the museum island?", "hybrid"), 3)
        assert english.traits.spelled < 0.1


def test_hits_show_each_side_and_the_fused_score(index: LocalIndex) -> None:
    searcher = Searcher(index)
    for fusion in (None, "rrf"):
        for hit in searcher.search(QUERY, fusion=fusion).hits:
            assert hit.scores["fused"].score == hit.score
            assert {"dense", "fused"} <= set(hit.scores) <= {"dense", "lexical", "fused"}
    hit = searcher.search("zweiundvierzig qwertz").hits[0]  # equal to the similarity, and shown all the same
    assert set(hit.scores) == {"dense", "fused"}


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"fusion": "magic"}, "fusion 'magic' is not known; choose fitted or rrf"),
        ({"fusion": "rrf", "mode": "dense"}, "a fusion joins both sides; it has no meaning in mode dense"),
        ({"fusion": "fitted", "dense_weight": 0.5}, "a dense weight is a fusion of its own"),
    ],
)
def test_a_fusion_that_has_no_meaning(index: LocalIndex, arguments: dict, message: str) -> None:
    for search in (index.search, Searcher(index).search):
        with pytest.raises(UsageError, match=message):
            search(QUERY, **arguments)


# -- where the numbers come from ---------------------------------------------------------------------------------


def test_numbers_of_the_index_win(index: LocalIndex) -> None:
    words_alone = FirstStage(40.0, 0.0, 0.0, 0.0)
    write_fitted(index.path, words_alone)
    assert index.first_stage == words_alone
    by_words = [c.score for c in index.search(QUERY, top_k=5, mode="lexical")]
    assert [c.lexical for c in index.search(QUERY, top_k=5)] == pytest.approx(by_words)
    write_fitted(index.path, None)
    assert index.first_stage == shipped(index.manifest.fingerprint.encoder)


def test_other_parts_of_the_file_stay(tmp_path: Path) -> None:
    (tmp_path / FILE).write_text('{"second_stage": {"logit": 1.5}}')
    write_fitted(tmp_path, FirstStage(-1.00004, 2, 3, 4))
    stored = json.loads((tmp_path / FILE).read_text())
    assert stored["second_stage"] == {"logit": 1.5}
    assert read_fitted(tmp_path) == FirstStage(-1.0, 2.0, 3.0, 4.0)
    assert [p.name for p in tmp_path.iterdir()] == [FILE]


@pytest.mark.parametrize(
    "content",
    [
        "{",
        "[]",
        '{"first_stage": 3}',
        '{"first_stage": {"bias": 1}}',
        '{"first_stage": {"bias": NaN, "spelled": 0, "dense_gap": 0, "lexical_gap": 0}}',
        '{"first_stage": {"bias": "1", "spelled": [], "dense_gap": 0, "lexical_gap": 0}}',
        '{"first_stage": {"bias": 1, "spelled": 0, "dense_gap": 0, "lexical_gap": 0, "more": 0}}',
    ],
)
def test_damaged_numbers_are_said_and_left_alone(index: LocalIndex, content: str) -> None:
    file = index.path / FILE
    file.write_text(content)
    with pytest.raises(CorpusError, match="damaged") as error:
        index.search(QUERY)
    assert str(file) in str(error.value)
    assert "\n" not in str(error.value)
    assert index.search(QUERY, fusion="rrf")
    assert index.search(QUERY, mode="dense")
    assert file.read_text() == content


def test_another_encoder_has_no_numbers(tmp_path: Path, make_bert) -> None:
    with LocalIndex.create(tmp_path / "index", BiEncoder(make_bert())) as index:
        index.add([Document("a", "one text"), Document("b", "another text")])
        assert index.first_stage is None
        assert index.retrieve(index.ask("text", "hybrid"), 2).weighing is None
        with pytest.raises(UsageError, match=r"no fusion was fitted for .*; choose fusion rrf"):
            index.search("text", fusion="fitted")


def test_shortened_vectors_have_no_numbers(tmp_path: Path) -> None:
    with bicross.create(tmp_path / "index", truncate_dim=64) as index:
        assert index.first_stage is None


def test_numbers_that_are_none() -> None:
    with pytest.raises(ValueError, match="bias is nan"):
        FirstStage(math.nan, 0, 0, 0)


# -- long queries ------------------------------------------------------------------------------------------------


def test_a_long_query_is_found_by_its_last_passage(index: LocalIndex, bi_encoder: BiEncoder) -> None:
    padding = "The clerk filed another form about the delivery of paper and the colour of the chairs. " * 40
    query = padding + "The wall divided the city until it fell in 1989. " * 15
    question = index.ask(query, "dense")
    assert len(question.vectors) > 2
    assert not question.truncated
    assert question.tokens > len(bi_encoder.token_spans(query))
    found = index.retrieve(question, 10).candidates
    assert found[0].chunk.document_id == "berlin-history"
    assert found[0].dense == max(index.nearest(vector, 1)[0].score for vector in question.vectors)


def test_a_query_without_end_is_read_in_places(bi_encoder: BiEncoder) -> None:
    text = " ".join(f"word{i}" for i in range(20_000))
    passages, whole = cut(text, bi_encoder.token_spans(text), bi_encoder)
    assert len(passages) == PASSAGES
    assert not whole
    assert passages[0].startswith("word0 ")
    assert passages[-1].endswith("19999")
    assert not bi_encoder.encode(passages).truncated.any()


@given(st.integers(1, 1500))
def test_passages_cover_the_query(bi_encoder: BiEncoder, words: int) -> None:
    text = " ".join(f"w{i}" for i in range(words))
    spans = bi_encoder.token_spans(text)
    passages, whole = cut(text, spans, bi_encoder)
    assert len(passages) <= PASSAGES
    if whole:
        assert set("".join(passages).split()) >= {text.split()[0]}
        reached = 0
        for passage in passages:
            start = text.index(passage)
            assert start <= reached + 1
            reached = start + len(passage)
        assert reached == len(text)
    else:  # each as long as it can be, and still not all of it
        assert len(passages) == PASSAGES
        assert sum(map(len, passages)) < len(text)


def test_a_book_as_a_query_is_searched_by_its_most_frequent_words(index: LocalIndex) -> None:
    book = " ".join(f"page{i}" for i in range(5000)) + " Berlin population" * 3
    question = index.ask(book, "lexical")
    assert len(question.terms.terms) == MOST_TERMS
    assert question.truncated
    assert [c.lexical for c in index.retrieve(question, 3).candidates] == pytest.approx(
        [c.score for c in index.search("Berlin population", mode="lexical", top_k=3)]
    )
    assert not index.ask("Berlin population", "lexical").truncated


# -- the command -------------------------------------------------------------------------------------------------


def test_the_command_says_how_it_weighed(index: LocalIndex) -> None:
    index.close()

    def run(*arguments: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-m", "bicross", *arguments], capture_output=True, text=True, check=False
        )

    asked = ["search", str(index.path), QUERY, "--no-rerank", "--explain"]
    assert "* dense + " in run(*asked).stdout
    by_ranks = run(*asked, "--fusion", "rrf").stdout
    assert "fused 0.03" in by_ranks
    assert "* dense + " not in by_ranks
    assert "fitted for the model" in run("info", str(index.path)).stdout
    both = run(*asked, "--fusion", "rrf", "--dense-weight", "0.5")
    assert both.returncode == 2
    assert "a dense weight is a fusion of its own" in both.stderr
    (index.path / FILE).write_text("{")
    damaged = run(*asked)
    assert damaged.returncode == 1
    assert len(damaged.stderr.splitlines()) == 1

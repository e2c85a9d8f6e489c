"""How far the cross-encoder reads: to the end, until the rest can hardly enter, or until time is up."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from time import perf_counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bicross import BiEncoder, CrossEncoder, Document, LocalIndex, Searcher
from bicross.encoders.calibration import FILE
from bicross.errors import CorpusError, ModelError, UsageError
from bicross.index.fitted import FILE as FITTED
from bicross.search.code import share_of_code
from bicross.search.hit import Reading
from bicross.search.pace import REFUSALS, Clock, Pace, busiest
from bicross.search.scripts import share_of_foreign

QUESTIONS = [
    "copy a whole folder with everything in it",
    "the number in the middle of sorted data",
    "indent the lines of a text",
]


@pytest.fixture(scope="module")
def index(
    tmp_path_factory: pytest.TempPathFactory, bi_encoder: BiEncoder, functions: list[Document]
) -> Iterator[LocalIndex]:
    path = tmp_path_factory.mktemp("reading") / "index"
    with LocalIndex.create(path, bi_encoder) as opened:
        opened.add(functions)
        yield opened


@pytest.fixture(scope="module")
def searcher(index: LocalIndex, cross_encoder: CrossEncoder) -> Searcher:
    return Searcher(index, cross_encoder)


def test_what_is_not_read_would_hardly_have_changed_the_top(searcher: Searcher) -> None:
    shared = 0
    for query in QUESTIONS:
        everything = searcher.search(query, top_k=3, candidates=100, read_all=True)
        adaptive = searcher.search(query, top_k=3, candidates=100)
        assert str(everything.reading) == "read 100 of 100 candidates"
        assert adaptive.reading is not None
        assert adaptive.reading.stopped == "settled"
        assert adaptive.reading.read < 100
        assert adaptive.stages[-1].items == adaptive.reading.read
        assert adaptive.hits[0].document_id == everything.hits[0].document_id
        for stopped, whole in zip(adaptive.hits, everything.hits, strict=True):
            assert stopped.relevance is not None
            if stopped.document_id == whole.document_id:
                shared += 1
                assert stopped.score == pytest.approx(whole.score, abs=0.1)  # bf16 in another batch
    assert shared >= 7


def test_every_hit_that_is_asked_for_was_read(searcher: Searcher) -> None:
    for top_k in (1, 10, 40):
        result = searcher.search(QUESTIONS[0], top_k=top_k, candidates=80)
        assert len(result.hits) == top_k
        assert all("cross_encoder" in hit.scores for hit in result.hits)


def test_code_is_left_to_the_first_stage(tmp_path: Path, bi_encoder: BiEncoder, cross_encoder: CrossEncoder) -> None:
    pieces = [
        "def copy_tree(src, dst):\n    for name in os.listdir(src):\n        shutil.copy(f'{src}/{name}', dst)",
        "def median(xs):\n    ys = sorted(xs); n = len(ys)\n    return (ys[(n - 1) // 2] + ys[n // 2]) / 2",
        "for k, v in {**a, **b}.items():\n    out[k] = out.get(k, 0) + v",
        "with open(path) as f:\n    rows = [line.split('\\t') for line in f if line[0] != '#']",
    ]
    with LocalIndex.create(tmp_path / "code", bi_encoder) as index:
        index.add([Document(f"{i}", text) for i, text in enumerate(pieces)])
        searcher = Searcher(index, cross_encoder)
        left = searcher.search(QUESTIONS[1], top_k=3)
        assert str(left.reading) == "read 0 of 4 candidates: it reads prose, and they are code"
        assert [hit.document_id for hit in left.hits] == left.retrieved[:3]
        read = searcher.search(QUESTIONS[1], top_k=3, read_all=True)
        assert read.reading == Reading(4, 4, "all")
        assert [hit.document_id for hit in read.hits] == left.retrieved[:3]
        assert read.weights["cross_encoder"] == 0
        assert all(hit.relevance is not None for hit in read.hits)
        people = ["Ann", "Bob", "Cid", "Dee", "Eve", "Fay", "Gus", "Hal", "Ida", "Jan"]
        index.add([Document(name, f"{name} once spoke about sorted data and the middle of it.") for name in people])
        mixed = searcher.search(QUESTIONS[1], top_k=3).reading
        assert mixed is not None
        assert mixed.read > 0


def test_what_is_not_english_is_left_to_the_first_stage(
    tmp_path: Path, bi_encoder: BiEncoder, cross_encoder: CrossEncoder
) -> None:
    pieces = ["柏林是德国的首都。", "长城位于中国北方。", "巴黎在塞纳河边, Paris。", "东京有很多人。"]
    with LocalIndex.create(tmp_path / "chinese", bi_encoder, language="zh") as index:
        index.add([Document(f"{i}", text) for i, text in enumerate(pieces)])
        searcher = Searcher(index, cross_encoder)
        left = searcher.search("德国的首都是哪里", top_k=3)
        assert str(left.reading) == "read 0 of 4 candidates: it reads English, and they are in another script"
        assert left.hits[0].document_id == "0"
        assert searcher.search("德国的首都是哪里", top_k=3, read_all=True).reading == Reading(4, 4, "all")


def test_the_share_of_foreign_letters() -> None:
    assert share_of_foreign([]) == share_of_foreign(["123 !"]) == 0
    assert share_of_foreign(["Müller straße Ł", "the angle α of a wing, 30°"] * 2) < 0.1
    assert share_of_foreign(["Привет", "γειά", "مرحبا"]) == 1
    assert share_of_foreign(["ＦＵＬＬ width", "柏林"]) == 0.5


@given(st.lists(st.text(max_size=40), max_size=15))
def test_the_share_of_code_is_a_share(texts: list[str]) -> None:
    assert 0 <= share_of_code(texts) <= 1
    assert share_of_code(["x = f(y);\n}"] * 6 + texts) == 1
    assert share_of_code(["One says so (others do not).\nIt is: a = b."] * 6 + texts) <= 0.5


def test_without_fitted_numbers_everything_is_read(searcher: Searcher) -> None:
    result = searcher.search(QUESTIONS[0], top_k=3, candidates=40, dense_weight=0.5)
    assert result.reading == Reading(40, 40, "all")


def test_no_time_at_all_leaves_the_order_of_the_first_stage(searcher: Searcher) -> None:
    result = searcher.search(QUESTIONS[0], top_k=5, candidates=40, budget_ms=0.01)
    assert result.reading == Reading(0, 40, "budget")
    assert str(result.reading) == "read 0 of 40 candidates: time was up"
    assert [hit.document_id for hit in result.hits] == result.retrieved[:5]
    assert all(hit.relevance is None and "final" not in hit.scores for hit in result.hits)
    assert [hit.score for hit in result.hits] == sorted((hit.score for hit in result.hits), reverse=True)
    assert searcher.search(QUESTIONS[0], budget_ms=0.01, min_relevance=0.0).hits == []


def test_what_was_not_reached_follows_what_was_read(searcher: Searcher) -> None:
    budgets = (searcher.search(QUESTIONS[1], top_k=30, candidates=30, budget_ms=ms) for ms in (30, 60, 120, 240))
    partly = next((r for r in budgets if r.reading and 0 < r.reading.read < 30), None)
    if partly is None:
        pytest.skip("this machine reads nothing or everything in each of these times")
    read = [hit.relevance is not None for hit in partly.hits]
    assert read == sorted(read, reverse=True)
    assert 0 < sum(read) <= partly.reading.read
    assert [hit.score for hit in partly.hits] == sorted((hit.score for hit in partly.hits), reverse=True)
    rest = [hit.document_id for hit in partly.hits if hit.relevance is None]
    assert rest == [document_id for document_id in partly.retrieved if document_id in rest]


def test_much_time_is_as_good_as_no_budget(searcher: Searcher) -> None:
    result = searcher.search(QUESTIONS[1], top_k=3, candidates=30, budget_ms=600_000)
    assert result.reading is not None
    assert result.reading.stopped != "budget"
    assert result.reading.read >= 3


def test_a_clock_gives_time_for_a_part_of_what_is_left() -> None:
    pace = Pace()
    assert Clock(1000, perf_counter(), pace).fits([100, 100]) == 0, "nothing is known yet"
    pace.saw(1000, 1000.0)  # a millisecond a character
    assert Clock(1000, perf_counter(), pace).fits([100] * 10) == 6, "a share of the time left, a little kept back"
    assert Clock(150, perf_counter(), pace).fits([100] * 10) == 1, "the last one may take most of what is left"
    assert Clock(100, perf_counter(), pace).fits([100] * 10) == 0
    two_cores = Clock(1000, perf_counter(), pace, cores=2)
    assert two_cores.fits([100] * 20) == 12
    assert Clock(150, perf_counter(), pace, cores=2).fits([100] * 10) == 2, "a pair on each core"
    for _ in range(10):
        pace.saw(1000, 2000.0)
    assert Clock(1000, perf_counter(), pace).fits([100] * 10) == 3, "it goes by the slower ones"


@given(st.lists(st.integers(1, 1000), min_size=1, max_size=30), st.integers(1, 16))
def test_the_busiest_core_reads_its_share_and_no_more_than_a_pair_on_top(lengths: list[int], cores: int) -> None:
    mean = sum(lengths) / len(lengths)
    assert sum(lengths) / cores - 1e-9 <= busiest(lengths, cores) <= sum(lengths) / cores + mean + 1e-9


def test_a_slow_moment_is_forgotten() -> None:
    pace = Pace()
    for milliseconds in (10.0, 10.0, 10.0, 5000.0):
        pace.saw(100, milliseconds)
    fits = [Clock(1000, perf_counter(), pace).fits([100]) for _ in range(REFUSALS + 2)]
    assert fits == [0] * REFUSALS + [1, 1], "and not sooner: a slow machine would be late each time"


def test_hits_that_answer_nothing_are_left_out(searcher: Searcher) -> None:
    whole = searcher.search(QUESTIONS[1], top_k=10)
    middle = whole.hits[4].relevance
    assert middle is not None
    kept = searcher.search(QUESTIONS[1], top_k=10, min_relevance=middle - 0.02).hits
    assert kept
    assert all(hit.relevance >= middle - 0.02 for hit in kept)
    assert searcher.search("how do I bake a cake with plums?", min_relevance=0.5).hits == []


def test_a_first_stage_alone_has_no_relevance_and_no_budget(index: LocalIndex) -> None:
    for wrong in ({"min_relevance": 0.5}, {"budget_ms": 100}, {"read_all": True}):
        with pytest.raises(UsageError, match=f"{next(iter(wrong))} is about the second stage"):
            Searcher(index).search("x", **wrong)


def test_damaged_numbers_are_named(
    index: LocalIndex, cross_encoder: CrossEncoder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = index.path / FITTED
    file.write_text('{"two_stages": [{"before_sha256": 1}]}')
    try:
        with pytest.raises(CorpusError, match=r"fitted\.json: .* cannot be understood"):
            Searcher(index, cross_encoder)
    finally:
        file.unlink()
    (tmp_path / FILE).write_text('{"two_stages": 3}')
    monkeypatch.setattr(cross_encoder, "folder", tmp_path)
    with pytest.raises(ModelError, match=r"bicross\.json: .* cannot be understood"):
        Searcher(index, cross_encoder)

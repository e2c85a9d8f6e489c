"""Run files: read as trec_eval reads them, written so that nothing changes."""

from __future__ import annotations

import gzip
from pathlib import Path

import ir_measures
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bicross.errors import DocumentError, UsageError
from bicross.evaluation.measuring import measured, parse_measures
from bicross.evaluation.runs import Ranking, read_run, write_run

IDS = st.lists(st.text(st.characters(exclude_categories=["Z", "C"]), min_size=1, max_size=4), min_size=1, unique=True)


@given(ids=IDS, data=st.data())
def test_the_order_is_that_of_trec_eval(tmp_path_factory: pytest.TempPathFactory, ids: list[str], data) -> None:
    scores = data.draw(
        st.lists(st.sampled_from([2.0, 1.0, 1.0 + 1e-9, 0.5, -3.0]), min_size=len(ids), max_size=len(ids))
    )
    grades = data.draw(st.lists(st.integers(0, 3), min_size=len(ids), max_size=len(ids)))
    path = tmp_path_factory.mktemp("run") / "run.trec"
    lines = [f"q Q0 {i} {n} {s!r} x\n" for n, (i, s) in enumerate(zip(ids, scores, strict=True))]
    path.write_text("".join(lines), encoding="utf-8")
    qrels = {"q": dict(zip(ids, grades, strict=True))}
    run, others = read_run(path, {"q"}, None)
    assert others == 0
    names = ["nDCG@3", "AP", "P@2", "RR", "R@1"]
    # trec_eval itself, which is given the scores as they are
    expected = ir_measures.pytrec_eval.calc_aggregate(
        [ir_measures.parse_measure(name) for name in names], qrels, {"q": dict(zip(ids, scores, strict=True))}
    )
    values = measured(parse_measures(names), ["q"], qrels, run)
    assert values[:, 0] == pytest.approx(list(expected.values()))


@given(ids=IDS, scores=st.data())
def test_writing_and_reading_is_a_round_trip(tmp_path_factory: pytest.TempPathFactory, ids: list[str], scores) -> None:
    numbers = scores.draw(st.lists(st.floats(-100, 100, width=32), min_size=len(ids), max_size=len(ids)))
    run = {"1": Ranking.of(ids, sorted(numbers, reverse=True)), "2": Ranking.of(ids[:1], [1])}
    path = tmp_path_factory.mktemp("run") / "run.trec"
    write_run(path, run, "a system")
    again, _ = read_run(path, {"1", "2"}, None)
    assert {i: r.ids for i, r in again.items()} == {"1": ids, "2": ids[:1]}
    np.testing.assert_array_equal(again["1"].scores, run["1"].scores)
    assert (np.diff(run["1"].scores) < 0).all()


def test_ids_with_spaces_stand_between_tabs(tmp_path: Path) -> None:
    run = {"the query": Ranking.of(["docs/my file.txt", "other"], [1.0, 1.0])}
    write_run(tmp_path / "run", run, "x")
    assert read_run(tmp_path / "run", {"the query"}, 10)[0]["the query"].ids == ["docs/my file.txt", "other"]
    with pytest.raises(DocumentError, match=r"holds a tab or a new line"):
        write_run(tmp_path / "other", {"q": Ranking.of(["a\tb"], [1.0])}, "x")
    assert not (tmp_path / "other").exists()


def test_only_what_is_needed_is_kept(tmp_path: Path) -> None:
    path = tmp_path / "run.trec.gz"
    with gzip.open(path, "wt") as file:
        for query in ("q1", "q2", "q3"):  # the worst first, so that everything has to be looked at
            file.writelines(f"{query} Q0 d{n:05} {n} {n / 1000} x\n" for n in range(5000))
    run, others = read_run(path, {"q1", "q3"}, 3)
    assert run.keys() == {"q1", "q3"}
    assert others == 1
    assert run["q3"].ids == ["d04999", "d04998", "d04997"]


def test_ms_marco_runs_have_ranks_only(tmp_path: Path) -> None:
    (tmp_path / "run").write_text("q\tb\t2\nq\ta\t1\nq\tc\t3\n")
    assert read_run(tmp_path / "run", {"q"}, None)[0]["q"].ids == ["a", "b", "c"]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("q Q0 d 1 1.0 x\nq Q0 e 2 high x\n", "run:2: 'q Q0 e 2 high x': a line holds query, Q0, document"),
        ("q Q0 d 1 nan x\n", "run:1: "),
        ("q Q0 d 1\n", "run:1: "),
        ("q Q0 d 1 2.0 x\nq Q0 d 2 1.0 x\n", "the document 'd' is listed twice for the query 'q'"),
        ("", "the file is empty"),
    ],
)
def test_broken_runs(tmp_path: Path, text: str, message: str) -> None:
    (tmp_path / "run").write_text(text)
    with pytest.raises(DocumentError, match=message):
        read_run(tmp_path / "run", {"q"}, None)


def test_no_such_run(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="no such file"):
        read_run(tmp_path / "run", {"q"}, None)

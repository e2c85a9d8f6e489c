"""Queries and judgements in the forms in which people have them."""

from __future__ import annotations

from pathlib import Path

import pytest

from bicross.errors import DocumentError, UsageError
from bicross.evaluation.judged import judged_queries, read_qrels, read_queries

HEADER = "query-id\tcorpus-id\tscore\n"


@pytest.mark.parametrize(
    "text",
    [
        HEADER + "q1\ta\t1\nq1\tb b\t0\nq2\tc\t2\n",
        HEADER.replace("\n", "\r\n") + "q1\ta\t1.0\r\n\r\nq1\tb b\t0\nq2\tc\t2",
    ],
)
def test_beir(tmp_path: Path, text: str) -> None:
    path = tmp_path / "qrels.tsv"
    path.write_text(text)
    assert read_qrels(path) == ({"q1": {"a": 1, "b b": 0}, "q2": {"c": 2}}, [])


def test_trec(tmp_path: Path) -> None:
    path = tmp_path / "qrels"
    path.write_text("1 0 FT911-1 1\n1  0 FT911-2\t-1\n".replace("\t", " "))
    assert read_qrels(path) == ({"1": {"FT911-1": 1, "FT911-2": -1}}, [])


def test_a_missing_header_is_found_and_no_judgement_lost(tmp_path: Path) -> None:
    path = tmp_path / "qrels.tsv"
    path.write_text("q1\ta\t1\nq2\tc\t2\n")
    qrels, notes = read_qrels(path)
    assert qrels == {"q1": {"a": 1}, "q2": {"c": 2}}
    assert notes == [
        f"{path}: no header (query-id, corpus-id, score); its first line was read as a judgement of query 'q1'"
    ]


def test_judged_twice(tmp_path: Path) -> None:
    path = tmp_path / "qrels.tsv"
    path.write_text(HEADER + "q\ta\t1\nq\ta\t2\nq\tb\t1\nq\tb\t1\n")
    qrels, notes = read_qrels(path)
    assert qrels == {"q": {"a": 2, "b": 1}}
    assert "1 judgements come again with another grade" in notes[0]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (HEADER + "q1\ta\tyes\n", r"qrels.tsv:2: 'q1\\ta\\tyes': .* the grade is a whole number"),
        (HEADER + "q1\ta\t0.5\n", "qrels.tsv:2: .* the grade is a whole number"),
        (HEADER + "q1\ta\n", "qrels.tsv:2: 2 columns, not 3; a line holds query, document and grade"),
        (HEADER + "\ta\t1\n", "qrels.tsv:2: .* must not be empty"),
        ("q1 0 a 1\nq1 a 1\n", "qrels.tsv:2: 3 columns, not 4"),
        (HEADER, "there is a header and no judgement"),
        ("", "the file is empty"),
    ],
)
def test_broken_qrels(tmp_path: Path, text: str, message: str) -> None:
    path = tmp_path / "qrels.tsv"
    path.write_text(text)
    with pytest.raises(DocumentError, match=message):
        read_qrels(path)


def test_queries_of_both_kinds(tmp_path: Path) -> None:
    (tmp_path / "q.jsonl").write_text('{"_id": "1", "text": "one"}\n{"_id": "2", "text": ""}\n')
    (tmp_path / "q.tsv").write_text('1\tone "and\n2\t\n')
    (tmp_path / "headed.tsv").write_text("_id\ttext\n1\tone\n")
    assert [*read_queries(tmp_path / "q.jsonl")] == [("1", "one"), ("2", "")]
    assert [*read_queries(tmp_path / "q.tsv")] == [("1", 'one "and'), ("2", "")]
    assert [*read_queries(tmp_path / "headed.tsv")] == [("1", "one")]
    (tmp_path / "q.tsv").write_text("no tab\n")
    with pytest.raises(DocumentError, match=r"q.tsv:1: 'no tab': a line holds the id of a query, a tab and its text"):
        [*read_queries(tmp_path / "q.tsv")]


def test_what_does_not_fit_together_is_said(tmp_path: Path) -> None:
    queries, qrels = tmp_path / "q.tsv", tmp_path / "qrels.tsv"
    queries.write_text("a\tfirst\nnot judged\tx\nb\t \nc\tlast\nd\tfourth\n")
    qrels.write_text(HEADER + "z\td\t1\nc\td\t0\nb\td\t1\na\td\t1\nd\td\t1\n")
    judged = judged_queries(queries, qrels, limit=2)
    assert judged.ids == ["a", "c"]  # in the order of the queries
    assert judged.qrels == {"a": {"d": 1}, "c": {"d": 0}}
    empty, missing, hopeless = judged.notes
    assert "1 query ('b') without text, left out" in empty
    assert missing.startswith("1 query ('z') judged in")
    assert hopeless.startswith("1 query ('c') with no relevant document")


def test_ids_that_match_nothing(tmp_path: Path) -> None:
    queries, qrels = tmp_path / "q.tsv", tmp_path / "qrels.tsv"
    queries.write_text("q1\tfirst\n")
    qrels.write_text(HEADER + "1\td\t1\n")
    with pytest.raises(UsageError, match=r"the ids match nothing \(queries: 'q1' …; qrels: '1' …\)"):
        judged_queries(queries, qrels, None)
    qrels.write_text(HEADER + "q1\td\t1\n")
    queries.write_text("q1\t\n")
    with pytest.raises(UsageError, match="every judged query is empty"):
        judged_queries(queries, qrels, None)
    queries.write_text("q1\tx\nq1\ty\n")
    with pytest.raises(DocumentError, match="the query 'q1' is there twice"):
        judged_queries(queries, qrels, None)

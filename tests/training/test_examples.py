"""What is read as training examples, and what is refused."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bicross.errors import DocumentError, UsageError
from bicross.training.examples import Example, read_examples, same_negatives, without_overlap

texts = st.text(st.characters(codec="utf-8", exclude_categories=["C", "Z"]), min_size=1, max_size=12)


@given(st.lists(st.tuples(texts, texts), min_size=1, max_size=8, unique=True))
def test_what_is_written_is_read(tmp_path_factory: pytest.TempPathFactory, pairs: list[tuple[str, str]]) -> None:
    file = tmp_path_factory.mktemp("examples") / "train.jsonl"
    file.write_text("".join(json.dumps({"query": q, "positive": p}) + "\n" for q, p in pairs), encoding="utf-8")
    assert read_examples(file) == [Example(q, p) for q, p in pairs]


def test_the_same_examples_in_each_format(tmp_path: Path) -> None:
    (tmp_path / "a.jsonl").write_text(
        '{"anchor": "who?", "positive": "he", "negative": "she"}\n'
        '{"query": "who?", "positive": "he", "negatives": ["she"]}\n'
    )
    (tmp_path / "a.tsv").write_text("query\tpositive\tnegative\nwho?\the\tshe\n")
    (tmp_path / "a.csv").write_text('who?,he,"she"\n')
    for file in tmp_path.iterdir():
        assert read_examples(file) == [Example("who?", "he", ("she",))]


def test_a_beir_folder_gives_an_example_for_each_relevant_document(tmp_path: Path) -> None:
    (tmp_path / "corpus.jsonl").write_text(
        '{"_id": "d1", "title": "T", "text": "one"}\n{"_id": "d2", "text": "two"}\n{"_id": "d3", "text": ""}\n'
    )
    (tmp_path / "queries.jsonl").write_text('{"_id": "q1", "text": "first"}\n{"_id": "q2", "text": "second"}\n')
    (tmp_path / "qrels").mkdir()
    (tmp_path / "qrels" / "train.tsv").write_text(
        "query-id\tcorpus-id\tscore\nq1\td1\t1\nq1\td2\t0\nq2\td2\t2\nq2\td3\t1\n"
    )
    assert read_examples(tmp_path) == [Example("first", "T\none"), Example("second", "two")]
    with pytest.raises(UsageError, match=r"qrels/dev\.tsv.*--split train"):
        read_examples(tmp_path, "dev")


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ('{"query": " ", "positive": "p"}', "wrong.jsonl:2: the query is empty"),
        ('{"query": "q", "positive": ""}', "wrong.jsonl:2: the positive is empty"),
        ('{"query": "q", "positive": "p", "negatives": [""]}', "wrong.jsonl:2: a negative is empty"),
        ('{"query": "q", "positive": "p", "negatives": ["n", " P"]}', "the positive is among its own negatives"),
        ('{"query": "q"}', "wrong.jsonl:2: no field 'positive'"),
        ('{"query": "q", "positive": 3}', "must be texts"),
        ("{", "wrong.jsonl:2: not JSON"),
        ("[1]", "not an object"),
    ],
)
def test_a_wrong_line_is_named(tmp_path: Path, line: str, said: str) -> None:
    file = tmp_path / "wrong.jsonl"
    file.write_text('{"query": "q", "positive": "p"}\n' + line + "\n")
    with pytest.raises(DocumentError) as caught:
        read_examples(file)
    assert said in str(caught.value)


def test_wrong_files(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="no such file"):
        read_examples(tmp_path / "none.jsonl")
    (tmp_path / "a.docx").write_text("x")
    with pytest.raises(UsageError, match=r"read from \.jsonl"):
        read_examples(tmp_path / "a.docx")
    (tmp_path / "one.tsv").write_text("alone\n")
    with pytest.raises(DocumentError, match="a row holds a query and a positive"):
        read_examples(tmp_path / "one.tsv")


def test_a_dev_split_that_was_learnt_is_refused() -> None:
    train = [Example("What is  heat?", "a"), Example("other", "b")]
    with pytest.raises(UsageError, match=f"1 of {len(train)} have a query of dev"):
        without_overlap(train, ["what is heat?"], "dev", allowed=False)
    assert without_overlap(train, ["what is heat?"], "dev", allowed=True) == train[1:]
    with pytest.raises(UsageError, match="nothing is left"):
        without_overlap(train[:1], ["what is heat?"], "dev", allowed=True)


@given(st.lists(st.lists(texts, max_size=4), min_size=1, max_size=6), st.integers(0, 5))
def test_every_example_gets_as_many_negatives(negatives: list[list[str]], most: int) -> None:
    given_ = [Example(f"q{i}", "p", tuple(each)) for i, each in enumerate(negatives)]
    filled = same_negatives(given_, most)
    assert {len(example.negatives) for example in filled} == {min(most, max(map(len, negatives)))}
    for before, after in zip(given_, filled, strict=True):
        assert (before.query, before.positive) == (after.query, after.positive)
        assert not before.negatives or set(after.negatives) <= set(before.negatives)


def test_what_answers_a_query_elsewhere_is_no_negative_of_it() -> None:
    filled = same_negatives(
        [Example("a", "1", ("2", "x")), Example("b", "2"), Example("a", "3", ("1",)), Example("c", "x", ("2",))], 2
    )
    assert filled == [
        Example("a", "1", ("2", "x")),
        Example("b", "2", ("x", "x")),
        Example("a", "3", ("2", "2")),
        Example("c", "x", ("2", "2")),
    ]
    assert same_negatives([Example("a", "1", ("2",)), Example("b", "2")], 1) == [Example("a", "1", ("2",))]

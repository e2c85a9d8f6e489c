"""Filters: what they mean is checked against plain Python over real searches; what is wrong gives one line."""

from __future__ import annotations

import operator
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bicross import BiEncoder, Document, LocalIndex
from bicross.errors import UsageError
from bicross.index.filters import parse_filter

FIELDS = {"year": "integer", "lang": "text", "ok": "boolean", "when": "date", "price": "float", '"odd key"': "text"}

METADATA: list[dict[str, Any]] = [
    {
        "year": 2000 + i % 7,
        "lang": ["en", "zh", "de"][i % 3],
        "ok": i % 2 == 0,
        "when": f"2020-{i % 12 + 1:02d}-15",
        "price": i / 4,
        "tags": [f"t{i % 4}", f"u{i % 5}"],
        "author": {"name": f"name {i % 6}"},
        "odd key": f"v{i % 2}",
    }
    for i in range(60)
] + [{"year": 1999}, {"lang": "en"}, {}]


@pytest.fixture(scope="module")
def index(tmp_path_factory: pytest.TempPathFactory, bi_encoder: BiEncoder) -> LocalIndex:
    with LocalIndex.create(tmp_path_factory.mktemp("filters") / "index", bi_encoder) as opened:
        opened.add(Document(f"d{i}", f"note {i}", "", metadata) for i, metadata in enumerate(METADATA))
        yield opened


def found(index: LocalIndex, text: str, mode: str = "dense") -> set[str]:
    return {hit.chunk.document_id for hit in index.search("note", top_k=100, mode=mode, filter=text)}


Test = Callable[[dict[str, Any]], bool]
COMPARISONS = {"==": operator.eq, "<": operator.lt, "<=": operator.le, ">": operator.gt, ">=": operator.ge}


def comparison(field: str, values: list[Any], symbols: list[str]) -> st.SearchStrategy[tuple[str, Test]]:
    def make(symbol: str, value: Any) -> tuple[str, Test]:
        text = (
            f'{field} {symbol} "{value}"' if isinstance(value, str) else f"{field} {symbol} {value}".replace("T", "t")
        )
        text = text.replace("False", "false").replace("true", "true")
        if symbol == "!=":
            return text, lambda m: m.get(field) != value
        return text, lambda m: field in m and bool(COMPARISONS[symbol](m[field], value))

    return st.builds(make, st.sampled_from(symbols), st.sampled_from(values))


ORDERED = ["==", "!=", "<", "<=", ">", ">="]
LEAVES = st.one_of(
    comparison("year", [1999, 2001, 2003, 2010], ORDERED),
    comparison("price", [2, 2.5, 7.75], ORDERED),
    comparison("when", ["2020-03-15", "2020-11-01"], ORDERED),
    comparison("lang", ["en", "fr"], ["==", "!="]),
    comparison("ok", [True, False], ["==", "!="]),
    st.just(('tags == "t1"', lambda m: "t1" in m.get("tags", ()))),
    st.just(('lang in ["zh", "de"]', lambda m: m.get("lang") in ("zh", "de"))),
    st.just(('lang not in ["zh", "de"]', lambda m: m.get("lang") not in ("zh", "de"))),
    st.just(('author.name == "name 3"', lambda m: m.get("author", {}).get("name") == "name 3")),
    st.just(("`odd key` == 'v1'", lambda m: m.get("odd key") == "v1")),
    st.just(("exists when", lambda m: "when" in m)),
)


def joined(children: st.SearchStrategy[tuple[str, Test]]) -> st.SearchStrategy[tuple[str, Test]]:
    def both(a: tuple[str, Test], b: tuple[str, Test]) -> tuple[str, Test]:
        return f"({a[0]}) and ({b[0]})", lambda m: a[1](m) and b[1](m)

    def either(a: tuple[str, Test], b: tuple[str, Test]) -> tuple[str, Test]:
        return f"({a[0]}) OR ({b[0]})", lambda m: a[1](m) or b[1](m)

    def negated(a: tuple[str, Test]) -> tuple[str, Test]:
        return f"not ({a[0]})", lambda m: not a[1](m)

    return st.one_of(
        st.builds(both, children, children), st.builds(either, children, children), st.builds(negated, children)
    )


@settings(max_examples=150, deadline=None)
@given(st.recursive(LEAVES, joined, max_leaves=5))
def test_a_filter_finds_what_plain_python_finds(index: LocalIndex, case: tuple[str, Test]) -> None:
    text, test = case
    assert found(index, text) == {f"d{i}" for i, metadata in enumerate(METADATA) if test(metadata)}, text


def test_every_mode_is_filtered_in_the_engine(index: LocalIndex) -> None:
    wanted = {f"d{i}" for i, metadata in enumerate(METADATA) if metadata.get("year") == 2003}
    for mode in ("dense", "lexical", "hybrid"):
        assert found(index, "year == 2003", mode) == wanted
        top = index.search("note 58", top_k=3, mode=mode, filter="year == 2003")
        assert len(top) == 3, "as many as asked for, however narrow the filter"


def test_and_binds_tighter_than_or(index: LocalIndex) -> None:
    assert found(index, "year == 2001 or year == 2002 and lang == 'en'") == found(
        index, "year == 2001 or (year == 2002 and lang == 'en')"
    )


def test_facets_count_documents_not_chunks(tmp_path: Path, bi_encoder: BiEncoder) -> None:
    with LocalIndex.create(tmp_path / "index", bi_encoder, chunk_tokens=8) as index:
        long = "One sentence here. Another sentence there. And a third one. " * 5
        index.add(Document(f"d{i}", long, "", {"lang": "en" if i % 3 else "zh", "ok": i > 1}) for i in range(6))
        assert index.count().chunks > 6
        assert index.facets("lang") == [("en", 4), ("zh", 2)]
        assert index.facets("ok") == [(True, 4), (False, 2)]
        assert index.facets("lang", filter="ok == true") == [("en", 3), ("zh", 1)]
        index.delete("d1")
        assert index.facets("lang") == [("en", 3), ("zh", 2)]
        assert index.facets("lang", limit=1) == [("en", 3)]
        with pytest.raises(UsageError, match="no document has the field 'language'; did you mean lang"):
            index.facets("language")


def test_a_date_stands_for_its_whole_day(tmp_path: Path, bi_encoder: BiEncoder) -> None:
    moments = {"a": "2024-05-04T23:59:59Z", "b": "2024-05-05", "c": "2024-05-05T08:00:00Z", "d": "2024-05-06"}
    with LocalIndex.create(tmp_path / "index", bi_encoder) as index:
        index.add(Document(name, "x", "", {"when": moment}) for name, moment in moments.items())
        for text, wanted in {
            'when == "2024-05-05"': "bc",
            'when in ["2024-05-05"]': "bc",
            'when != "2024-05-05"': "ad",
            'when <= "2024-05-05"': "abc",
            'when < "2024-05-05"': "a",
            'when > "2024-05-05"': "d",
            'when >= "2024-05-05"': "bcd",
            'when == "2024-05-05T08:00:00Z"': "c",
            'when > "2024-05-05T08:00:00Z"': "d",
        }.items():
            assert found(index, text) == set(wanted), text


def test_a_name_with_a_dot_in_it(tmp_path: Path, bi_encoder: BiEncoder) -> None:
    with LocalIndex.create(tmp_path / "index", bi_encoder) as index:
        index.add([Document("a", "x", "", {"author.name": "Ada", "book": {"year": 1843}})])
        assert found(index, 'author.name == "Ada" and book.year == 1843') == {"a"}
        assert index.facets("author.name") == [("Ada", 1)]
        assert index.facets("book.year") == [(1843, 1)]


def test_a_field_whose_type_gets_wider_is_still_found(tmp_path: Path, bi_encoder: BiEncoder) -> None:
    with LocalIndex.create(tmp_path / "index", bi_encoder) as index:
        index.add([Document("a", "x", "", {"n": 3})])
        assert index.stats().fields == {"n": "integer"}
        index.add([Document("b", "x", "", {"n": 3.5})])
        assert index.stats().fields == {"n": "float"}
        assert found(index, "n >= 3") == {"a", "b"}
        assert found(index, "n == 3") == {"a"}
        index.add([Document("c", "x", "", {"n": "many"}), Document("d", "x", "", {"n": True})])
        assert index.stats().fields == {"n": "mixed"}
        assert found(index, "n == 3.5") == {"b"}
        assert found(index, 'n == "many"') == {"c"}
        assert found(index, "n == true") == {"d"}
    with LocalIndex.open(tmp_path / "index", bi_encoder) as index:
        assert found(index, "n > 1") == {"a", "b"}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "the filter is empty"),
        ("yaer >= 2020", "no document has the field 'yaer'; did you mean year?"),
        ('year == "2020"', 'holds whole numbers; it cannot be compared with "2020"'),
        ("lang == 5", "holds texts; it cannot be compared with 5"),
        ("ok == 1", "holds true or false; it cannot be compared with 1"),
        ('lang < "f"', "< compares numbers and dates only"),
        ('when > "yesterday"', "holds dates"),
        ("year >= ", "cannot be read at 'its end' (character 9)"),
        ("year = 2020", "cannot be read at '= 2020' (character 6)"),
        ("year == 2020 lang", "cannot be read at 'lang'"),
        ('__import__("os").system("id")', "cannot be read at"),
        ("year == 1e999", "more than 64 bits"),
        ("year in []", "empty list"),
        ("(" * 60 + "year == 1" + ")" * 60, "nests too deep"),
        ("not " * 300 + "year == 1", "nests too deep"),
        ('lang == "' + "x" * 20_000 + '"', "at most 10000 are read"),
        ('lang == "a\\q"', "a backslash that means nothing"),
    ],
)
def test_wrong_filters_are_told_in_one_line(text: str, message: str) -> None:
    with pytest.raises(UsageError) as caught:
        parse_filter(text, FIELDS)
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)
    assert len(str(caught.value)) < 400


@settings(max_examples=300, deadline=None)
@given(st.text(alphabet=st.sampled_from(list("yearlangok =<>!()[]\"'`.,0123456789andornotin\n\\柏")), max_size=40))
def test_nothing_but_a_usage_error_comes_of_nonsense(text: str) -> None:
    try:
        parse_filter(text, FIELDS)
    except UsageError as error:
        assert "\n" not in str(error)

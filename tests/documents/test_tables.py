"""CSV and Parquet: a document a row."""

from __future__ import annotations

import datetime
import gzip
from decimal import Decimal
from pathlib import Path

import pyarrow as pa
import pytest
from pyarrow import parquet

from bicross.documents import Fields
from bicross.documents.readers import parquet as reader


@pytest.mark.parametrize(
    ("name", "mark"), [("a.csv", ","), ("a.csv", ";"), ("a.csv", "\t"), ("a.csv", "|"), ("a.tsv", "\t")]
)
def test_delimiters(tmp_path: Path, read, name: str, mark: str) -> None:
    rows = [["id", "text", "n"], ["1", '"a, b; c | d\te"', "5"], ["2", '"two\nlines, ""quoted"""', ""]]
    (tmp_path / name).write_bytes("\r\n".join(mark.join(row) for row in rows).encode())
    documents, failures = read(tmp_path)
    assert not failures
    assert [(d.id, d.text, d.metadata) for d in documents] == [
        ("1", "a, b; c | d\te", {"n": 5}),
        ("2", 'two\nlines, "quoted"', {}),
    ]


def test_values_have_types(tmp_path: Path, read) -> None:
    cells = {
        "5": 5,
        "-12": -12,
        "0": 0,
        "007": "007",
        "1234567890123456": "1234567890123456",
        "1.50": 1.5,
        "-0.5": -0.5,
        "1e5": "1e5",
        "true": True,
        "FALSE": False,
        "2020-01-01": "2020-01-01",
        "1,5": "1,5",
        "nan": "nan",
        " ": " ",
    }
    for cell, value in cells.items():
        (tmp_path / "a.csv").write_text(f'id,text,v\n007,12,"{cell}"\n')
        ((document,), _) = read(tmp_path)
        assert (document.id, document.text) == ("007", "12")
        assert document.metadata == {"v": value}
        assert type(document.metadata["v"]) is type(value)


def test_named_columns_with_types(tmp_path: Path, read) -> None:
    (tmp_path / "a.csv.gz").write_bytes(gzip.compress(b"k;t;n;f;unused\na;x;007;2;1\nb;y;;nan;1\nc;z;one;3;1\n"))
    fields = Fields(id="k", text=("t",), metadata=("n:int", "f:float"))
    documents, (failure,) = read(tmp_path, fields=fields)
    assert [(d.id, d.metadata) for d in documents] == [("a", {"n": 7, "f": 2.0}), ("b", {})]
    assert failure.where.endswith("a.csv.gz:4")
    assert failure.reason == "id 'c': field 'n': 'one' is no int; mend it, or read the field as text"


def test_bad_rows_do_not_lose_others(tmp_path: Path, read) -> None:
    rows = ["id,text", "1,a", "2,b,c", "3", '4,"x"y', "", ",no id", '5,"never closed', "6,d", "7,e"]
    (tmp_path / "a.csv").write_text("\n".join(rows))
    documents, failures = read(tmp_path)
    assert [d.id for d in documents] == ["1", "6", "7"]
    assert [f.where.rpartition(":")[2] for f in failures] == ["3", "4", "5", "7", "8"]


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        ("\n\n", "the file is empty"),
        ("id,text\n", "the file has no rows"),
        ("a,b\n1,2\n", "no field '_id' or 'id'; the fields here are 'a', 'b'; choose fields with --id-field"),
        ("id,b\n1,2\n", "no field 'text'"),
        ("id,text,text\n1,2,3\n", "the column 'text' is there twice"),
    ],
)
def test_bad_tables(tmp_path: Path, read, content: str, reason: str) -> None:
    (tmp_path / "a.csv").write_text(content)
    documents, (failure,) = read(tmp_path)
    assert not documents
    assert failure.reason.startswith(reason)


def test_columns_that_are_asked_for_must_be_there(tmp_path: Path, read) -> None:
    (tmp_path / "a.csv").write_text("id,text,n\n1,a,2\n")
    for fields, reason in [
        (Fields(title="name"), "no field 'name'"),
        (Fields(metadata=("m:int",)), "no field 'm'"),
        (Fields(metadata=("n:number",)), "the type after the colon is unknown"),
    ]:
        assert reason in read(tmp_path, fields=fields)[1][0].reason


def test_a_column_without_a_name_is_left_out(tmp_path: Path, read) -> None:
    (tmp_path / "a.csv").write_text(",id,text\n0,1,a\n")
    assert read(tmp_path)[0][0].metadata == {}


def write(path: Path, columns: dict[str, object], **options: object) -> None:
    parquet.write_table(pa.table(columns), path, **options)


def test_parquet_values(tmp_path: Path, read) -> None:
    time = datetime.datetime(2020, 1, 2, 3, 4, 5, 6)
    write(
        tmp_path / "a.parquet",
        {
            "id": [Decimal("12345678901234567890"), Decimal(2), Decimal(3)],
            "text": pa.array(["a", None, "é🙂"], pa.large_string()),
            "title": pa.array(["u", "u", None]).dictionary_encode(),
            "ns": pa.array([time] * 3, pa.timestamp("ns")),
            "zone": pa.array([time] * 3, pa.timestamp("ms", "UTC")),
            "day": [time.date()] * 3,
            "float": [1.5, float("nan"), float("inf")],
            "int": [1, None, 3],
            "decimal": [Decimal("1.50")] * 3,
            "bytes": [b"x"] * 3,
            "struct": [{"a": "x", "picture": b"q", "n": {"c": 1, "f": float("nan")}}] * 3,
            "list": [["a", "b"], [], None],
        },
    )
    documents, failures = read(tmp_path)
    assert not failures
    assert [(d.id, d.text, d.title) for d in documents] == [
        ("12345678901234567890", "a", "u"),
        ("2", "", "u"),
        ("3", "é🙂", ""),
    ]
    assert documents[0].metadata == {
        "ns": "2020-01-02T03:04:05.000006",
        "zone": "2020-01-02T03:04:05+00:00",
        "day": "2020-01-02",
        "float": 1.5,
        "int": 1,
        "decimal": 1.5,
        "struct": {"a": "x", "n": {"c": 1, "f": None}},
        "list": ["a", "b"],
    }
    assert documents[1].metadata.keys() == {"ns", "zone", "day", "decimal", "struct", "list"}
    assert documents[2].metadata["int"] == 3


def test_parquet_fields(tmp_path: Path, read) -> None:
    columns = {"k": [1, 2], "doc": [{"head": "h", "body": "b"}] * 2, "year": ["1808", "x"], "other": [1, 2]}
    write(tmp_path / "a.parquet", columns, row_group_size=1)
    fields = Fields(id="k", text=("doc.head", "doc.body"), metadata=("year:int",))
    ((document,), (failure,)) = read(tmp_path, fields=fields)
    assert (document.id, document.text, document.metadata) == ("1", "h\n\nb", {"year": 1808})
    assert failure.where == f"{tmp_path}/a.parquet: row 2"
    assert failure.reason.startswith("id '2': field 'year'")
    ((first, _), _) = read(tmp_path, fields=Fields(id="k", text=("doc.body",)))
    assert first.metadata == {"doc": {"head": "h"}, "year": "1808", "other": 1}


def test_parquet_that_cannot_be_read(tmp_path: Path, read) -> None:
    write(tmp_path / "a-empty.parquet", {"id": pa.array([], pa.string()), "text": pa.array([], pa.string())})
    write(tmp_path / "b-fields.parquet", {"id": ["1"], "body": ["x"], "text": [b"bytes"]})
    write(tmp_path / "c-cut.parquet", {"id": ["1"], "text": ["x"]})
    data = (tmp_path / "c-cut.parquet").read_bytes()
    (tmp_path / "c-cut.parquet").write_bytes(data[:-20])
    write(tmp_path / "d-flipped.parquet", {"id": ["1"] * 99, "text": ["some text"] * 99})
    flipped = bytearray((tmp_path / "d-flipped.parquet").read_bytes())
    flipped[8:120] = bytes(112)
    (tmp_path / "d-flipped.parquet").write_bytes(flipped)
    documents, failures = read(tmp_path)
    assert not documents
    reasons = [
        "the file has no rows",
        "no field 'text'; the fields here are 'id', 'body'",
        "the Parquet file is broken",
    ]
    for failure, reason in zip(failures, [*reasons, reasons[2]], strict=True):
        assert failure.reason.startswith(reason)


def test_large_row_groups_are_refused(tmp_path: Path, read, monkeypatch: pytest.MonkeyPatch) -> None:
    texts = ["short", "x" * 2_000_000, "short"]
    columns = {"id": ["1", "2", "3"], "text": texts, "picture": [b"y" * 2_000_000] * 3}
    write(tmp_path / "a.parquet", columns, row_group_size=1)
    monkeypatch.setattr(reader, "ROW_GROUP_LIMIT", 2**20)
    documents, (failure,) = read(tmp_path)
    assert [d.id for d in documents] == ["1", "3"]
    assert failure.where == f"{tmp_path}/a.parquet: row group 2"

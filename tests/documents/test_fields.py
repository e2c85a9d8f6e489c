"""Records become documents by the fields that are named."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from bicross.documents import Document, Fields, read_documents
from bicross.errors import DocumentError, UsageError

BOOK = {
    "isbn": 9783,
    "name": "Faust",
    "abstract": "A man bets.",
    "body": "Habe nun, ach!",
    "author": {"name": "Goethe", "born": 1749},
    "year": "1808",
    "price": 9.5,
    "old": True,
}


def document(tmp_path: Path, record: dict, fields: Fields) -> Document:
    (tmp_path / "a.jsonl").write_text(json.dumps(record))
    (found,) = read_documents([tmp_path / "a.jsonl"], fields=fields)
    return found


def test_named_fields(tmp_path: Path) -> None:
    found = document(tmp_path, BOOK, Fields(id="isbn", text=("abstract", "body"), title="name"))
    assert (found.id, found.title, found.text) == ("9783", "Faust", "A man bets.\n\nHabe nun, ach!")
    assert found.metadata == {"author": BOOK["author"], "year": "1808", "price": 9.5, "old": True}


def test_dotted_names_and_literal_ones(tmp_path: Path) -> None:
    fields = Fields(id="isbn", text=("body",), title="author.name")
    assert document(tmp_path, BOOK, fields).title == "Goethe"
    assert document(tmp_path, BOOK, fields).metadata["author"] == {"born": 1749}
    assert document(tmp_path, BOOK | {"author.name": "J. W. v. Goethe"}, fields).title == "J. W. v. Goethe"


def test_chosen_metadata_and_its_types(tmp_path: Path) -> None:
    chosen = ("author.born", "year:int", "isbn:text", "price:text", "old:bool", "not there", "author.born:float")
    fields = Fields(id="isbn", text=("body",), metadata=chosen)
    assert document(tmp_path, BOOK, fields).metadata == {
        "author.born": 1749.0,
        "year": 1808,
        "isbn": "9783",
        "price": "9.5",
        "old": True,
    }
    assert document(tmp_path, BOOK | {"year:int": "x"}, fields).metadata["year:int"] == "x"
    assert document(tmp_path, BOOK, Fields(id="isbn", text=("body",), metadata=())).metadata == {}


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        (
            Fields(text=("body",)),
            r"a\.jsonl:1: no id: no field '_id' or 'id'; the fields here are 'isbn', .*--id-field",
        ),
        (Fields(id="isbn"), r"id '9783': no field 'text'; .*'abstract', 'body'.*--text-field and --title-field"),
        (Fields(id="isbn", text=("a", "b.c")), r"no field 'a' or 'b\.c'"),
        (Fields(id="isbn", text=("price",)), r"id '9783': text and title must be strings, this is a float"),
        (Fields(id="isbn", text=("body",), title="old"), r"text and title must be strings, this is a bool"),
        (Fields(id="author", text=("body",)), r"no id: it is a dict"),
        (Fields(id="isbn", text=("body",), metadata=("name:int",)), r"id '9783': field 'name': 'Faust' is no int"),
        (Fields(id="isbn", text=("body",), metadata=("name:float",)), r"'Faust' is no float"),
        (Fields(id="isbn", text=("body",), metadata=("price:int",)), r"9\.5 is no int"),
        (Fields(id="isbn", text=("body",), metadata=("isbn:bool",)), r"9783 is no bool"),
        (Fields(id="isbn", text=("body",), metadata=("author:text",)), r"is no text"),
        (Fields(id="isbn", text=("body",), metadata=("year:number",)), r"'year:number': the type .* unknown; .*int"),
    ],
)
def test_records_that_do_not_fit(tmp_path: Path, fields: Fields, message: str) -> None:
    with pytest.raises(DocumentError, match=message):
        document(tmp_path, BOOK, fields)


def test_one_string_is_no_tuple_of_names() -> None:
    with pytest.raises(UsageError, match="tuples of names"):
        Fields(text="body")  # type: ignore[arg-type]


def test_text_may_be_null_or_missing_in_part(tmp_path: Path) -> None:
    assert document(tmp_path, {"id": "a", "text": None, "title": None}, Fields()).text == ""
    assert document(tmp_path, {"id": "a", "x": " ", "y": "text"}, Fields(text=("x", "y", "z"))).text == "text"
    assert document(tmp_path, {"id": "a", "text": "x", "metadata": "m"}, Fields()).metadata == {"metadata": "m"}
    assert document(tmp_path, {"id": 1.5, "text": "x", "n": None}, Fields()) == Document(
        "1.5", "x", "", {"n": None}, str(tmp_path / "a.jsonl")
    )

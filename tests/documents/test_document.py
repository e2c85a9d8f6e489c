"""What a document accepts, and what its hash depends on."""

from __future__ import annotations

from datetime import datetime

import pytest

from bicross import Document
from bicross.errors import DocumentError


def nested(levels: int) -> dict:
    value: dict = {}
    for _ in range(levels - 1):
        value = {"a": value}
    return value


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((7, "text"), "its id is int"),
        (("", "text"), "empty id"),
        (("x" * 10_001, "text"), r"document 'x{60}'…: its id has 10,001 characters; at most 10,000"),
        (("a", None), "its text is NoneType"),
        (("a", "text", "", {"when": datetime(2020, 1, 1)}), "its metadata holds a datetime"),
        (("a", "text", "", {1: "x"}), "a key that is not a string"),
        (("a", "text", "", {"n": [10**30]}), "more than 64 bits"),
        (("a", "text", "", {"n": 10**400}), "more than 64 bits"),
        (("a", "text", "", nested(101)), "more than 100 levels deep"),
        (("a", "text", "", nested(5000)), "more than 100 levels deep"),
        (("a", "text", "", {}, "", (0, 9)), "its pages are not rising offsets"),
        (("a", "text", "", {}, "", (3, 2)), "its pages are not rising offsets"),
    ],
)
def test_what_cannot_be_stored_is_refused(arguments: tuple, message: str) -> None:
    with pytest.raises(DocumentError, match=message) as caught:
        Document(*arguments)
    assert len(str(caught.value)) < 300


@pytest.mark.parametrize("document_id", ["a/b", "two\nlines", "🙂", " ", "x" * 10_000, "a#0"])
def test_ids_may_be_anything(document_id: str) -> None:
    assert Document(document_id, "text").id == document_id


def test_long_ids_are_shown_by_their_beginning() -> None:
    with pytest.raises(DocumentError) as caught:
        Document("line\n" * 2000, "text", "", {"x": float("nan")})
    assert str(caught.value).startswith(r"document 'line\nline\n")
    assert len(str(caught.value)) < 200


def test_the_hash_is_that_of_title_text_metadata_and_pages() -> None:
    plain = Document("a", "some text", "T", {"k": 1})
    # as stored by earlier versions
    assert plain.content_hash == "fe273c47b132368646c657f26973f915e479e32a61cd6b2a983e9dafb8650fc0"
    assert Document("b", "some text", "T", {"k": 1}, "/a/file.txt").content_hash == plain.content_hash
    paged = Document("a", "some text", "T", {"k": 1}, pages=(0, 5))
    assert paged.content_hash != plain.content_hash
    assert paged.content_hash != Document("a", "some text", "T", {"k": 1}, pages=(0, 4)).content_hash


def test_metadata_as_deep_as_allowed_is_hashed() -> None:
    assert Document("a", "text", "", nested(100)).content_hash

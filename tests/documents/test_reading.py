"""Files become documents; bad files give one line that says where."""

from __future__ import annotations

import gzip
from datetime import datetime
from pathlib import Path

import pytest

from bicross import Document, read_documents
from bicross.errors import DocumentError, UsageError


def ids(*paths: Path) -> list[str]:
    return [document.id for document in read_documents(paths)]


def test_folders_files_and_metadata(tmp_path: Path) -> None:
    (tmp_path / "sub").mkdir()
    (tmp_path / "sub" / "b.md").write_text("# A heading\n\nSome text.", encoding="utf-8")
    (tmp_path / "a.txt").write_bytes("\ufeffPlain text.".encode())
    (tmp_path / ".hidden.txt").write_text("no")
    (tmp_path / "photo.png").write_bytes(b"\x89PNG")
    lines = (
        '{"_id": "x", "title": "T", "text": "one", "year": 2020}\n\n{"id": 7, "text": "two", "metadata": {"k": 1}}\n'
    )
    with gzip.open(tmp_path / "c.jsonl.gz", "wt", encoding="utf-8") as stream:
        stream.write(lines)
    documents = {d.id: d for d in read_documents([tmp_path])}
    assert list(documents) == ["a.txt", "x", "7", "sub/b.md"]
    assert documents["a.txt"].text == "Plain text."
    assert documents["sub/b.md"].title == "A heading"
    assert documents["x"].metadata == {"year": 2020}
    assert documents["7"].metadata == {"k": 1}


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("empty.txt", b" \n", r"empty\.txt: the file is empty"),
        ("empty.jsonl", b"", r"empty\.jsonl: the file is empty"),
        ("latin.txt", b"one\ncaf\xe9", r"latin\.txt: line 2: not UTF-8 \(byte 0xe9"),
        ("latin.jsonl", b'{"_id": "a", "text": "x"}\n{"_id": "b", "text": "caf\xe9"}', r"latin\.jsonl:2: not UTF-8"),
        ("broken.jsonl", b'{"_id": "a", "text": "x"}\n{"_id": "b", ', r"broken\.jsonl:2: broken JSON"),
        ("list.jsonl", b"[1]", r"list\.jsonl:1: expected a JSON object"),
        ("noid.jsonl", b'{"text": "x"}', r"noid\.jsonl:1: no id"),
        ("nan.jsonl", b'{"_id": "a", "text": "x", "v": NaN}', r"nan\.jsonl:1: document 'a': its metadata holds nan"),
        ("half.jsonl", b'{"_id": "a", "text": "x \\ud800"}', r"half\.jsonl:1: document 'a': its text holds half"),
        ("deep.jsonl", b"[" * 200_000, r"deep\.jsonl:1: broken JSON"),
        ("number.jsonl", b'{"_id": "a", "text": 5}', r"number\.jsonl:1: id 'a': .* must be strings"),
        ("twice.jsonl", b'{"_id": "a", "text": "x"}\n{"_id": "a", "text": "y"}', r"twice\.jsonl:2: the id 'a' .*:1"),
        ("cut.jsonl.gz", gzip.compress(b'{"_id": "a", "text": "x"}\n' * 50)[:-9], r"cut\.jsonl\.gz.*"),
    ],
)
def test_bad_files_are_named(tmp_path: Path, name: str, content: bytes, message: str) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(DocumentError, match=message):
        ids(tmp_path / name)


def test_the_same_id_in_two_files(tmp_path: Path) -> None:
    for name in ("a.jsonl", "b.jsonl"):
        (tmp_path / name).write_text('{"_id": "same", "text": "x"}')
    with pytest.raises(DocumentError, match=r"b\.jsonl:1: the id 'same' was already used by .*a\.jsonl:1"):
        ids(tmp_path)


def test_paths_that_cannot_be_read(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="no such file"):
        ids(tmp_path / "missing")
    with pytest.raises(UsageError, match="no readable file"):
        ids(tmp_path)
    (tmp_path / "x.docx").write_bytes(b"PK")
    with pytest.raises(UsageError, match=r"unknown kind of file; bicross reads \.jsonl"):
        ids(tmp_path / "x.docx")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((7, "text"), "its id is int"),
        (("", "text"), "empty id"),
        (("a", None), "its text is NoneType"),
        (("a", "text", "", {"when": datetime(2020, 1, 1)}), "its metadata holds a datetime"),
        (("a", "text", "", {1: "x"}), "a key that is not a string"),
        (("a", "text", "", {"n": [10**30]}), "more than 64 bits"),
    ],
)
def test_documents_that_cannot_be_stored_are_refused(arguments: tuple, message: str) -> None:
    with pytest.raises(DocumentError, match=message):
        Document(*arguments)

"""Files become documents; bad files give one line that says where."""

from __future__ import annotations

import gzip
import io
import os
import sys
from pathlib import Path

import pytest

from bicross import Document, read_documents
from bicross.errors import DocumentError, UsageError


def ids(*paths: str | Path) -> list[str]:
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
    assert documents["x"].source == str(tmp_path / "c.jsonl.gz")
    assert documents["sub/b.md"].source == str(tmp_path / "sub" / "b.md")


def test_sources_are_absolute(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "a.txt").write_text("text")
    monkeypatch.chdir(tmp_path)
    assert [d.source for d in read_documents(["a.txt", "."])] == [str(tmp_path / "a.txt")] * 2


BAD = [
    ("empty.txt", b" \n", r"empty\.txt: the file is empty"),
    ("nothing.pdf", b"", r"nothing\.pdf: the file is empty"),
    ("empty.jsonl", b"", r"empty\.jsonl: the file is empty"),
    ("blank.jsonl", b"\n\n", r"blank\.jsonl: the file is empty"),
    ("latin.jsonl", b'{"_id": "a", "text": "x"}\n{"_id": "b", "text": "caf\xe9"}', r"latin\.jsonl:2: not UTF-8"),
    ("broken.jsonl", b'{"_id": "a", "text": "x"}\n{"_id": "b", ', r"broken\.jsonl:2: broken JSON"),
    ("list.jsonl", b"[1]", r"list\.jsonl:1: expected a JSON object"),
    ("noid.jsonl", b'{"text": "x"}', r"noid\.jsonl:1: no id: no field '_id' or 'id'; .*'text'; .*--id-field"),
    ("null.jsonl", b'{"id": null, "text": "x"}', r"null\.jsonl:1: no id: the field is empty"),
    ("true.jsonl", b'{"id": true, "text": "x"}', r"true\.jsonl:1: no id: it is a bool"),
    ("long.jsonl", b'{"id": "%s", "text": "x"}' % (b"y" * 10_001), r"long\.jsonl:1: document 'y{60}'…: .*10,001"),
    ("nan.jsonl", b'{"_id": "a", "text": "x", "v": NaN}', r"nan\.jsonl:1: document 'a': its metadata holds nan"),
    ("half.jsonl", b'{"_id": "a", "text": "x \\ud800"}', r"half\.jsonl:1: document 'a': its text holds half"),
    ("deep.jsonl", b"[" * 200_000, r"deep\.jsonl:1: broken JSON"),
    ("number.jsonl", b'{"_id": "a", "text": 5}', r"number\.jsonl:1: id 'a': .* must be strings"),
    (
        "cut.jsonl.gz",
        gzip.compress(b'{"_id": "a", "text": "x"}\n' * 50)[:-9],
        r"cut\.jsonl\.gz: the file cannot be read",
    ),
    ("no.txt.gz", b"this is not packed", r"no\.txt\.gz: the file cannot be read .*[Nn]ot a gzipped file"),
    ("broken.json", b'[{"id": "a", "text": "x"}, {"id": }]', r"broken\.json: record 2: broken JSON"),
    ("cut.json", b'[{"id": "a", "text": "x"}', r"cut\.json: record 1: broken JSON: expected a comma"),
    ("numbers.json", b"[1, 2]", r"numbers\.json: record 1: expected JSON objects"),
    ("latin.json", b'[{"id": "a", "text": "caf\xe9"}]', r"latin\.json: .*not UTF-8"),
    ("deep.json", b'{"a":' * 200_000, r"deep\.json: record 1: broken JSON"),
    ("none.json", b"[]", r"none\.json: the file is empty"),
]


@pytest.mark.parametrize(("name", "content", "message"), BAD, ids=[name for name, _, _ in BAD])
def test_bad_files_are_named(tmp_path: Path, name: str, content: bytes, message: str) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(DocumentError, match=message) as caught:
        ids(tmp_path / name)
    assert "\n" not in str(caught.value)
    assert len(str(caught.value)) < 500


def test_reading_goes_on_after_bad_files_and_lines(tmp_path: Path, read) -> None:
    for name, content, _ in BAD:
        (tmp_path / name).write_bytes(content)
    (tmp_path / "a.txt").write_text("first")
    (tmp_path / "mixed.jsonl").write_text('{"id": 1, "text": "a"}\nbroken\n\n{"id": 2, "text": "b"}\n')
    (tmp_path / "z.txt").write_text("last")
    documents, failures = read(tmp_path)
    assert len(failures) == len(BAD) + 1
    assert [d.id for d in documents if d.source.endswith("mixed.jsonl")] == ["1", "2"]
    assert [(f.where, f.source) for f in failures if "mixed" in f.where] == [
        (f"{tmp_path}/mixed.jsonl:2", f"{tmp_path}/mixed.jsonl")
    ]
    # what comes before the fault is not lost
    assert [d.id for d in documents if d.source.endswith("cut.jsonl.gz")] == ["a"] * 50
    assert documents[0].text == "first"
    assert documents[-1].text == "last"


def test_a_file_of_any_name(tmp_path: Path, read) -> None:
    (tmp_path / "two\nlines.txt").write_text("text")
    (tmp_path / "bad\nname.jsonl").write_text("{")
    Path(os.fsdecode(os.fsencode(tmp_path) + b"/caf\xe9.txt")).write_text("text")
    documents, (failure,) = read(tmp_path)
    assert [d.id for d in documents] == ["caf\\udce9.txt", "two\nlines.txt"]
    assert failure.where.endswith(r"bad\nname.jsonl:1")


def test_paths_that_cannot_be_read(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="a path is empty"):
        ids("")
    with pytest.raises(UsageError, match="no readable file"):
        ids(tmp_path)
    (tmp_path / "x.doc").write_bytes(b"PK")
    with pytest.raises(UsageError, match=r"unknown kind of file; bicross reads \.csv"):
        ids(tmp_path / "x.doc")


def test_paths_are_checked_before_anything_is_read(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("text")
    with pytest.raises(UsageError, match="missing: no such file or folder"):
        read_documents([tmp_path / "a.txt", tmp_path / "missing"])


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
def test_what_may_not_be_read(tmp_path: Path, read) -> None:
    (tmp_path / "a.txt").write_text("secret")
    (tmp_path / "a.txt").chmod(0)
    (tmp_path / "b").mkdir(mode=0)
    (tmp_path / "c.txt").write_text("text")
    documents, failures = read(tmp_path)
    assert [d.id for d in documents] == ["c.txt"]
    assert [Path(f.where).name for f in failures] == ["a.txt", "b"]


def test_globs(tmp_path: Path, read) -> None:
    for name in ("b.txt", "a.txt", "c.png", "docs/d.md", "docs/deep/e.md", "docs/.hidden/f.md", "docs/deep/README.md"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text("text")
    (tmp_path / "docs" / "loop").symlink_to(tmp_path)
    assert ids(f"{tmp_path}/*.txt") == ["a.txt", "b.txt"]
    assert ids(f"{tmp_path}/docs/**/*.md") == ["d.md", "deep/README.md", "deep/e.md"]
    assert ids(f"{tmp_path}/**") == ["a.txt", "b.txt", "docs/d.md", "docs/deep/README.md", "docs/deep/e.md"]
    assert ids(f"{tmp_path}/d*/[cd].md") == ["docs/d.md"]
    assert [d.id for d in read(f"{tmp_path}/**/*.md", ignore=["README.md"])[0]] == ["docs/d.md", "docs/deep/e.md"]
    for pattern in ("*.pdf", "nothing/*", "*.png"):
        with pytest.raises(UsageError, match="as a pattern it matches no readable file"):
            ids(f"{tmp_path}/{pattern}")
    (tmp_path / "[x].txt").write_text("a file, not a pattern")
    assert ids(f"{tmp_path}/[x].txt") == ["[x].txt"]


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        (b'\n {"id": 1, "text": "a"}\n{"id": 2, "text": "b"}\n', [("1", "a"), ("2", "b")]),
        ('{"id": 1, "text": "é"}'.encode("utf-16"), [("1", "é")]),
        (b"plain text", [("stdin", "plain text")]),
        ("\ufeffé".encode(), [("stdin", "é")]),
    ],
)
def test_standard_input(monkeypatch: pytest.MonkeyPatch, given: bytes, expected: list[tuple[str, str]]) -> None:
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(given)))
    documents = list(read_documents(["-"]))
    assert [(d.id, d.text) for d in documents] == expected
    assert {d.source for d in documents} == {"-"}
    assert not sys.stdin.buffer.closed


def test_bad_standard_input(monkeypatch: pytest.MonkeyPatch, read) -> None:
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(b"")))
    _, (failure,) = read("-")
    assert (failure.where, failure.source) == ("stdin", "-")
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(b'{"id": 1, "text": "a"}\n{')))
    with pytest.raises(DocumentError, match=r"^stdin:2: broken JSON"):
        ids("-")
    assert not sys.stdin.buffer.closed


def test_json_arrays_objects_and_lines(tmp_path: Path, read) -> None:
    long = [{"id": n, "text": "é" * 700_000, "n": {"k": [n]}} for n in range(4)]  # longer than a block is
    (tmp_path / "a.json").write_text(str(long).replace("'", '"'), encoding="utf-8")
    (tmp_path / "b.json").write_bytes('{"id": "one", "text": "é"}'.encode("utf-16"))
    (tmp_path / "c.json").write_text('{"id": 7, "text": "a"}\n{"id": 8, "text": "b"}\n')
    (tmp_path / "d.json.gz").write_bytes(gzip.compress(b'[{"id": 9, "text": "a"}, {"id": 10}, {"id": 11, "text": ""}]'))
    documents, (failure,) = read(tmp_path)
    assert [d.id for d in documents] == ["0", "1", "2", "3", "one", "7", "8", "9", "11"]
    assert documents[2].metadata == {"n": {"k": [2]}}
    assert len(documents[3].text) == 700_000
    assert failure.where == f"{tmp_path}/d.json.gz: record 2"


def test_the_corpus_is_not_kept(tmp_path: Path) -> None:
    """The same id again is for the index to see."""
    (tmp_path / "a.jsonl").write_text('{"id": "same", "text": "x"}\n' * 2)
    assert list(read_documents([tmp_path])) == [Document("same", "x", source=str(tmp_path / "a.jsonl"))] * 2

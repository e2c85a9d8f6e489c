"""Which files a folder gives, and in which order."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from bicross.errors import UsageError


def make(root: Path, *names: str) -> None:
    for name in names:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text('{"id": "' + name + '", "text": "x"}')


def test_links_are_followed_and_cycles_survived(tmp_path: Path, read) -> None:
    make(tmp_path, "corpus/a/x.txt", "elsewhere/y.txt", "file.txt")
    corpus = tmp_path / "corpus"
    (corpus / "a" / "up").symlink_to(corpus)
    (corpus / "a" / "self").symlink_to(corpus / "a")
    (corpus / "b").symlink_to(tmp_path / "elsewhere")
    (corpus / "linked.txt").symlink_to(tmp_path / "file.txt")
    (corpus / "lost.txt").symlink_to(tmp_path / "nowhere.txt")
    (corpus / "round.txt").symlink_to(corpus / "round.txt")
    os.mkfifo(corpus / "pipe.txt")  # reading it would wait for ever
    (corpus / "pipe2.txt").symlink_to(corpus / "pipe.txt")
    documents, failures = read(corpus)
    assert [d.id for d in documents] == ["a/x.txt", "b/y.txt", "linked.txt"]
    assert [Path(f.where).name for f in failures] == ["lost.txt", "round.txt"]


def test_deep_folders(tmp_path: Path, read) -> None:
    deep = "/".join(["d"] * 400)
    make(tmp_path, f"{deep}/x.txt")
    assert [d.id for d in read(tmp_path)[0]] == [f"{deep}/x.txt"]


def test_ignore_files_and_patterns(tmp_path: Path, read) -> None:
    make(tmp_path, "a.txt", "drafts/b.txt", "keep/c.txt", "keep/secret.txt", "keep/deep/d.txt", "keep/deep/e.md")
    (tmp_path / ".bicrossignore").write_text("# a comment\ndrafts/\n*.md\n/a.txt\n", encoding="utf-8")
    (tmp_path / "keep" / ".bicrossignore").write_text("secret.*\n!deep/e.md\n", encoding="utf-8")
    assert [d.id for d in read(tmp_path)[0]] == ["keep/c.txt", "keep/deep/d.txt", "keep/deep/e.md"]
    assert [d.id for d in read(tmp_path, ignore=["deep"])[0]] == ["keep/c.txt"]
    assert [d.id for d in read(tmp_path, ignore=["!a.txt", "keep"])[0]] == ["a.txt"]
    assert not read(tmp_path / "a.txt", ignore=["*.txt"])[0]
    with pytest.raises(UsageError, match="no readable file"):
        read(tmp_path, ignore=["*"])
    with pytest.raises(UsageError, match="ignore: "):
        read(tmp_path, ignore=["!"])


def test_a_folder_whose_ignore_file_is_broken_is_not_read(tmp_path: Path, read) -> None:
    make(tmp_path, "a/x.txt", "b/y.txt")
    (tmp_path / "a" / ".bicrossignore").write_text("!\n")
    documents, (failure,) = read(tmp_path)
    assert [d.id for d in documents] == ["b/y.txt"]
    assert failure.where == f"{tmp_path}/a/.bicrossignore"


@pytest.mark.parametrize("beside", ["queries.jsonl", "queries.jsonl.gz", "qrels/test.tsv"])
def test_a_beir_folder_gives_its_corpus(tmp_path: Path, read, beside: str) -> None:
    make(tmp_path, "scifact/corpus.jsonl", f"scifact/{beside}", "other/corpus.jsonl", "other/notes.txt")
    for root, expected in [
        (tmp_path / "scifact", ["scifact/corpus.jsonl"]),
        (tmp_path, ["other/corpus.jsonl", "other/notes.txt", "scifact/corpus.jsonl"]),
    ]:
        documents, failures = read(root)
        assert [d.id for d in documents] == expected
        assert not failures


def test_many_files_are_read_one_by_one(tmp_path: Path) -> None:
    from bicross import read_documents

    make(tmp_path, "a.txt", "z/b.txt")
    documents = read_documents([tmp_path])
    assert next(documents).id == "a.txt"
    (tmp_path / "z" / "c.txt").write_text("made after reading began")
    assert [d.id for d in documents] == ["z/b.txt", "z/c.txt"]

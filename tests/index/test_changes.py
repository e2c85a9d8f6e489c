"""An index follows its files: new, changed, unchanged, removed, failed. And out again as one file, and back in."""

from __future__ import annotations

import json
import threading
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import qdrant_edge as qdrant

import bicross
from bicross import BiEncoder, Document, LocalIndex
from bicross.errors import CorpusError, DocumentError, FingerprintError, UsageError
from bicross.index import EncodedDocument, check, refresh
from bicross.index.shard import point_id


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    files = tmp_path / "files"
    (files / "sub").mkdir(parents=True)
    (files / "cats.txt").write_text("Cats purr when they are content.")
    (files / "dogs.md").write_text("# Dogs\n\nDogs bark at strangers.")
    (files / "sub" / "birds.txt").write_text("Birds sing in the morning.")
    return files


@pytest.fixture
def index(tmp_path: Path, bi_encoder: BiEncoder) -> LocalIndex:
    with LocalIndex.create(tmp_path / "index", bi_encoder) as opened:
        yield opened


def numbers(report: Any) -> tuple[int, int, int, int, int]:
    added = report.added
    return added.new, added.changed, added.unchanged, report.removed, report.failed


def test_a_changed_folder_embeds_only_what_changed(index: LocalIndex, folder: Path) -> None:
    assert numbers(refresh(index, [folder])) == (3, 0, 0, 0, 0)
    again = refresh(index, [folder], prune=True)
    assert (numbers(again), again.added.tokens) == ((0, 0, 3, 0, 0), 0)
    (folder / "cats.txt").write_text("Cats sleep all day.")
    (folder / "dogs.md").unlink()
    (folder / "fish.txt").write_text("Fish swim in schools.")
    assert numbers(refresh(index, [folder])) == (1, 1, 1, 0, 0)
    assert len(index.get("dogs.md")) == 1, "nothing is removed without prune"
    assert numbers(refresh(index, [folder], prune=True)) == (0, 0, 3, 1, 0)
    for mode in ("dense", "lexical", "hybrid"):
        assert "dogs.md" not in {hit.chunk.document_id for hit in index.search("dogs bark", mode=mode)}
    assert [hit.chunk.text for hit in index.get("cats.txt")] == ["Cats sleep all day."]
    assert check(index).whole


def test_prune_spares_other_places_and_files_that_fail_now(index: LocalIndex, folder: Path, tmp_path: Path) -> None:
    other = tmp_path / "other.txt"
    other.write_text("Another place.")
    refresh(index, [folder, other])
    index.add([Document("by hand", "Given from Python.")])
    (folder / "cats.txt").write_bytes(b"")
    (folder / "sub" / "birds.txt").unlink()
    report = refresh(index, [folder], prune=True)
    assert numbers(report) == (0, 0, 1, 1, 1)
    assert "the file is empty" in report.failures[0].reason
    assert {e.id for e in index.catalogue.entries()} == {"cats.txt", "dogs.md", "other.txt", "by hand"}
    with pytest.raises(UsageError, match="standard input"):
        refresh(index, ["-"], prune=True)


def test_one_bad_file_does_not_stop_the_run(index: LocalIndex, folder: Path) -> None:
    (folder / "broken.pdf").write_bytes(b"%PDF-1.4 broken")
    (folder / "lines.jsonl").write_text(
        '{"_id": "one", "text": "First."}\n{"_id": \n{"_id": "two", "text": "Second."}\n'
    )
    (folder / "more.jsonl").write_text('{"_id": "one", "text": "Used already."}\n')
    report = refresh(index, [folder])
    assert numbers(report) == (5, 0, 0, 0, 3)
    reasons = [f"{failure.where}: {failure.reason}" for failure in report.failures]
    assert "broken.pdf" in reasons[0]
    assert "lines.jsonl:2" in reasons[1]
    assert "the id 'one' was already used in" in reasons[2]
    assert [hit.chunk.text for hit in index.get("one")] == ["First."]
    with pytest.raises(DocumentError, match=r"broken\.pdf"):
        refresh(index, [folder], strict=True)


def test_two_files_of_one_name_do_not_replace_each_other(index: LocalIndex, tmp_path: Path) -> None:
    for name, text in (("one", "Apples are red."), ("two", "Bananas are yellow.")):
        (tmp_path / name).mkdir()
        (tmp_path / name / "README.md").write_text(text)
    assert refresh(index, [tmp_path / "one"]).failed == 0
    report = refresh(index, [tmp_path / "two"])
    assert numbers(report) == (0, 0, 0, 0, 1)
    assert "index both from a folder above them" in report.failures[0].reason
    assert index.get("README.md")[0].chunk.text == "Apples are red."
    assert numbers(refresh(index, [tmp_path / "one", tmp_path / "two"])) == (0, 0, 1, 0, 1)
    (tmp_path / "one").rename(tmp_path / "moved")
    assert numbers(refresh(index, [tmp_path / "moved"])) == (0, 0, 1, 0, 0)


def test_an_index_among_the_documents_is_passed_over(folder: Path, bi_encoder: BiEncoder) -> None:
    with LocalIndex.create(folder / "index", bi_encoder) as index:
        assert numbers(refresh(index, [folder])) == (3, 0, 0, 0, 0)
        assert numbers(refresh(index, [folder], prune=True)) == (0, 0, 3, 0, 0)


def test_an_index_without_its_catalogue_is_refused(index: LocalIndex) -> None:
    index.close()
    (index.path / "catalogue.db").write_bytes(b"garbage" * 1000)
    with pytest.raises(CorpusError, match=r"damaged .* index the documents again into another folder"):
        bicross.open(index.path)
    (index.path / "catalogue.db").unlink()
    with pytest.raises(CorpusError, match=r"'catalogue\.db' is missing; index the documents again"):
        bicross.open(index.path)


def test_stop_finishes_the_batch(index: LocalIndex, folder: Path) -> None:
    asked = iter([False, False, True])
    report = refresh(index, [folder], prune=True, stop=lambda: next(asked))
    assert report.stopped
    assert report.added.new == index.count().documents == 2
    assert numbers(refresh(index, [folder])) == (1, 0, 2, 0, 0)


def test_strange_ids_come_back_as_they_went_in(index: LocalIndex) -> None:
    ids = [
        "a/b/../c",
        "line\nbreak",
        "🙂",
        "x" * 10_000,
        " ",
        "a#1",
        "a",
        "'; DROP TABLE documents; --",
        "\x00",
        "中文",
    ]
    assert index.add(Document(i, f"Text number {n}.") for n, i in enumerate(ids)).new == len(ids)
    for n, i in enumerate(ids):
        assert [hit.chunk.text for hit in index.get(i)] == [f"Text number {n}."]
    assert {hit.chunk.document_id for hit in index.search("text", top_k=50)} == set(ids)
    assert index.delete(ids[:5]) == []
    assert index.count().documents == len(ids) - 5
    assert check(index).whole


def test_delete_says_what_was_not_there(index: LocalIndex) -> None:
    index.upsert([Document("a", "A text."), Document("b", "B text.")])
    assert index.delete(["a", "nothing", "a"]) == ["nothing"]
    assert index.delete("b") == []
    assert (index.count().documents, index.count().chunks) == (0, 0)
    assert index.search("text") == []


def test_asking_for_more_than_there_is(index: LocalIndex) -> None:
    index.add([Document("a", "A text."), Document("b", "B text.")])
    for mode in ("dense", "lexical", "hybrid"):
        assert len(index.search("text", top_k=1000, mode=mode)) == 2
        for wrong in (0, -1, 10**9):
            with pytest.raises(UsageError, match=f"top_k is {wrong}; it must be between 1"):
                index.search("text", top_k=wrong, mode=mode)
    with pytest.raises(UsageError, match="384 finite numbers"):
        index.nearest([float("nan")] * 384, 1)
    with pytest.raises(UsageError, match="384 finite numbers"):
        index.nearest([1.0], 1)


def test_searches_never_see_half_a_change(tmp_path: Path, bi_encoder: BiEncoder) -> None:
    """Four threads search while one replaces a document of many chunks again and again."""
    with LocalIndex.create(tmp_path / "index", bi_encoder, chunk_tokens=16) as index:

        def version(number: int) -> Document:
            return Document("d", " ".join(f"Version {number} says sentence {i} about zebras." for i in range(8)))

        index.add([version(0)])
        chunks, done, wrong = index.count().chunks, threading.Event(), []

        def look(mode: str) -> None:
            while not done.is_set():
                for found in (index.search("zebras", top_k=100, mode=mode), index.get("d")):
                    versions = {hit.chunk.text.split()[1] for hit in found}
                    if len(versions) != 1 or len(found) != chunks:
                        wrong.append((mode, versions, len(found)))

        threads = [threading.Thread(target=look, args=(mode,)) for mode in ("dense", "lexical", "hybrid", "hybrid")]
        for thread in threads:
            thread.start()
        for number in range(1, 30):
            index.upsert([version(number)])
        done.set()
        for thread in threads:
            thread.join()
    assert not wrong, wrong[:3]


# -- export and import -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["parquet", "jsonl"])
def test_out_and_in_again_without_embedding(
    index: LocalIndex, folder: Path, tmp_path: Path, kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    refresh(index, [folder])
    index.add([Document("meta", "Some text. " * 200, "Title", {"year": 2020, "tags": ["a"], "deep": {"ok": True}})])
    before = [index.search("animals that sing", mode=mode) for mode in ("dense", "lexical", "hybrid")]
    stored = {hit.chunk.id: hit for e in index.catalogue.entries() for hit in index.get(e.id)}
    file = tmp_path / f"all.{kind}"
    assert bicross.export(index, file) == index.count().chunks
    index.close()

    def no_encoding(*_: Any, **__: Any) -> None:
        raise AssertionError("nothing may be embedded")

    with monkeypatch.context() as patched:
        patched.setattr(BiEncoder, "encode", no_encoding)
        assert bicross.import_export(file, tmp_path / "copy") == 4
        assert bicross.import_export(file, tmp_path / "copy") == 0
    with bicross.open(tmp_path / "copy") as copy:
        assert [copy.search("animals that sing", mode=mode) for mode in ("dense", "lexical", "hybrid")] == before
        assert {hit.chunk.id: hit for e in copy.catalogue.entries() for hit in copy.get(e.id)} == stored
        assert check(copy).whole
        assert copy.search("text", filter="deep.ok == true")[0].chunk.document_id == "meta"
        assert numbers(refresh(copy, [folder], prune=True)) == (0, 0, 3, 0, 0)
        again = tmp_path / f"again.{kind}"
        bicross.export(copy, again)
        assert again.read_bytes() == file.read_bytes()


def test_files_that_are_no_export(index: LocalIndex, tmp_path: Path, bi_encoder: BiEncoder) -> None:
    index.add([Document("a", "A text.")])
    good = tmp_path / "good.jsonl"
    bicross.export(index, good)
    with pytest.raises(UsageError, match=r"must end in \.parquet or \.jsonl"):
        bicross.export(index, tmp_path / "x.csv")
    with pytest.raises(UsageError, match="no such file"):
        bicross.import_export(tmp_path / "missing.jsonl", tmp_path / "new")
    plain = tmp_path / "plain.jsonl"
    plain.write_text('{"_id": "a", "text": "x"}\n')
    with pytest.raises(CorpusError, match=r"not an export of bicross, or damaged .* type: bicross index"):
        bicross.import_export(plain, tmp_path / "new")
    header, row = good.read_text().splitlines()
    for line, says in ((row[:-40], "damaged"), (row.replace('"vector": [', '"vector": [0.5, '), "vectors of shape")):
        (tmp_path / "bad.jsonl").write_text(f"{header}\n{line}\n")
        with pytest.raises((CorpusError, DocumentError), match=says):
            bicross.import_export(tmp_path / "bad.jsonl", tmp_path / "new")
    (tmp_path / "short.jsonl").write_text(header + "\n")
    with pytest.raises(CorpusError, match="it has 0 of its 1 chunks"):
        bicross.import_export(tmp_path / "short.jsonl", tmp_path / "new")
    (tmp_path / "other.jsonl").write_text(header.replace('weights_sha256\\": \\"', 'weights_sha256\\": \\"0') + "\n")
    with pytest.raises(FingerprintError, match="weights_sha256"):
        bicross.import_export(tmp_path / "other.jsonl", tmp_path / "new")
    nan = EncodedDocument("a", "h", [index.get("a")[0].chunk], np.full((1, 384), np.nan, np.float32), [False], {})
    with pytest.raises(DocumentError, match="holds NaN or infinity"):
        index.add_encoded([nan])
    assert json.loads(row)["document_id"] == "a"


# -- check and repair --------------------------------------------------------------------------------------------------


def damage(index: LocalIndex, document_id: str, **payload: Any) -> None:
    content_hash = index.catalogue.find(document_id).content_hash
    index.engine.engine.update(qdrant.UpdateOperation.set_payload([point_id(document_id, content_hash, 0)], payload))


def test_check_finds_damage_and_repairs_it(index: LocalIndex, folder: Path) -> None:
    refresh(index, [folder])
    index.add([Document("meta", "More text.", "", {"year": 2020})])
    assert check(index).whole
    damage(index, "cats.txt", text="Something else.")
    damage(index, "meta", metadata={"year": 1})
    birds = point_id("sub/birds.txt", index.catalogue.find("sub/birds.txt").content_hash, 0)
    zeros = qdrant.PointVectors(birds, {"dense": [0.0] * 384})
    index.engine.engine.update(qdrant.UpdateOperation.update_vectors([zeros]))
    stray = {"document_id": "stray", "hash": "00", "number": 0}
    index.engine.engine.update(
        qdrant.UpdateOperation.upsert_points([qdrant.Point(point_id("stray", "00", 0), {"dense": [0.0] * 384}, stray)])
    )
    dogs = index.catalogue.find("dogs.md")
    index.engine.engine.update(qdrant.UpdateOperation.delete_points([point_id("dogs.md", dogs.content_hash, 0)]))
    report = check(index)
    assert (report.found, report.repaired, report.whole) == (5, 0, False)
    text = "\n".join(report.problems)
    assert "'cats.txt': chunk 0: its words do not belong to its text" in text
    assert "'meta': its text or metadata is not what was stored" in text
    assert "'sub/birds.txt': its vectors are not what was stored" in text
    assert "'dogs.md': 1 of 1 chunks are missing" in text
    assert "chunk 0 of 'stray': belongs to no stored document" in text
    repaired = check(index, repair=True)
    assert repaired.whole
    assert set(repaired.lost) == {"cats.txt", "dogs.md", "meta"}
    assert check(index).found == 0
    assert index.search("birds sing", mode="dense", top_k=1)[0].score > 0.5
    assert numbers(refresh(index, [folder])) == (2, 0, 1, 0, 0)

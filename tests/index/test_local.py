"""A real index on disk: what goes in comes out, across reopening, changes, other models and other processes."""

from __future__ import annotations

import json
import multiprocessing
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

import bicross
from bicross import BiEncoder, Document, LocalIndex
from bicross.errors import CorpusError, DocumentError, FingerprintError, IndexLockedError, StorageError, UsageError
from bicross.index import adding, check, disk, local, shard


@pytest.fixture
def index(tmp_path: Path, bi_encoder: BiEncoder, cities: Path) -> LocalIndex:
    with LocalIndex.create(tmp_path / "index", bi_encoder) as opened:
        opened.add(bicross.read_documents([cities]))
        yield opened


def test_search_gives_document_ids_and_survives_reopening(index: LocalIndex, bi_encoder: BiEncoder) -> None:
    before = [(c.chunk.document_id, c.score) for c in index.search("wall that divided the city", top_k=3, mode="dense")]
    assert before[0][0] == "berlin-history"
    index.close()
    with LocalIndex.open(index.path, bi_encoder) as again:
        assert [
            (c.chunk.document_id, c.score) for c in again.search("wall that divided the city", top_k=3, mode="dense")
        ] == before
        assert again.count().documents == 18


def test_exact_search_equals_numpy(index: LocalIndex, bi_encoder: BiEncoder) -> None:
    query = "a port on a river"
    found = index.search(query, top_k=100, mode="dense")
    vectors = bi_encoder.encode_document([c.chunk.embedded_text for c in found])
    expected = bi_encoder.similarity(bi_encoder.encode_query(query), vectors)[0]
    np.testing.assert_allclose([c.score for c in found], expected, atol=0.01)
    assert len(found) == index.count().chunks
    assert [c.score for c in found] == sorted((c.score for c in found), reverse=True)


def test_hnsw_takes_over_above_a_size(tmp_path: Path, bi_encoder: BiEncoder, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shard, "EXACT_UP_TO", 400)
    texts = [f"note {i} about topic {i % 37} and place {i % 11}" for i in range(900)]
    with LocalIndex.create(tmp_path / "index", bi_encoder) as index:
        index.add(Document(f"{i}", text) for i, text in enumerate(texts))
        assert index.stats().graph_vectors > 0
        queries = bi_encoder.encode_query([f"topic {i} place {i % 11}" for i in range(20)])
        approximate = [{c.chunk.document_id for c in index.nearest(q.tolist(), 10)} for q in queries]
        monkeypatch.setattr(shard, "EXACT_UP_TO", 10**6)
        exact = [{c.chunk.document_id for c in index.nearest(q.tolist(), 10)} for q in queries]
    recall = np.mean([len(a & e) / 10 for a, e in zip(approximate, exact, strict=True)])
    assert recall > 0.85


def test_what_gathers_is_packed_and_the_graph_comes_when_there_is_enough(
    tmp_path: Path, bi_encoder: BiEncoder, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(shard, "EXACT_UP_TO", 400)
    documents = [Document(f"{i}", f"note {i} about topic {i % 37} and place {i % 11}") for i in range(500)]
    question = "note about topic 7"

    def answers(index: LocalIndex) -> tuple[list[tuple[str, float]], list[float]]:
        dense = index.search(question, mode="dense", top_k=20)
        lexical = index.search(question, mode="lexical", top_k=20)  # many are equal, and only some come
        return [(c.chunk.document_id, round(c.score, 3)) for c in dense], [round(c.score, 3) for c in lexical]

    with LocalIndex.create(tmp_path / "whole", bi_encoder) as index:
        index.add(documents[:300])
        expected = answers(index)
    monkeypatch.setattr(local, "GATHERED", 100)
    monkeypatch.setattr(adding, "BATCH_CHUNKS", 50)
    with LocalIndex.create(tmp_path / "packed", bi_encoder) as index:
        index.add(documents[:300])
        assert index.engine.engine.info().segments_count > 3
        assert answers(index) == expected
        assert index.stats().graph_vectors == 0
        index.delete("7")
        assert "7" not in {c.chunk.document_id for c in index.search("note 7", top_k=50)}
        built: list[int] = []
        index.add(documents, optimise=False)
        index.optimise(building=built.append)
        index.optimise(building=built.append)
        assert built == [500], "the second time there was nothing to build"
        assert index.engine.engine.info().segments_count <= 2
        assert index.stats().graph_vectors == index.count().chunks == index.engine.count() == 500
        assert check(index).whole


def test_equal_scores_come_in_order_of_id(tmp_path: Path, bi_encoder: BiEncoder) -> None:
    with LocalIndex.create(tmp_path / "index", bi_encoder) as index:
        index.add(Document(name, "the same text") for name in "cab")
        assert [c.chunk.document_id for c in index.search("text")] == ["a", "b", "c"]


def test_adding_again_embeds_only_what_changed(index: LocalIndex, cities: Path) -> None:
    documents = list(bicross.read_documents([cities]))
    report = index.add(documents)
    assert (report.new, report.changed, report.unchanged, report.tokens) == (0, 0, 18, 0)
    documents[0] = Document(documents[0].id, "A text about bananas, yellow and sweet.")
    report = index.add([*documents, Document("new", "Something new.")])
    assert (report.new, report.changed, report.unchanged) == (1, 1, 17)
    assert index.search("yellow fruit", top_k=1)[0].chunk.document_id == documents[0].id
    assert index.count().documents == 19


def test_a_shorter_version_leaves_no_old_chunks(tmp_path: Path, bi_encoder: BiEncoder) -> None:
    with LocalIndex.create(tmp_path / "index", bi_encoder, chunk_tokens=16) as index:
        long = " ".join(f"Sentence number {i} talks about zebras." for i in range(20))
        index.add([Document("d", long)])
        assert len(index.get("d")) > 5
        assert " ".join(long[c.chunk.start : c.chunk.end] for c in index.get("d")) == long
        index.add([Document("d", "Only this.")])
        assert [c.chunk.text for c in index.get("d")] == ["Only this."]
        assert index.count().chunks == 1


def test_the_same_id_twice_in_one_call_keeps_the_later(tmp_path: Path, bi_encoder: BiEncoder) -> None:
    with LocalIndex.create(tmp_path / "index", bi_encoder) as index:
        index.add([Document("d", "first"), Document("d", "second")])
        assert [c.chunk.text for c in index.get("d")] == ["second"]
        index.add([Document("d", "third"), Document("d", "second")])
        assert [c.chunk.text for c in index.get("d")] == ["second"]
        assert index.add([Document("d", "")]).empty == ("d",)
        assert index.get("d") == []


def test_another_thread_may_close_and_opening_twice_is_said(index: LocalIndex, bi_encoder: BiEncoder) -> None:
    with pytest.raises(IndexLockedError, match="already open in this process"):
        LocalIndex.open(index.path, bi_encoder)
    closer = threading.Thread(target=index.close)
    closer.start()
    closer.join()
    with pytest.raises(UsageError, match="there is an index already"):
        LocalIndex.create(index.path, bi_encoder)
    with LocalIndex.open(index.path, bi_encoder) as again:
        assert again.count().documents == 18


def test_metadata_and_offsets_come_back(tmp_path: Path, bi_encoder: BiEncoder) -> None:
    metadata = {"year": 2020, "tags": ["a", "b"], "nested": {"k": None}}
    with LocalIndex.create(tmp_path / "index", bi_encoder) as index:
        index.add([Document("d", "  Some text.  ", "Title", metadata)])
        (hit,) = index.search("text")
    assert hit.metadata == metadata
    assert (hit.chunk.start, hit.chunk.end, hit.chunk.title) == (2, 12, "Title")


def test_another_model_is_refused_with_both_names(index: LocalIndex, make_bert: Callable[..., Path]) -> None:
    index.close()
    other = make_bert("other-model", hidden_size=384, num_attention_heads=12)
    with pytest.raises(FingerprintError, match=r"made with all-MiniLM-L6-v2, not with .*other-model") as caught:
        bicross.open(index.path, other)
    assert "weights_sha256" in str(caught.value)
    with pytest.raises(FingerprintError, match="chunk_tokens 254 against 64"):
        bicross.open(index.path, chunk_tokens=64)
    with pytest.raises(FingerprintError, match="max_tokens 256 against 128"):
        LocalIndex.open(index.path, BiEncoder(max_tokens=128))


def test_folders_that_are_no_index(tmp_path: Path, bi_encoder: BiEncoder) -> None:
    with pytest.raises(UsageError, match="no such folder"):
        bicross.open(tmp_path / "nothing")
    with pytest.raises(CorpusError, match="not an index"):
        bicross.open(tmp_path)
    (tmp_path / "letter.doc").touch()
    with pytest.raises(UsageError, match=r"not empty \(letter\.doc\)"):
        LocalIndex.create(tmp_path, bi_encoder)
    assert list(tmp_path.iterdir()) == [tmp_path / "letter.doc"]
    with pytest.raises(UsageError, match="cannot be made a folder"):
        LocalIndex.create(tmp_path / "letter.doc", bi_encoder)


def test_a_newer_format_and_a_damaged_manifest(index: LocalIndex) -> None:
    index.close()
    file = index.path / "manifest.json"
    stored = json.loads(file.read_text())
    file.write_text(json.dumps(stored | {"format": 99}))
    with pytest.raises(CorpusError, match="format 99, this bicross reads up to 2; upgrade"):
        bicross.open(index.path)
    file.write_text("{")
    with pytest.raises(CorpusError, match="the manifest is damaged"):
        bicross.open(index.path)
    file.write_text(json.dumps(stored))
    (index.path / "shard").rename(index.path / "gone")
    with pytest.raises(CorpusError, match="'shard' is missing"):
        bicross.open(index.path)


def test_an_interrupted_creation_can_be_done_again(tmp_path: Path, bi_encoder: BiEncoder) -> None:
    with LocalIndex.create(tmp_path / "index", bi_encoder) as index:
        path = index.path
    (path / "manifest.json").unlink()
    with LocalIndex.create(path, bi_encoder) as index:
        assert index.count().chunks == 0


def _hold(path: str, opened: multiprocessing.synchronize.Event) -> None:
    with bicross.open(path):
        opened.set()
        time.sleep(60)


def test_a_second_process_is_told_the_pid(index: LocalIndex) -> None:
    index.close()
    context = multiprocessing.get_context("spawn")
    opened = context.Event()
    holder = context.Process(target=_hold, args=(str(index.path), opened))
    holder.start()
    try:
        assert opened.wait(60)
        with pytest.raises(IndexLockedError, match=rf"open in another process \(pid {holder.pid}\)"):
            bicross.open(index.path)
    finally:
        os.kill(holder.pid, signal.SIGKILL)
        holder.join()
    with bicross.open(index.path) as again:  # the system let go of the lock
        assert again.count().documents == 18


def test_an_error_in_the_middle_keeps_what_came_before(tmp_path: Path, bi_encoder: BiEncoder) -> None:
    def documents():
        yield Document("good", "A good document.")
        raise DocumentError("file:2: broken")

    with LocalIndex.create(tmp_path / "index", bi_encoder) as index:
        with pytest.raises(DocumentError, match="file:2"):
            index.add(documents())
        assert index.count().documents == 1


def test_documents_without_text_are_left_out_and_named(tmp_path: Path, bi_encoder: BiEncoder) -> None:
    with LocalIndex.create(tmp_path / "index", bi_encoder) as index:
        report = index.add([Document("empty", " "), Document("title only", "", "A title"), Document("x", "text")])
        assert report.empty == ("empty",)
        assert index.count().documents == report.new == 2


KILLED = """
import os, signal, sys
import bicross
from bicross import Document
index = bicross.create(sys.argv[1])
def kill(documents):
    print(documents, flush=True)
    os.kill(os.getpid(), signal.SIGKILL)
index.add((Document(str(i), f"text {i}") for i in range(3000)), committed=kill)
"""


def test_kill_after_a_batch_keeps_the_batch(tmp_path: Path) -> None:
    process = subprocess.run(
        [sys.executable, "-c", KILLED, str(tmp_path / "index")], capture_output=True, text=True, check=False
    )
    assert process.returncode == -signal.SIGKILL, process.stderr
    acknowledged = int(process.stdout)
    with bicross.open(tmp_path / "index") as index:
        assert index.count().documents == acknowledged
        report = index.add(Document(str(i), f"text {i}") for i in range(acknowledged + 10))
        assert (report.unchanged, report.new) == (acknowledged, 10)


def test_a_full_disk_is_said_and_loses_nothing(
    index: LocalIndex, monkeypatch: pytest.MonkeyPatch, bi_encoder: BiEncoder
) -> None:
    usage = disk.shutil.disk_usage(index.path)
    monkeypatch.setattr(disk.shutil, "disk_usage", lambda path: usage._replace(free=50 * 2**20))
    with pytest.raises(StorageError, match=r"nearly full \(50 MiB free"):
        index.add([Document("more", "More text.")])
    with pytest.raises(StorageError, match="nearly full"):
        LocalIndex.create(index.path.parent / "second", bi_encoder)
    monkeypatch.undo()
    assert index.count().documents == 18
    assert index.add([Document("more", "More text.")]).new == 1

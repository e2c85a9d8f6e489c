"""An index goes from a folder to a cluster and back, bit by bit, and an interrupted copy goes on."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

import bicross
from bicross import Document
from bicross.errors import CorpusError, FingerprintError, UsageError
from bicross.index.fitted import read_parts, write_parts


@pytest.fixture
def folder(tmp_path: Path, functions: list[Document]) -> Path:
    with bicross.create(tmp_path / "folder", chunk_tokens=64) as index:
        index.add(Document(d.id, d.text, title=d.id, metadata={"n": n}) for n, d in enumerate(functions[:60]))
    write_parts(tmp_path / "folder" / "fitted.json", {"of": {"a": 1.5}})
    return tmp_path / "folder"


def bicross_command(*words: object) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "bicross", *map(str, words)]
    return subprocess.run(command, capture_output=True, text=True, timeout=120)


def test_there_and_back(folder: Path, address: str, tmp_path: Path) -> None:
    done = bicross_command("copy", folder, address)
    assert done.returncode == 0, done.stderr
    assert "60 documents" in done.stdout and "60 copied, 0 there already, none embedded again" in done.stdout
    done = bicross_command("copy", folder, address)
    assert "0 copied, 60 there already" in done.stdout
    done = bicross_command("copy", address, tmp_path / "back")
    assert done.returncode == 0 and "60 copied" in done.stdout, done.stderr
    with bicross.open(folder) as one, bicross.open(tmp_path / "back") as other, bicross.open(address) as cluster:
        assert list(one.catalogue.entries()) == list(other.catalogue.entries()) == list(cluster.catalogue.entries())
        assert read_parts(cluster.path / "fitted.json") == {"of": {"a": 1.5}}
        found = [{c.chunk.id: c.chunk for c in i.search("absolute path", top_k=60)} for i in (one, other, cluster)]
        assert found[0] == found[1] == found[2]
    assert read_parts(tmp_path / "back" / "fitted.json") == {"of": {"a": 1.5}}


def test_a_copy_that_was_cut_short_goes_on(folder: Path, address: str) -> None:
    with bicross.open(folder) as source, bicross.create(address, chunk_tokens=64) as target:
        entries = list(source.catalogue.entries())

        class CutError(Exception):
            pass

        def cut(documents: int) -> None:
            raise CutError

        with pytest.MonkeyPatch.context() as patch:
            patch.setattr("bicross.index.copying.BATCH", 20)
            with pytest.raises(CutError):
                bicross.copy(source, target, copied=cut)
        there = target.count().documents
        assert 0 < there < len(entries)
        done = bicross.copy(source, target)
        assert (done.documents, done.copied, done.others) == (len(entries), len(entries) - there, 0)


def test_a_copy_is_compared(folder: Path, address: str, tmp_path: Path) -> None:
    with bicross.open(folder) as source, bicross.create(address, chunk_tokens=64) as target:
        bicross.copy(source, target)
        target.add([Document("mine", "of the copy alone")])
        assert bicross.copy(source, target).others == 1
        entry = next(source.catalogue.entries())
        target.engine.remove([entry.version])
        with pytest.raises(CorpusError, match="not as in"):
            bicross.copy(source, target)
        assert not bicross.check(target).whole
        assert bicross.check(target, repair=True).lost == (entry.id,)
        assert bicross.copy(source, target).copied == 1
    with (
        bicross.open(folder) as source,
        bicross.create(tmp_path / "other", chunk_tokens=32) as target,
        pytest.raises(FingerprintError, match="chunk_tokens"),
    ):
        bicross.copy(source, target)


def test_onto_itself(folder: Path) -> None:
    done = bicross_command("copy", folder, folder)
    assert done.returncode == 2 and "the index itself" in done.stderr
    with pytest.raises(UsageError, match="on a cluster"):
        bicross.create(folder.parent / "x", layout=bicross.index.cluster.address.Layout())

"""Files made to fill the memory are refused, or read in little of it."""

from __future__ import annotations

import gzip
import json
import subprocess
import sys
from pathlib import Path

import pyarrow as pa
from pyarrow import parquet

MIB = 2**20

SCRIPT = """
import json, resource, sys
import pyarrow.parquet
from bicross.documents import read_documents
def peak():
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss >> 10
before, failures, characters = peak(), [], 0
for document in read_documents(sys.argv[1:], failed=lambda failure: failures.append([failure.where, failure.reason])):
    characters += len(document.text)
print(json.dumps([characters, failures, peak() - before]))
"""


def read_apart(*paths: Path) -> tuple[int, list[tuple[str, str]], int]:
    """Read in a process of its own: characters, failures, and the MiB of memory that reading took."""
    done = subprocess.run([sys.executable, "-c", SCRIPT, *map(str, paths)], capture_output=True, text=True, check=True)
    characters, failures, memory = json.loads(done.stdout)
    return characters, failures, memory


def write_packed(path: Path, start: bytes, middle: bytes, times: int, end: bytes) -> None:
    with gzip.open(path, "wb", compresslevel=1) as stream:
        stream.write(start)
        for _ in range(times):
            stream.write(middle)
        stream.write(end)


def test_a_line_of_300_mib(tmp_path: Path) -> None:
    lines = b'{"id": 1, "text": "a"}\n{"id": 2, "text": "'
    write_packed(tmp_path / "a.jsonl.gz", lines, b"x" * MIB, 300, b'"}\n{"id": 3, "text": "b"}\n')
    characters, failures, memory = read_apart(tmp_path / "a.jsonl.gz")
    assert characters == 2
    assert [where for where, _ in failures] == [f"{tmp_path}/a.jsonl.gz:2"]
    assert "a line of more than 64 MiB" in failures[0][1]
    assert memory < 300


def test_a_text_of_300_mib(tmp_path: Path) -> None:
    write_packed(tmp_path / "a.txt.gz", b"", b"x" * MIB, 300, b"")
    with (tmp_path / "b.txt").open("wb") as stream:
        stream.truncate(2**31)  # takes no room on the disk
    with (tmp_path / "c.jsonl").open("wb") as stream:
        stream.truncate(300 * MIB)
    with (tmp_path / "d.json").open("wb") as stream:
        stream.write(b'[{"id": 1, "text": "')
        stream.truncate(300 * MIB)
    _, failures, memory = read_apart(tmp_path)
    assert [Path(where).name for where, _ in failures] == ["a.txt.gz", "b.txt", "c.jsonl:1", "d.json"]
    assert all("more than 64 mi" in reason.lower() for _, reason in failures)
    assert memory < 500


def test_a_dictionary_bomb(tmp_path: Path) -> None:
    """Two gigabytes of text in a few kilobytes, at the top and in a nested column."""
    once = pa.array(["x" * MIB])
    rows = pa.array([0] * 1000, pa.int32())
    text = pa.DictionaryArray.from_arrays(rows, once)
    nested = pa.StructArray.from_arrays([text], ["body"])
    table = pa.table({"id": list(range(1000)), "text": text, "doc": nested})
    parquet.write_table(table, tmp_path / "a.parquet", store_schema=False, compression="zstd")
    assert (tmp_path / "a.parquet").stat().st_size < 100_000
    characters, failures, memory = read_apart(tmp_path / "a.parquet")
    assert characters == 1000 * MIB
    assert not failures
    assert memory < 200


def test_a_cell_of_65_mib(tmp_path: Path, read) -> None:
    (tmp_path / "a.csv").write_text(f"id,text\n1,a\n2,{'x' * 65 * MIB}\n3,b\n4,{'y' * 200_000}\n")
    documents, (failure,) = read(tmp_path)
    assert [d.id for d in documents] == ["1", "3", "4"]
    assert failure.where == f"{tmp_path}/a.csv:3"

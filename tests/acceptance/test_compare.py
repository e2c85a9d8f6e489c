"""``bicross compare`` as a user runs it, piped and on a terminal."""

from __future__ import annotations

import json
import os
import pty
import re
import subprocess
import sys
from pathlib import Path

import pytest

BICROSS = [str(Path(sys.executable).with_name("bicross"))]
QUERY = "How many people live in Berlin?"
COLUMNS = ["words (BM25)", "bi-encoder", "both fused", "two stages", "cross-encoder alone"]


def run(*arguments: str | Path, code: int = 0) -> subprocess.CompletedProcess[str]:
    process = subprocess.run([*BICROSS, *map(str, arguments)], capture_output=True, text=True, check=False)
    assert process.returncode == code, process.stderr + process.stdout
    return process


def on_terminal(columns: int, *arguments: str | Path) -> list[str]:
    """Lines, without colours, of a terminal that is so wide."""
    ours, theirs = pty.openpty()
    environment = {**os.environ, "COLUMNS": str(columns), "TERM": "xterm"}
    with subprocess.Popen([*BICROSS, *map(str, arguments)], stdout=theirs, stderr=theirs, env=environment) as process:
        os.close(theirs)
        shown = b""
        try:
            while read := os.read(ours, 65536):
                shown += read
        except OSError:  # the other side has closed
            pass
        finally:
            os.close(ours)
    assert process.returncode == 0
    return re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", shown.decode()).replace("\r", "").splitlines()


@pytest.fixture(scope="module")
def index(tmp_path_factory: pytest.TempPathFactory, cities: Path) -> Path:
    path = tmp_path_factory.mktemp("compare") / "index"
    run("index", cities, "--into", path)
    return path


def test_piped_output_has_both_tables(index: Path) -> None:
    process = run("compare", QUERY, "--index", index, "-k", "3")
    assert process.stderr == ""
    assert "\x1b" not in process.stdout
    heads = [line for line in process.stdout.splitlines() if all(name in line for name in COLUMNS)]
    assert len(heads) == 1
    for name in ("berlin-culture", "encodings", "pairs", "ahead"):
        assert name in process.stdout
    (alone,) = (line for line in process.stdout.splitlines() if line.startswith("│ cross-encoder alone"))
    assert [cell.strip() for cell in alone.split("│")][4:7] == ["0", "18", "0"]


def test_json(index: Path) -> None:
    process = run("compare", QUERY, "--index", index, "-k", "3", "--candidates", "5", "--no-every-document", "--json")
    plain = json.loads(process.stdout)
    assert [way["way"] for way in plain["ways"]] == ["lexical", "dense", "hybrid", "two_stages", "cross_encoder"]
    assert [len(way["hits"]) for way in plain["ways"]] == [3, 3, 3, 3, 0]
    assert plain["ways"][3]["pairs"] == 5
    assert plain["ways"][4]["measured"] is False
    assert plain["ways"][3]["hits"][0]["document_id"] == "berlin"


def test_a_narrow_terminal_gets_lists(index: Path) -> None:
    lines = on_terminal(80, "compare", QUERY, "--index", index, "-k", "3")
    assert max(map(len, lines)) <= 80
    assert [line for line in lines if line in COLUMNS] == COLUMNS
    assert any(re.match(r"  1\. (▲\d+ )?berlin  Berlin", line) for line in lines)
    wide = on_terminal(110, "compare", QUERY, "--index", index, "-k", "3", "--no-every-document")
    assert max(map(len, wide)) <= 110
    assert any(all(name in line for name in COLUMNS[:4]) for line in wide)
    assert any("a forecast: 18 pairs" in line for line in wide)


def test_mistakes_are_one_line(index: Path, tmp_path: Path) -> None:
    for arguments, says in [
        ((" ", "--index", index), "the query is empty"),
        (("x", "--index", tmp_path / "missing"), "no such folder"),
        (("x", "--index", index, "-k", "0"), "top_k is 0"),
        (("x", "--index", index, "--filter", "year >="), "cannot be read"),
    ]:
        process = run("compare", *arguments, code=2)
        assert says in process.stderr
        assert len(process.stderr.strip().splitlines()) == 1

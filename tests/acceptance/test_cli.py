"""The command as a user runs it: a process, its output, its exit code."""

from __future__ import annotations

import contextlib
import json
import os
import resource
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

BICROSS = [str(Path(sys.executable).with_name("bicross"))]
QUERY = "How many people live in Berlin?"


def run(*arguments: str | Path, code: int = 0) -> subprocess.CompletedProcess[str]:
    process = subprocess.run([*BICROSS, *map(str, arguments)], capture_output=True, text=True, check=False)
    assert process.returncode == code, process.stderr + process.stdout
    return process


def fails(*arguments: str | Path, code: int, says: str) -> None:
    """One clear line on standard error, nothing on standard output, and no traceback."""
    process = run(*arguments, code=code)
    assert says in process.stderr
    assert "Traceback" not in process.stderr
    assert len(process.stderr.strip().splitlines()) == 1, process.stderr


@pytest.fixture(scope="module")
def index(tmp_path_factory: pytest.TempPathFactory, cities: Path) -> Path:
    path = tmp_path_factory.mktemp("cli") / "index"
    process = run("index", cities, "--into", path)
    assert "18 new, 0 changed, 0 unchanged" in process.stdout
    assert process.stderr == ""
    return path


def test_search_json_has_the_promised_fields(index: Path) -> None:
    lines = run("search", index, QUERY, "--json", "--top-k", "3").stdout.splitlines()
    hits = [json.loads(line) for line in lines]
    assert len(hits) == 3
    promised = {"document_id", "chunk_id", "text", "score", "relevance", "scores", "truncated"}
    assert promised <= hits[0].keys()
    assert hits[0]["document_id"] == "berlin"
    assert hits[0]["scores"]["final"]["rank"] == 1


def test_piped_output_is_plain(index: Path) -> None:
    process = run("search", index, QUERY, "--explain")
    assert "\x1b" not in process.stdout + process.stderr
    assert "berlin" in process.stdout
    assert "cross_encoder" in process.stdout
    assert "rerank" in process.stdout


def test_no_rerank_and_query_files(index: Path, tmp_path: Path) -> None:
    queries = tmp_path / "queries.jsonl"
    queries.write_text('{"_id": "q1", "text": "museums together on an island"}\n{"_id": "q2", "text": "harbour"}\n')
    lines = run("search", index, "--queries", queries, "--no-rerank", "--json", "-k", "1").stdout.splitlines()
    found = {hit["query_id"]: hit["document_id"] for hit in map(json.loads, lines)}
    assert found == {"q1": "berlin-culture", "q2": "hamburg"}


def test_indexing_again_goes_on(index: Path, cities: Path) -> None:
    assert "0 new, 0 changed, 18 unchanged" in run("index", cities, "--into", index).stdout


def test_info_models_score_version(index: Path) -> None:
    facts = json.loads(run("info", index, "--json").stdout)
    assert (facts["documents"], facts["fingerprint"]["encoder"]["pooling"]) == (18, "mean")
    assert "all-MiniLM-L6-v2" in run("info", index).stdout
    assert "default cross-encoder" in run("models").stdout
    answer = "Berlin had a population of 3,520,031 registered inhabitants in an area of 891.82 square kilometers."
    museums = "Berlin is well known for its museums."
    scored = [json.loads(line) for line in run("score", QUERY, museums, answer, "--json").stdout.splitlines()]
    assert [s["text"] for s in scored] == [answer, museums]
    assert scored[0]["score"] > scored[1]["score"] + 2
    assert run("--version").stdout.startswith("bicross ")


def test_wrong_usage_is_2_and_failure_is_1(index: Path, tmp_path: Path, cities: Path) -> None:
    fails("search", index, "", code=2, says="the query is empty")
    fails("search", index, "   ", code=2, says="the query is empty")
    fails("search", index, code=2, says="QUERY or --queries")
    fails("search", index, "x", "--top-k", "0", code=2, says="top_k is 0")
    fails("search", tmp_path / "missing", "x", code=2, says="no such folder")
    fails("search", tmp_path, "x", code=1, says="not an index")
    fails("search", index, "x", "--cross-encoder", "no/where", code=1, says="looked in")
    fails("score", "", "text", code=2, says="the query is empty")
    fails("index", tmp_path / "missing", "--into", tmp_path / "i", code=2, says="no such file or folder")
    fails("index", cities, "--into", cities.parent, code=2, says="not an index")
    fails("index", cities, "--into", tmp_path / "i", "--chunk-tokens", "9999", code=2, says="between 8 and 254")
    assert not (tmp_path / "i" / "manifest.json").exists()
    assert "No such option" in run("search", "--no-such-option", code=2).stderr
    fails("search", "a very long query " * 40, index, code=2, says="no such folder")
    fails("search", index, "x", "--no-rerank", "-k", "99999999999999999999", code=2, says="between 1 and 1000000")
    process = subprocess.run([*BICROSS, "--debug", "info", tmp_path], capture_output=True, text=True, check=False)
    assert "Traceback" in process.stderr


def test_a_bad_line_keeps_what_came_before(tmp_path: Path) -> None:
    file = tmp_path / "documents.jsonl"
    file.write_text('{"_id": "a", "text": "Bananas are yellow."}\n{"_id": "b", "te')
    fails("index", file, "--into", tmp_path / "index", code=1, says=f"{file}:2: broken JSON")
    assert "a  (" in run("search", tmp_path / "index", "fruit", "--no-rerank").stdout
    for name, content, says in (
        ("empty.txt", b"", "the file is empty"),
        ("latin.txt", b"caf\xe9", "not UTF-8"),
        ("twice.jsonl", b'{"_id": "z", "text": "x"}\n{"_id": "z", "text": "x"}', "ids must be unique"),
    ):
        (tmp_path / name).write_bytes(content)
        fails("index", tmp_path / name, "--into", tmp_path / "index", code=1, says=says)


def test_an_index_in_use_names_the_pid(index: Path, tmp_path: Path) -> None:
    code = "import bicross, sys, time; i = bicross.open(sys.argv[1]); print('open', flush=True); time.sleep(60)"
    holder = subprocess.Popen([sys.executable, "-c", code, str(index)], stdout=subprocess.PIPE, text=True)
    try:
        assert holder.stdout.readline() == "open\n"
        fails("search", index, "x", "--no-rerank", code=1, says=f"(pid {holder.pid})")
    finally:
        holder.kill()
        holder.communicate()


def allocated(folder: Path) -> int:
    """Bytes on disk of the files that are there now; the engine makes and removes some meanwhile."""
    total = 0
    for file in folder.rglob("*"):
        with contextlib.suppress(FileNotFoundError):
            total += file.stat().st_blocks * 512
    return total


@pytest.mark.slow
def test_ctrl_c_keeps_what_was_stored(tmp_path: Path) -> None:
    file = tmp_path / "many.jsonl"
    lines = (json.dumps({"_id": str(i), "text": f"Document {i} says " + "something more " * 30}) for i in range(20_000))
    file.write_text("\n".join(lines))
    index = tmp_path / "index"
    command = [*BICROSS, "index", str(file), "--into", str(index)]
    # where the tests run in the background of a shell, SIGINT is ignored, and so it would be in the child
    restore = {"preexec_fn": lambda: signal.signal(signal.SIGINT, signal.SIG_DFL)}
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True, **restore) as process:
        try:
            waited = time.monotonic()
            while allocated(index / "shard" / "segments") < 3 * 2**20:
                assert process.poll() is None, "it ended before it could be stopped"
                assert time.monotonic() - waited < 120, "nothing was stored"
                time.sleep(0.1)
            process.send_signal(signal.SIGINT)
            _, stderr = process.communicate(timeout=60)
        finally:
            process.kill()
    assert process.returncode == 130, stderr
    assert "run the same command again to go on" in stderr
    assert "Traceback" not in stderr
    stored = int(stderr.split("stopped; ")[1].split()[0])
    facts = json.loads(run("info", index, "--json").stdout)
    assert facts["documents"] >= stored > 0
    assert run("search", index, "Document 3", "--no-rerank", "-k", "1").stdout


def test_a_file_that_cannot_be_written_is_said(tmp_path: Path, cities: Path) -> None:
    process = subprocess.run(
        [*BICROSS, "index", str(cities), "--into", str(tmp_path / "index")],
        capture_output=True,
        text=True,
        check=False,
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (4096, 4096)),
        env=os.environ | {"PYTHONDONTWRITEBYTECODE": "1"},
    )
    assert process.returncode == 1, process.stderr
    assert "Traceback" not in process.stderr

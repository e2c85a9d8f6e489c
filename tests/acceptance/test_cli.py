"""The command as a user runs it: a process, its output, its exit code."""

from __future__ import annotations

import json
import os
import resource
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from bicross.index.disk import bytes_taken

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
    assert "0 new, 0 changed, 18 unchanged, 0 removed, 0 failed" in run("index", cities, "--into", index).stdout


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
    fails("index", cities, "--into", tmp_path / "i", "--language", "xx", code=2, says="language 'xx' is not known")
    fails("index", "-", "--into", index, "--prune", code=2, says="standard input")
    fails("search", index, "x", "--filter", "year >=", code=2, says="cannot be read")
    fails("search", index, "x", "--dense-weight", "2", code=2, says="between 0 and 1")
    fails("get", index, "nowhere", code=1, says="no document with the id 'nowhere'")
    fails("export", index, "--to", tmp_path / "x.csv", code=2, says="must end in .parquet or .jsonl")
    fails("import", tmp_path / "x.jsonl", "--into", tmp_path / "i", code=2, says="no such file")
    fails("info", index, "--facet", "nothing", code=2, says="no document has the field 'nothing'")
    fails("info", index, "--filter", "x == 1", code=2, says="--facet")
    fails("index", cities, "--into", cities.parent, code=2, says="not an index")
    fails("index", cities, "--into", tmp_path / "i", "--chunk-tokens", "9999", code=2, says="between 8 and 254")
    assert not (tmp_path / "i" / "manifest.json").exists()
    assert "No such option" in run("search", "--no-such-option", code=2).stderr
    fails("search", "a very long query " * 40, index, code=2, says="no such folder")
    fails("search", index, "x", "--no-rerank", "-k", "99999999999999999999", code=2, says="between 1 and 1000000")
    process = subprocess.run([*BICROSS, "--debug", "info", tmp_path], capture_output=True, text=True, check=False)
    assert "Traceback" in process.stderr


def test_bad_files_are_listed_and_the_others_indexed(tmp_path: Path) -> None:
    folder, index = tmp_path / "files", tmp_path / "index"
    folder.mkdir()
    (folder / "documents.jsonl").write_text('{"_id": "a", "text": "Bananas are yellow."}\n{"_id": "b", "te')
    (folder / "empty.txt").write_bytes(b"")
    (folder / "latin.txt").write_bytes("Un café, s'il vous plaît. Où est la gare ? Très bientôt.".encode("latin-1"))
    (folder / "twice.jsonl").write_bytes(b'{"_id": "z", "text": "x"}\n{"_id": "z", "text": "x"}')
    process = run("index", folder, "--into", index, code=1)
    assert "3 new, 0 changed, 0 unchanged, 0 removed, 3 failed" in process.stdout
    failed = process.stderr.strip().splitlines()
    for line, says in zip(
        failed, ("documents.jsonl:2: broken JSON", "empty.txt: the file is empty", "'z'"), strict=True
    ):
        assert line.startswith("failed: ")
        assert says in line
    assert "a  (" in run("search", index, "fruit", "--no-rerank").stdout
    assert "café" in run("search", index, "café", "--mode", "lexical", "--no-rerank").stdout
    fails("index", folder, "--into", index, "--strict", code=1, says="documents.jsonl:2: broken JSON")


def test_the_life_of_a_corpus(tmp_path: Path) -> None:
    """Index, filter, facets, change, prune, delete, check, export, import: as a user types it."""
    folder, index, copy = tmp_path / "files", tmp_path / "index", tmp_path / "copy"
    folder.mkdir()
    (folder / "list.csv").write_text(
        "key,body,year,lang\n1,A red bicycle,2019,en\n2,A blue car,2021,en\n3,红色的自行车,2022,zh\n"
    )
    (folder / "note.txt").write_text("A note about trains.")
    fields = ("--id-field", "key", "--text-field", "body")
    assert "4 new" in run("index", folder, "--into", index, *fields).stdout
    found = run("search", index, "vehicle", "--filter", 'year >= 2020 and lang == "en"', "--json", "--no-rerank").stdout
    assert [json.loads(line)["document_id"] for line in found.splitlines()] == ["2"]
    chinese = run("search", index, "自行车", "--mode", "lexical", "--json", "--no-rerank").stdout
    assert [json.loads(line)["document_id"] for line in chinese.splitlines()] == ["3"]
    facets = json.loads(run("info", index, "--facet", "lang", "--json").stdout)["facets"]
    assert facets["lang"] == [{"value": "en", "documents": 2}, {"value": "zh", "documents": 1}]
    (folder / "list.csv").write_text("key,body,year,lang\n1,A red bicycle,2019,en\n2,A green car,2021,en\n")
    (folder / "note.txt").unlink()
    assert (
        "0 new, 1 changed, 1 unchanged, 2 removed, 0 failed"
        in run("index", folder, "--into", index, "--prune", *fields).stdout
    )
    assert "A green car" in run("get", index, "2").stdout
    assert "2 documents, 2 chunks: 0 problems" in run("check", index).stdout
    assert "2 chunks" in run("export", index, "--to", tmp_path / "all.parquet").stdout
    assert "2 documents stored" in run("import", tmp_path / "all.parquet", "--into", copy).stdout
    assert "1 deleted" in run("delete", copy, "2").stdout
    process = run("delete", copy, "1", "9", code=1)
    assert "1 deleted" in process.stdout
    assert "no document with the id '9'" in process.stderr
    assert json.loads(run("info", copy, "--json").stdout)["documents"] == 0


def test_standard_input(tmp_path: Path) -> None:
    command = [*BICROSS, "index", "-", "--into", str(tmp_path / "index")]
    subprocess.run(command, input='{"_id": "a", "text": "From a pipe."}\n', text=True, check=True, capture_output=True)
    assert "From a pipe." in run("get", tmp_path / "index", "a").stdout


def test_a_folder_that_is_read_only(tmp_path: Path, cities: Path) -> None:
    index, readable = tmp_path / "index", tmp_path / "readable"
    run("index", cities, "--into", index)
    readable.mkdir()
    bind = subprocess.run(["mount", "--bind", index, readable], check=False, capture_output=True)
    if bind.returncode:
        pytest.skip("a folder cannot be mounted read-only here")
    try:
        subprocess.run(["mount", "-o", "remount,ro,bind", readable], check=True)
        fails("index", cities, "--into", readable, code=1, says="cannot be locked")
        fails("search", readable, "museum", "--no-rerank", code=1, says="the right to write")
    finally:
        subprocess.run(["umount", readable], check=True)
    assert json.loads(run("info", index, "--json").stdout)["documents"] == 18


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
    return bytes_taken(folder)


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

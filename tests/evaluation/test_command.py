"""``bicross evaluate`` as a user runs it."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from lxml import html

BICROSS = str(Path(sys.executable).with_name("bicross"))


def run(*arguments: str | Path, code: int = 0) -> subprocess.CompletedProcess[str]:
    process = subprocess.run([BICROSS, "evaluate", *map(str, arguments)], capture_output=True, text=True, check=False)
    assert process.returncode == code, process.stderr + process.stdout
    return process


def fails(*arguments: str | Path, code: int, says: str) -> None:
    """One clear line on standard error, nothing on standard output, and no traceback."""
    process = run(*arguments, code=code)
    assert says in process.stderr
    assert "Traceback" not in process.stderr
    assert len(process.stderr.strip().splitlines()) == 1, process.stderr
    assert process.stdout == ""


@pytest.fixture
def copy(beir: Path, tmp_path: Path) -> Path:
    return shutil.copytree(beir, tmp_path / "copy")


def test_a_beir_folder(beir: Path, tmp_path: Path) -> None:
    process = run(
        beir,
        *("--system", "dense", "--system", "hybrid", "--system", "rerank@10"),
        *("--index", tmp_path / "index", "--json", tmp_path / "all.json", "--html", tmp_path / "report.html"),
        *("--runs", tmp_path / "runs"),
    )
    assert process.stderr == ""
    table = process.stdout
    assert "\x1b" not in table
    for word in ("nDCG@10", "judged@10", "pairs", "ms p95", "rerank@10", "p (Holm)", "beside dense"):
        assert word in table
    found = json.loads((tmp_path / "all.json").read_text())
    assert found["queries"] == 8
    means = {system["name"]: system["measures"]["nDCG@10"]["mean"] for system in found["systems"]}
    assert f"{means['rerank@10']:.4f}" in table

    page = html.fromstring((tmp_path / "report.html").read_text())
    assert not page.xpath("//script | //link | //img | //iframe | //*[@src]")
    assert all(link.startswith("#") for link in page.xpath("//@href | //@*[name()='xlink:href']"))
    assert "http" not in (tmp_path / "report.html").read_text()
    assert len(page.xpath("//svg")) == 3  # latency, and the gains of two systems
    text = page.text_content()
    assert "clever birds <b>& tools</b>" in text
    assert "<script>alert('crow')</script>" in text
    assert len(page.xpath("//div[@class='query']")) == 3 * 8
    assert f"{means['dense']:.4f}" in text

    files = sorted((tmp_path / "runs").iterdir())
    assert [file.name for file in files] == ["dense.trec", "hybrid.trec", "rerank@10.trec"]
    again = run("--qrels", beir / "qrels" / "test.tsv", *(f"--run={file}" for file in files), "--json", "-").stdout
    assert {s["name"]: s["measures"]["nDCG@10"]["mean"] for s in json.loads(again)["systems"]} == means

    # the index was kept, and is found again
    process = run(
        tmp_path / "index",
        *("--queries", beir / "queries.jsonl", "--qrels", beir / "qrels" / "test.tsv", "--system", "lexical"),
        *(
            "--run",
            f"theirs={files[0]}",
            "--baseline",
            "theirs",
            "--test",
            "t-test",
            "--limit",
            "3",
            "--measure",
            "P@1",
        ),
    )
    assert "beside theirs, paired t-test" in process.stdout
    assert "3 queries" in process.stdout


def test_what_is_wrong_with_the_files_is_said(copy: Path, index_folder: Path) -> None:
    qrels = copy / "qrels" / "test.tsv"
    lines = qrels.read_text().splitlines(keepends=True)
    qrels.write_text("".join([*lines[1:], "q1\tunicorn\t1\n", "q99\tant\t1\n"]))
    with (copy / "queries.jsonl").open("a") as file:
        file.write('{"_id": "empty", "text": " "}\n')
    with qrels.open("a") as file:
        file.write("empty\tant\t1\n")
    process = run(index_folder, "--queries", copy / "queries.jsonl", "--qrels", qrels, "--system", "lexical")
    assert "test.tsv: no header (query-id, corpus-id, score)" in process.stderr
    assert "1 query ('empty') without text, left out" in process.stderr
    assert "1 query ('q99') judged in" in process.stderr
    assert "1 document ('unicorn') judged in" in process.stderr
    assert "8 queries" in process.stdout


def test_wrong_use(copy: Path, index_folder: Path, tmp_path: Path) -> None:
    qrels = copy / "qrels" / "test.tsv"
    fails(copy, "--system", "magic", code=2, says="the system 'magic' is not known")
    fails(copy, "--measure", "nDGC@10", code=2, says="the measure 'nDGC@10' is not known")
    fails(copy, "--system", "dense", "--baseline", "hybrid", code=2, says="the baseline 'hybrid' is not among")
    fails(copy, "--html", tmp_path / "nowhere" / "x.html", code=2, says="name a file in a folder that is there")
    fails(index_folder, code=2, says="an index has no judged queries; name them with --queries FILE --qrels FILE")

    (tmp_path / "run.trec").write_text("1 Q0 ant 1 2.0 x\n")
    fails("--qrels", qrels, "--run", tmp_path / "run.trec", code=2, says="the ids match nothing")
    (tmp_path / "run.trec").write_text("q1 Q0 ant 1\n")
    fails("--qrels", qrels, "--run", tmp_path / "run.trec", code=1, says="run.trec:1: 'q1 Q0 ant 1': a line holds")
    both = ["--run", tmp_path / "run.trec", "--run", tmp_path / "run.trec"]
    fails("--qrels", qrels, *both, code=2, says="two run files are called 'run'")

    qrels.write_text("query-id\tcorpus-id\tscore\n1\tant\t1\n")
    fails(copy, code=2, says="the ids match nothing (queries: 'q1' …; qrels: '1' …)")
    qrels.write_text("query-id\tcorpus-id\tscore\nq1\tunicorn\t1\n")
    asked = ["--queries", copy / "queries.jsonl", "--qrels", qrels, "--system", "lexical"]
    fails(index_folder, *asked, code=2, says="no document that is judged in")

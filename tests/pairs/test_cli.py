"""``bicross pairs`` as a user runs it."""

from __future__ import annotations

import csv
import gzip
import io
import json
import subprocess
import sys
from pathlib import Path

import pytest

LINES = "How do I reset my password?\n\nhow can I reset my password\r\nWhere is the station?\nWhere is the station?\n"


def run(*arguments: str | Path, code: int = 0, stdin: str = "") -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "bicross", "pairs", *map(str, arguments)]
    process = subprocess.run(command, capture_output=True, text=True, check=False, input=stdin)
    assert process.returncode == code, process.stderr + process.stdout
    assert "Traceback" not in process.stderr
    return process


@pytest.fixture
def lines(tmp_path: Path) -> Path:
    file = tmp_path / "questions.txt"
    file.write_text(LINES, newline="")
    return file


def test_csv_json_and_clusters_agree(lines: Path, tmp_path: Path) -> None:
    table, whole, clusters = tmp_path / "pairs.csv", tmp_path / "pairs.json", tmp_path / "clusters.csv"
    said = run(lines, "--out", table, "--clusters", clusters, "--texts").stderr
    run(lines, "--out", whole)
    rows = list(csv.DictReader(io.StringIO(table.read_text())))
    stored = json.loads(whole.read_text())
    assert [(row["a"], row["b"]) for row in rows] == [("4", "5"), ("1", "3")]
    assert [(pair["a"], pair["b"]) for pair in stored["pairs"]] == [("4", "5"), ("1", "3")]
    assert float(rows[1]["score"]) == stored["pairs"][1]["score"]
    assert rows[1]["text_a"] == "How do I reset my password?"
    assert rows[0]["logit"] == ""
    assert stored["pairs"][0]["logit"] is None
    assert clusters.read_text() == "cluster,id,representative\n1,1,1\n1,3,1\n2,4,4\n2,5,4\n"
    assert [cluster["members"] for cluster in stored["clusters"]] == [["1", "3"], ["4", "5"]]
    report = stored["report"]
    assert (report["texts"], report["distinct"], report["exist"]) == (4, 3, 6)
    assert f"{report['scored']} pairs read, in {report['readings']} readings" in said
    assert "4 texts, 3 different; 6 pairs exist" in said
    assert "3 different texts: 3 encodings; a cross-encoder alone would read 3 pairs" in said
    assert sorted(p.name for p in tmp_path.iterdir()) == ["clusters.csv", "pairs.csv", "pairs.json", "questions.txt"]


def test_standard_input_standard_output_and_gzip(lines: Path, tmp_path: Path) -> None:
    packed = tmp_path / "questions.txt.gz"
    packed.write_bytes(gzip.compress(LINES.encode()))
    records = "".join(json.dumps({"id": i, "text": t}) + "\n" for i, t in enumerate(LINES.splitlines(), 1))
    plain = run("-", "--format", "csv", stdin=LINES).stdout
    assert [row["a"] for row in csv.DictReader(io.StringIO(plain))] == ["4", "1"]
    assert run(packed, "--format", "csv").stdout == plain
    with_records = run("-", "--format", "csv", stdin=records)
    assert with_records.stdout == plain
    assert "left out, because they have no text: 2" in with_records.stderr


def test_lines_for_the_eye_and_fields(tmp_path: Path) -> None:
    table = tmp_path / "table.csv"
    table.write_text("key,question\nx,Where is the station?\ny,Where is the train station?\nz,The cat sat.\n")
    process = run(table, "--id-field", "key", "--text-field", "question", "--top", "1", "--no-rerank")
    assert process.stdout.splitlines()[0].endswith("x  y")
    assert "    Where is the train station?" in process.stdout
    assert "No pairs found." in run(table, "--id-field", "key", "--text-field", "question", "--threshold", "1").stdout


def test_a_broken_record_is_listed_and_the_rest_compared(tmp_path: Path) -> None:
    file = tmp_path / "some.jsonl"
    file.write_text('{"id": 1, "text": "The cat sat."}\n{"id": 2, "te\n{"id": 3, "text": "The cat sat."}\n')
    process = run(file, "--format", "csv", code=1)
    assert "some.jsonl:2: broken JSON" in process.stderr
    assert "\n1,3," in process.stdout


@pytest.mark.parametrize(
    ("content", "options", "code", "says"),
    [
        ("only one\n", [], 2, "one text; comparing takes two"),
        (LINES, ["--threshold", "2"], 2, "threshold is 2.0"),
        (LINES, ["--top", "0"], 2, "top is 0"),
        (LINES, ["--out", "pairs.xlsx"], 2, "pairs.xlsx: write to a name that ends in .csv or .json"),
        (LINES, ["--clusters", "clusters"], 2, "clusters: write to a name that ends in"),
        (LINES, ["--out", "nowhere/pairs.csv"], 2, "there is no folder nowhere"),
        (LINES, ["--model", "no/such-model"], 1, "model 'no/such-model' not found"),
    ],
)
def test_wrong_calls_say_what_to_do(tmp_path: Path, content: str, options: list[str], code: int, says: str) -> None:
    file = tmp_path / "lines.txt"
    file.write_text(content)
    process = run(file, *options, code=code)
    assert says in process.stderr
    assert process.stdout == ""


def test_one_id_with_two_texts_is_named(tmp_path: Path) -> None:
    file = tmp_path / "twice.jsonl"
    file.write_text('{"id": "k", "text": "one"}\n{"id": "k", "text": "two"}\n')
    assert "document 'k' comes twice, with different texts" in run(file, code=1).stderr

"""``bicross plan`` as a user runs it, on a machine that was measured before."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from bicross.encoders.loading import DEFAULT_BI_ENCODER, DEFAULT_CROSS_ENCODER
from bicross.machine.cache import profile_key, write_profiles
from bicross.planning import MachineProfile

BICROSS = [sys.executable, "-m", "bicross", "plan"]


@pytest.fixture(scope="module")
def cache(measured: MachineProfile, tmp_path_factory: pytest.TempPathFactory) -> Path:
    home = tmp_path_factory.mktemp("cache")
    (home / "bicross").mkdir()
    key = profile_key(DEFAULT_BI_ENCODER, DEFAULT_CROSS_ENCODER)
    write_profiles(home / "bicross" / "machine.json", {key: measured.as_dict()})
    return home


def run(cache: Path, *arguments: str | Path, code: int = 0) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "XDG_CACHE_HOME": str(cache)}
    process = subprocess.run(
        [*BICROSS, *map(str, arguments)], capture_output=True, text=True, check=False, env=environment
    )
    assert process.returncode == code, process.stderr + process.stdout
    assert "Traceback" not in process.stderr
    return process


def test_a_plan_for_people(cache: Path) -> None:
    process = run(cache, "--documents", "1e6", "--queries-per-day", "1e5", "--latency-ms", "150", "--all-pairs", "100k")
    assert process.stderr == ""
    assert "\x1b" not in process.stdout
    for words in ("1,000,000", "2,000,000", "cross-encoder", "bi-encoder", "disk", "memory", "machines", "Use:"):
        assert words in process.stdout  # 260 tokens a document are two chunks
    assert "100,000" in process.stdout
    assert "4,999,950,000" in process.stdout
    assert "extrapolated" in process.stdout
    assert max(map(len, process.stdout.split("Use:")[0].splitlines())) <= 120


def test_json_has_the_promised_fields(cache: Path, cities: Path) -> None:
    output = run(cache, "--sample", cities, "--latency-ms", "60000", "--json").stdout
    (line,) = output.splitlines()
    made = json.loads(line)
    assert made["work"]["documents"] == 18
    assert made["work"]["chunks"] == made["index"]["encodings"] == 18
    assert made["index"]["hours"] * 3600 == pytest.approx(made["index"]["seconds"])
    assert {"disk", "memory", "encode_s", "store_s", "graph_s"} <= made["index"].keys()
    assert {"most_candidates", "ways", "use", "why", "memory"} <= made["search"].keys()
    assert [way["use"] for way in made["search"]["ways"]] == ["bi-encoder", "both", "cross-encoder"]
    assert all(way["machines"] >= 1 for way in made["search"]["ways"])
    assert made["all_pairs"] is None


def test_a_cluster(cache: Path) -> None:
    arguments = ["--documents", "1e9", "--cluster", "--latency-ms", "2000"]
    output = run(cache, *arguments, "--node-price", "0.9").stdout
    for words in (
        "On a cluster",
        "nodes of 16 cores, 64 GB, 1 TB of disk",
        "for memory",
        "disk, 2 copies",
        "price a month",
    ):
        assert words in output
    assert "Indexing" not in output
    many = run(cache, *arguments, "--queries-per-day", "1e9").stdout
    for words in ("not enough", "none suffice", "no number of nodes suffices"):
        assert words in many
    made = json.loads(run(cache, *arguments, "--replicas", "1", "--quantisation", "binary", "--json").stdout)["cluster"]
    assert made["nodes"] == max(made["nodes_for"].values()) > 3
    assert made["asked"]["codes"] == "binary"


def test_pairs_alone(cache: Path) -> None:
    made = json.loads(run(cache, "--all-pairs", "100000", "--json").stdout)
    assert made["index"] is None
    assert made["all_pairs"]["work"] == {"sentences": 100_000, "encodings": 100_000, "pairs": 4_999_950_000}
    assert made["all_pairs"]["use"] == "both"


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        ([], "nothing to plan"),
        (["--documents", "0"], "documents is 0; it must be 1 or more"),
        (["--documents=-3"], "documents is -3; it must be 1 or more"),
        (["--documents", "1.5"], "documents is 1.5; it must be a whole number"),
        (["--documents", "lots"], "documents is 'lots', not a number"),
        (["--documents", "10", "--queries-per-day", "0"], "queries per day is 0"),
        (["--all-pairs", "10", "--cluster"], "a cluster is planned for documents"),
        (["--documents", "10", "--node-memory", "256GB"], "add --cluster"),
        (["--documents", "10", "--cluster", "--node-memory", "much"], "node memory is 'much', not a size"),
        (["--documents", "10", "--cluster", "--quantisation", "int4"], "quantisation 'int4' is not known"),
        (["--documents", "10", "--latency-ms", "-1"], "latency is -1; it must be more than 0"),
        (["--documents", "10", "--latency-ms", "nan"], "latency is nan, not a number"),
        (["--documents", "10", "--peak", "0.5"], "peak is 0.5; it must be 1 or more"),
        (["--documents", "10", "--candidates", "0"], "candidates is 0"),
        (["--documents", "10", "--precision", "f8"], "precision 'f8' was not measured"),
        (["--all-pairs", "-2"], "all pairs is -2"),
        (["--sample", "not-there.jsonl"], "not-there.jsonl: no such file"),
    ],
)
def test_what_makes_no_sense_is_one_line(cache: Path, arguments: list[str], says: str) -> None:
    process = run(cache, *arguments, code=2)
    assert says in process.stderr
    assert process.stdout == ""
    assert len(process.stderr.splitlines()) == 1

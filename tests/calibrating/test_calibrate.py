"""``bicross calibrate`` on a real index, as a user types it."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

import bicross.calibrating
from bicross import BiEncoder, CrossEncoder, Document, LocalIndex, Searcher
from bicross.calibrating.storing import store
from bicross.errors import UsageError
from bicross.index.fitted import FILE as FITTED
from bicross.search.two_stages import KEY


def run(*arguments: object) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "bicross", *map(str, arguments)],
        capture_output=True,
        text=True,
        env=os.environ | {"COLUMNS": "120"},
    )


@pytest.fixture(scope="module")
def judged(
    tmp_path_factory: pytest.TempPathFactory, bi_encoder: BiEncoder, functions: list[Document]
) -> Iterator[tuple[Path, Path, Path]]:
    """An index, and queries that are the words of a function's name, answered by that function."""
    folder = tmp_path_factory.mktemp("calibrate")
    documents = functions[:60]
    with LocalIndex.create(folder / "index", bi_encoder) as index:
        index.add(documents)
    asked = documents[:45]
    words = {d.id: " ".join(re.split(r"[._]+", d.id)) for d in asked}
    (folder / "queries.jsonl").write_text(
        "".join(
            json.dumps({"_id": f"q-{name}", "text": f"what does {text} do?"}) + "\n" for name, text in words.items()
        )
    )
    rows = [f"q-{name}\t{name}\t1" for name in words]
    (folder / "qrels.tsv").write_text("query-id\tcorpus-id\tscore\n" + "\n".join(rows) + "\n")
    yield folder / "index", folder / "queries.jsonl", folder / "qrels.tsv"


def test_it_says_what_it_is_worth_writes_it_and_searches_use_it(
    judged: tuple[Path, Path, Path], cross_encoder: CrossEncoder
) -> None:
    index, queries, qrels = judged
    written = run("calibrate", index, "--queries", queries, "--qrels", qrels, "--json")
    assert written.returncode == 0, written.stderr
    report = json.loads(written.stdout)
    assert report["written"] is True
    assert report["queries"] == 45
    assert report["pairs"] >= 45 * 60
    assert 0 < report["after"]["read"] <= 1
    assert report["after"]["calibration_error"] < 0.05
    stored = json.loads((index / FITTED).read_text())[KEY]
    assert len(stored) == 1
    assert stored[0]["cross_encoder_sha256"] == cross_encoder.weights_sha256
    with bicross.open(index) as opened:
        searcher = Searcher(opened, cross_encoder)
        numbers = searcher.two_stages()
        assert numbers is not None
        assert numbers.logit == stored[0]["logit"]
        store(index / FITTED, replace(numbers, logit=2.0))  # fitted anew while somebody searches
        assert searcher.two_stages() == replace(numbers, logit=2.0)
        store(index / FITTED, numbers)
        assert searcher.two_stages() == numbers
    explained = run("search", index, "make a copy of a file", "--explain", "-k", "2").stdout
    assert f"= {numbers.logit:.4g} × cross_encoder" in explained
    assert re.search(r"The cross-encoder read \d+ of \d+ candidates", explained)


def test_a_dry_run_says_what_it_would_be_worth_and_writes_nothing(judged: tuple[Path, Path, Path]) -> None:
    index, queries, qrels = judged
    fitted = index / FITTED
    before = fitted.read_text() if fitted.exists() else None
    tried = run("calibrate", index, "--queries", queries, "--qrels", qrels, "--mode", "dense", "--dry-run")
    assert tried.returncode == 0, tried.stderr
    assert "expected calibration error" in tried.stdout
    assert "each query with numbers that were fitted without it" in tried.stdout
    assert "nothing was written" in tried.stdout
    assert (fitted.read_text() if fitted.exists() else None) == before


def test_relevance_of_what_answers_nothing_hides_it(judged: tuple[Path, Path, Path]) -> None:
    index, _, _ = judged
    found = run("search", index, "recipe for plum cake", "--min-relevance", "0.5")
    assert found.returncode == 0, found.stderr
    assert found.stdout == "Nothing found.\n"


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--min-relevance", "2"], "min_relevance is 2.0; it must be between 0 and 1"),
        (["--budget-ms", "-5"], "budget_ms is -5.0; it must be more than 0 milliseconds"),
        (["--budget-ms", "50", "--no-rerank"], "budget_ms is about the second stage, and there is no cross-encoder"),
    ],
)
def test_wrong_values_are_said_in_one_line(judged: tuple[Path, Path, Path], options: list[str], message: str) -> None:
    failed = run("search", judged[0], "anything", *options)
    assert failed.returncode == 2
    assert failed.stderr == f"bicross: {message}\n"


def test_too_few_or_strange_judgements_are_refused(
    judged: tuple[Path, Path, Path], cross_encoder: CrossEncoder, tmp_path: Path
) -> None:
    index, queries, _ = judged
    lines = queries.read_text().splitlines()
    ids = [json.loads(line)["_id"] for line in lines]
    few = tmp_path / "few.tsv"
    few.write_text("query-id\tcorpus-id\tscore\n" + "".join(f"{i}\tos.walk\t1\n" for i in ids[:7]))
    refused = run("calibrate", index, "--queries", queries, "--qrels", few)
    assert refused.returncode == 2
    assert "7 judged queries are too few to fit anything; at least 40 are needed" in refused.stderr
    with bicross.open(index) as opened:
        asked = [(query["_id"], query["text"]) for query in map(json.loads, lines)]
        with pytest.raises(UsageError, match=r"none of the 1 documents .* \('elsewhere' …\) is in"):
            bicross.calibrating.calibrate(opened, cross_encoder, asked, {i: {"elsewhere": 1} for i in ids})

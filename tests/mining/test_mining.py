"""Hard negatives out of a real index, by the function and as a user types it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from bicross import BiEncoder, CrossEncoder, Document, LocalIndex
from bicross.errors import UsageError
from bicross.mining import MiningRules, MiningTally, mine

TEXTS = {
    "berlin": "Berlin has about 3.7 million inhabitants and is the largest city of Germany.",
    "copy": "Berlin has about 3.7 million inhabitants, and is the largest city of Germany!",
    "unjudged": "Around 3.7 million people live in Berlin.",
    "museums": "Berlin is well known for its many museums and galleries.",
    "berlin-food": "In Berlin people eat currywurst and kebab.",
    "hamburg": "Hamburg is a large port on the Elbe.",
    "munich": "Munich holds a beer festival every autumn.",
    "photosynthesis": "Plants turn light into sugar.",
    "chess": "A bishop moves along the diagonals.",
}
QUERY = "how many people live in Berlin"
QUERIES, QRELS = [("q1", QUERY)], {"q1": {"berlin": 1}}
LOOSE = MiningRules(margin=10, max_relevance=1, count=99)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory, bi_encoder: BiEncoder) -> Path:
    folder = tmp_path_factory.mktemp("mining")
    with LocalIndex.create(folder / "index", bi_encoder) as index:
        index.add(Document(name, text) for name, text in TEXTS.items())
    (folder / "queries.jsonl").write_text(json.dumps({"_id": "q1", "text": QUERY}) + "\n")
    (folder / "qrels.tsv").write_text("query-id\tcorpus-id\tscore\nq1\tberlin\t1\n")
    return folder


@pytest.fixture
def index(folder: Path, bi_encoder: BiEncoder) -> Iterator[LocalIndex]:
    with LocalIndex.open(folder / "index", bi_encoder) as opened:
        yield opened


def negatives(
    index: LocalIndex, rules: MiningRules, cross: CrossEncoder | None = None
) -> tuple[list[str], MiningTally]:
    tally = MiningTally()
    examples = list(mine(index, QUERIES, QRELS, tally, rules, cross))
    return [name for example in examples for name in example.negative_ids], tally


def test_neither_the_positive_nor_a_copy_of_it(index: LocalIndex) -> None:
    found, tally = negatives(index, LOOSE)
    assert sorted(found) == sorted(TEXTS.keys() - {"berlin", "copy"})
    assert tally.dropped == {"copy of a positive": 1}
    assert (tally.queries, tally.examples, tally.negatives) == (1, 1, 7)


def test_nearest_first_and_no_more_than_wanted(index: LocalIndex) -> None:
    every, _ = negatives(index, LOOSE)
    order = [c.chunk.document_id for c in index.search(QUERY, mode="dense", top_k=9)]
    assert every == [name for name in order if name in every]
    assert negatives(index, MiningRules(margin=10, max_relevance=1, count=2))[0] == every[:2]


def test_the_window_is_of_ranks_without_the_positive(index: LocalIndex) -> None:
    order = [c.chunk.document_id for c in index.search(QUERY, mode="dense", top_k=9) if c.chunk.document_id != "berlin"]
    found, _ = negatives(index, MiningRules(first=4, last=6, margin=10, max_relevance=1))
    assert found == order[3:6]


def test_what_is_nearly_as_near_as_the_positive_is_dropped(index: LocalIndex) -> None:
    near = {c.chunk.document_id: c.score for c in index.search(QUERY, mode="dense", top_k=9)}
    for margin in (0.95, 0.5):
        found, tally = negatives(index, MiningRules(margin=margin, max_relevance=1, count=99))
        assert set(found) == {name for name in near if near[name] <= margin * near["berlin"]} - {"copy"}
        assert "unjudged" not in found
        assert tally.dropped["as near as the positive"] >= 1


def test_the_cross_encoder_sees_an_answer_that_nobody_judged(index: LocalIndex, cross_encoder: CrossEncoder) -> None:
    found, tally = negatives(index, MiningRules(margin=10, count=99), cross_encoder)
    assert "unjudged" not in found
    assert {"photosynthesis", "chess"} <= set(found)
    assert tally.dropped["held relevant by the cross-encoder"] >= 1


def test_what_was_judged_not_relevant_needs_no_filter(index: LocalIndex) -> None:
    tally = MiningTally()
    judged = {"q1": {"berlin": 1, "unjudged": 0}}
    (example,) = mine(index, QUERIES, judged, tally, MiningRules(max_relevance=1))
    assert "unjudged" in example.negative_ids


def test_missing_documents_and_positives_without_negatives_are_counted(index: LocalIndex) -> None:
    tally = MiningTally()
    rules = MiningRules(margin=1e-6, max_relevance=1)
    judged = {"q1": {"berlin": 1, "gone": 1}}
    assert [e for e in mine(index, QUERIES, judged, tally, rules) if "museums" in e.negative_ids] == []
    assert tally.missing == 1
    assert tally.examples + tally.none_left == 1


@pytest.mark.parametrize(
    "wrong", [{"first": 0}, {"first": 5, "last": 4}, {"count": 0}, {"margin": 0}, {"max_relevance": 1.5}]
)
def test_rules_out_of_range(wrong: dict[str, float]) -> None:
    with pytest.raises(UsageError):
        MiningRules(**wrong)  # type: ignore[arg-type]


# -- as a user types it ------------------------------------------------------------------------------------------


def run(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    files = ["--queries", "queries.jsonl", "--qrels", "qrels.tsv"]
    return subprocess.run(
        [sys.executable, "-m", "bicross", "mine", "index", *files, *arguments],
        cwd=folder,
        capture_output=True,
        text=True,
        env=os.environ | {"COLUMNS": "120"},
    )


def test_the_command_writes_examples_and_says_what_it_dropped(folder: Path) -> None:
    done = run(folder, "--into", "mined.jsonl", "--negatives", "3")
    assert done.returncode == 0, done.stderr
    (example,) = [json.loads(line) for line in (folder / "mined.jsonl").read_text().splitlines()]
    assert (example["query"], example["positive"]) == (QUERY, TEXTS["berlin"])
    assert [TEXTS[name] for name in example["negative_ids"]] == example["negatives"]
    assert len(example["negatives"]) == 3
    assert "dropped: 1 copy of a positive" in done.stdout
    assert not list(folder.glob("*.part"))


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--into", "no/such/folder.jsonl"], "there is no folder"),
        (["--into", "x.jsonl", "--margin", "0"], "margin is 0.0"),
        (["--into", "x.jsonl", "--first", "9", "--last", "3"], "ranks are 9 to 3"),
    ],
)
def test_wrong_usage_is_one_line(folder: Path, arguments: list[str], said: str) -> None:
    done = run(folder, *arguments)
    assert done.returncode == 2
    assert said in done.stderr
    assert done.stderr.count("\n") == 1
    assert not (folder / "x.jsonl").exists()

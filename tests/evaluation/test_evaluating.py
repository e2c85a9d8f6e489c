"""Systems over a real index with the real models."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

import bicross
from bicross import CrossEncoder, Evaluation, LocalIndex, Searcher, evaluate
from bicross.errors import UsageError
from bicross.evaluation import calibration_error
from bicross.evaluation.report import html_report
from bicross.evaluation.runs import write_run
from bicross.evaluation.systems import parse_system

SYSTEMS = ["dense", "lexical", "hybrid", "rrf", "rerank@10", "cross-encoder@10", "rerank@25"]


@pytest.fixture(scope="module")
def index(index_folder: Path) -> LocalIndex:
    with bicross.open(index_folder) as opened:
        yield opened


@pytest.fixture(scope="module")
def evaluation(index: LocalIndex, beir: Path, cross_encoder: CrossEncoder) -> Evaluation:
    return evaluate(
        index,
        queries=beir / "queries.jsonl",
        qrels=beir / "qrels" / "test.tsv",
        systems=SYSTEMS,
        cross_encoder=cross_encoder,
        baseline="lexical",
    )


def test_each_system_is_its_own_search(evaluation: Evaluation, index: LocalIndex, cross_encoder: CrossEncoder) -> None:
    query = "marsupial with a pouch"
    for mode in ("dense", "lexical", "hybrid"):
        hits = Searcher(index).search(query, mode=mode, top_k=100).hits
        assert evaluation.system(mode).run["q2"].ids == [hit.document_id for hit in hits]
    reranked = Searcher(index, cross_encoder).search(query, top_k=10, candidates=10)
    assert evaluation.system("rerank@10").run["q2"].ids == [hit.document_id for hit in reranked.hits]
    by_logit = sorted(reranked.hits, key=lambda hit: -hit.scores["cross_encoder"].score)
    assert evaluation.system("cross-encoder@10").run["q2"].ids == [hit.document_id for hit in by_logit]


def test_what_a_system_costs(evaluation: Evaluation) -> None:
    costs = {system.name: system.cost for system in evaluation.systems}
    for name, pairs in (("dense", 0), ("lexical", 0), ("rerank@10", 10), ("cross-encoder@10", 10), ("rerank@25", 25)):
        assert set(costs[name].pairs) == {pairs}
        assert (costs[name].milliseconds > 0).all()
    assert not costs["lexical"].tokens.any()
    assert (costs["dense"].tokens > 0).all()
    assert (costs["rerank@25"].tokens > costs["rerank@10"].tokens).all()


def test_means_are_of_the_queries_and_worth_something(evaluation: Evaluation) -> None:
    assert evaluation.queries == [f"q{number}" for number in range(1, 9)]
    for system in evaluation.systems:
        for name, mean in system.means.items():
            assert mean.mean == pytest.approx(system.values[name].mean())
            assert 0 <= mean.low <= mean.mean <= mean.high <= 1
    assert evaluation.system("rerank@25").means["nDCG@10"].mean > 0.8
    assert evaluation.system("lexical").means["nDCG@10"].mean < evaluation.system("dense").means["nDCG@10"].mean


def test_differences_are_paired(evaluation: Evaluation) -> None:
    base = evaluation.system("lexical")
    assert {c.system for c in evaluation.comparisons} == {*SYSTEMS} - {"lexical"}
    assert len(evaluation.comparisons) == 6 * 5
    for found in evaluation.comparisons:
        differences = evaluation.system(found.system).values[found.measure] - base.values[found.measure]
        assert found.difference.mean == pytest.approx(differences.mean())
        assert (found.better, found.worse) == ((differences > 0).sum(), (differences < 0).sum())
        assert found.better + found.equal + found.worse == 8
        assert found.p <= found.p_holm <= 1


def test_the_calibration_of_what_was_shown(
    evaluation: Evaluation, index: LocalIndex, beir: Path, cross_encoder
) -> None:
    searcher, relevance, relevant = Searcher(index, cross_encoder), [], []
    qrels = {tuple(line.split("\t")[:2]): int(line.split("\t")[2]) for line in _lines(beir / "qrels" / "test.tsv")[1:]}
    for line in _lines(beir / "queries.jsonl"):
        query = json.loads(line)
        for hit in searcher.search(query["text"], top_k=10, candidates=10).hits:
            relevance.append(hit.relevance)
            relevant.append(qrels.get((query["_id"], hit.document_id), 0) > 0)
    found = evaluation.system("rerank@10").calibration_error
    assert found == pytest.approx(calibration_error(relevance, relevant), abs=0.02)  # bf16 in other batches
    assert evaluation.system("dense").calibration_error is None
    assert evaluation.system("cross-encoder@10").calibration_error is None  # its relevance is that of both stages


def _lines(path: Path) -> list[str]:
    return path.read_text().splitlines()


def test_the_worst_queries_can_be_read(evaluation: Evaluation) -> None:
    worst = [query for query in evaluation.worst if query.system == "dense"]
    differences = [query.value - query.baseline for query in worst]
    assert differences == sorted(differences)
    assert len(worst) == 8
    penguin = next(query for query in worst if query.query_id == "q4")
    assert penguin.text == "bird that does not fly"
    (expected,) = penguin.expected  # a grade of 0 is nothing to expect
    assert (expected.document_id, expected.grade, expected.title) == ("penguin", 2, "penguin")
    assert "keeps its egg warm" in expected.text
    assert [shown.rank for shown in penguin.first] == [1, 2, 3]
    alone = [query for query in evaluation.worst if query.system == "lexical"]
    assert [query.value for query in alone] == sorted(query.value for query in alone)
    assert {query.baseline for query in alone} == {None}


def test_json_has_every_value_of_every_query(evaluation: Evaluation) -> None:
    plain = json.loads(json.dumps(evaluation.as_dict(), allow_nan=False))
    for system in plain["systems"]:
        rows = plain["per_query"][system["name"]]
        assert list(rows) == evaluation.queries
        for name, mean in system["measures"].items():
            assert np.mean([row[name] for row in rows.values()]) == pytest.approx(mean["mean"])
        assert system["judged@10"] + system["unjudged@10"] == pytest.approx(1)


def test_a_system_that_finds_nothing_counts_0(index: LocalIndex, tmp_path: Path) -> None:
    (tmp_path / "q.tsv").write_text("a\txylophagous\n")
    (tmp_path / "qrels.tsv").write_text("query-id\tcorpus-id\tscore\na\tant\t1\n")
    found = evaluate(index, queries=tmp_path / "q.tsv", qrels=tmp_path / "qrels.tsv", systems=["lexical", "dense"])
    lexical = found.system("lexical")
    assert lexical.run == {}
    assert lexical.means["nDCG@10"].mean == 0
    told = found.as_dict()
    assert told["systems"][0]["judged@10"] is None
    assert told["per_query"]["lexical"]["a"]["judged@10"] is None
    assert "nothing was found" in html_report(found)


def test_run_files_need_no_index_and_measure_the_same(evaluation: Evaluation, beir: Path, tmp_path: Path) -> None:
    for system in evaluation.systems:
        write_run(tmp_path / system.name, system.run, system.name)
    again = evaluate(
        qrels=beir / "qrels" / "test.tsv", runs={name: tmp_path / name for name in SYSTEMS}, baseline="lexical"
    )
    for system in evaluation.systems:
        for name, values in system.values.items():
            np.testing.assert_array_equal(again.system(system.name).values[name], values)
        assert again.system(system.name).cost is None
    assert [c.p_holm for c in again.comparisons] == [c.p_holm for c in evaluation.comparisons]
    assert {query.text for query in again.worst} == {""}
    told = evaluate(beir, runs={"dense": tmp_path / "dense"})  # texts come from the folder, and nothing is indexed
    assert "marsupial with a pouch" in {query.text for query in told.worst}
    assert all(shown.text.startswith("The ") for query in told.worst for shown in query.expected)


def test_filters_and_the_folder_of_an_index(index: LocalIndex, beir: Path) -> None:
    with pytest.raises(UsageError, match="no document has the field 'year'"):
        evaluate(index, queries=beir / "queries.jsonl", qrels=beir / "qrels" / "test.tsv", filter="year > 1")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"systems": ["sparse"]}, "the system 'sparse' is not known; choose dense, lexical, hybrid, rrf, rerank@N"),
        ({"systems": ["rerank"]}, "the system 'rerank' is not known"),
        ({"systems": ["rerank@0"]}, "the system 'rerank@0' is not known"),
        ({"systems": ["dense@5"]}, "the system 'dense@5' is not known"),
        ({"systems": ["dense", "dense"]}, "two systems are called 'dense'"),
        ({"systems": []}, "nothing to evaluate"),
        ({"systems": ["dense"], "baseline": "hybrid"}, "the baseline 'hybrid' is not among the systems"),
        ({"systems": ["dense"], "test": "sign"}, "the test 'sign' is not known; choose randomisation or t-test"),
        ({"systems": ["dense"], "limit": 0}, "the limit is 0"),
        ({"measures": ["nothing@10"]}, "the measure 'nothing@10' is not known"),
        ({"split": "dev"}, "no judgements qrels/dev.tsv; choose --split test"),
        ({"collection": "nowhere"}, "nowhere: no such folder"),
        ({"collection": None}, "no collection and no judgements"),
        ({"collection": Path(__file__).parent}, "neither an index nor a BEIR folder"),
        ({"collection": None, "qrels": __file__, "systems": ["dense"]}, "name them with --queries FILE"),
    ],
)
def test_wrong_calls(beir: Path, arguments: dict, message: str) -> None:
    with pytest.raises(UsageError, match=message):
        evaluate(**{"collection": beir, **arguments})


def test_names_of_systems() -> None:
    assert parse_system("rerank@50").candidates == 50
    assert parse_system("cross-encoder@7").order == "cross_encoder"
    assert parse_system("rerank@50").call == parse_system("cross-encoder@50").call != parse_system("hybrid").call

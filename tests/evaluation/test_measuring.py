"""Measures: names, values for each query, what is missing."""

from __future__ import annotations

import math

import ir_measures
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bicross.errors import UsageError
from bicross.evaluation.measuring import cutoffs, judged_share, measured, parse_measures
from bicross.evaluation.runs import Ranking

DOCUMENTS = [f"d{number}" for number in range(12)]
GRADES = st.dictionaries(st.sampled_from(DOCUMENTS), st.integers(0, 3), min_size=1)
LISTS = st.lists(st.sampled_from(DOCUMENTS), unique=True)


@settings(max_examples=60)
@given(st.lists(st.tuples(GRADES, LISTS), min_size=1, max_size=5))
def test_values_are_those_of_the_definitions(queries: list[tuple[dict[str, int], list[str]]]) -> None:
    ids = [f"q{number}" for number in range(len(queries))]
    qrels = {i: grades for i, (grades, _) in zip(ids, queries, strict=True)}
    run = {i: Ranking.of(listed, [0.0] * len(listed)) for i, (_, listed) in zip(ids, queries, strict=True)}
    values = measured(parse_measures(["nDCG@5", "RR@5", "R@5", "P@5"]), ids, qrels, run)
    for column, (grades, listed) in zip(values.T, queries, strict=True):
        relevant = {document for document, grade in grades.items() if grade > 0}
        first = listed[:5]
        gains = sum(grades.get(d, 0) / math.log2(rank + 2) for rank, d in enumerate(first))
        ideal = sum(g / math.log2(rank + 2) for rank, g in enumerate(sorted(grades.values(), reverse=True)[:5]))
        hits = sum(d in relevant for d in first)
        rr = next((1 / (rank + 1) for rank, d in enumerate(first) if d in relevant), 0.0)
        expected = [gains / ideal if ideal else 0, rr, hits / len(relevant) if relevant else 0, hits / 5]
        assert column == pytest.approx(expected)


def test_the_mean_is_that_of_ir_measures_over_many_queries() -> None:
    random = np.random.default_rng(3)
    ids = [f"q{number}" for number in range(1203)]  # more than are measured at once
    qrels = {i: dict.fromkeys(random.choice(DOCUMENTS, 3, replace=False).tolist(), 1) for i in ids}
    run = {i: Ranking.of(random.permutation(DOCUMENTS).tolist(), range(12, 0, -1)) for i in ids[:1100]}
    measures = parse_measures(["nDCG@10", "AP@100"])
    scored = {i: dict(zip(r.ids, r.scores.tolist(), strict=True)) for i, r in run.items()}
    expected = ir_measures.calc_aggregate(measures, qrels, scored)  # counts 0 for the queries that are not in the run
    values = measured(measures, ids, qrels, run)
    assert values.mean(axis=1) == pytest.approx([expected[measure] for measure in measures])
    assert not values[:, 1100:].any()


def test_names_and_depths() -> None:
    assert [str(m) for m in parse_measures(["nDCG@10", " MRR@10", "AP(rel=2)@100"])] == [
        "nDCG@10",
        "RR@10",
        "AP(rel=2)@100",
    ]
    assert cutoffs(parse_measures(["nDCG@10", "R@200"])) == 200
    assert cutoffs(parse_measures(["nDCG@10", "AP"])) is None
    assert (
        measured(parse_measures(["nDCG(dcg='exp-log2')@10"]), ["q"], {"q": {"a": 3}}, {"q": Ranking.of(["a"], [1])})
        == 1
    )


@pytest.mark.parametrize(
    ("names", "message"),
    [
        (["nDGC@10"], "the measure 'nDGC@10' is not known; ir_measures has .*nDCG"),
        (["nDCG@ten"], "is not known"),
        (["nDCG@0"], "a cutoff is a whole number from 1"),
        (["nDCG@1.5"], "a cutoff is a whole number from 1"),
        (["P"], "the measure 'P' cannot be computed"),
        (["nDCG(colour='red')@10"], "cannot be computed: unsupported params found"),
        (["nDCG(__import__('os'))@10"], "cannot be computed"),
        (["nDCG(dcg=__import__('os'))@10"], "cannot be computed"),
        (["RR@10", "MRR@10"], "a measure is named twice"),
        ([], "no measure is named"),
    ],
)
def test_measures_that_are_none(names: list[str], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        parse_measures(names)


def test_the_share_that_is_judged() -> None:
    run = {"a": Ranking.of(["d1", "d2", "d3", "d4"], [4, 3, 2, 1]), "b": Ranking.of([], [])}
    shares = judged_share(["a", "b", "c"], {"a": {"d1": 0, "d4": 1}, "b": {}, "c": {}}, run)
    assert shares[0] == 0.5
    assert np.isnan(shares[1:]).all()

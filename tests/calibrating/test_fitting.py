"""What is fitted: it finds what is there, keeps the order, and comes back from its file as it was."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bicross.calibrating.fitting import cross_validated, fit_two_stages, worth
from bicross.calibrating.pools import Pool, ReadQuery, dcg, pool
from bicross.calibrating.relevance import fit_calibration, fit_isotonic, fit_platt
from bicross.calibrating.stopping import fit_stopping, walk
from bicross.calibrating.storing import store, update
from bicross.calibrating.weights import fit_weights
from bicross.encoders.calibration import Isotonic, Platt, calibration_of
from bicross.errors import CorpusError, UsageError
from bicross.search.two_stages import TwoStages, as_json, calibration_json, from_json, read_two_stages


def made_pools(count: int = 80, candidates: int = 60, seed: int = 1) -> list[Pool]:
    """Relevant documents have higher evidence and, more clearly, higher logits."""
    generator = np.random.default_rng(seed)
    pools = []
    for _ in range(count):
        relevant = generator.random(candidates) < 0.08
        evidence = 2 * relevant + generator.normal(size=candidates)
        logits = 2 * relevant - 2 + 0.4 * evidence + generator.normal(size=candidates)
        order = np.argsort(-evidence, kind="stable")
        grades = relevant[order].astype(np.int64)
        ideal = dcg(np.sort(grades)[::-1])
        pools.append(Pool(generator.permutation(candidates), evidence[order], logits[order], grades, ideal))
    return pools


judgements = st.lists(st.tuples(st.floats(-30, 30, width=32), st.booleans()), min_size=2, max_size=200)


@given(judgements, st.lists(st.floats(-1e6, 1e6, width=32), min_size=2, max_size=50))
@settings(max_examples=50, deadline=None)
def test_relevance_is_a_number_between_0_and_1_that_never_falls(judged: list, asked: list) -> None:
    scores, labels = np.array([s for s, _ in judged], float), np.array([y for _, y in judged], float)
    for fit in (fit_platt, fit_isotonic):
        fitted = fit(scores, labels, np.ones(len(scores)))
        again = calibration_of(json.loads(json.dumps(calibration_json(fitted))))
        for calibration in (fitted, again):
            said = calibration(np.sort(asked))
            assert said.dtype == np.float32
            assert ((said >= 0) & (said <= 1)).all()
            assert (np.diff(said) >= 0).all()
        assert calibration_json(again) == calibration_json(fitted)


def test_platt_is_recovered_and_chosen_where_it_is_true() -> None:
    generator = np.random.default_rng(4)
    scores = generator.normal(size=(200, 100))
    labels = (generator.random(scores.shape) < 1 / (1 + np.exp(-(1.5 * scores - 0.7)))).astype(float)
    fitted = fit_platt(scores.ravel(), labels.ravel(), np.ones(scores.size))
    assert (fitted.slope, fitted.intercept) == pytest.approx((1.5, -0.7), abs=0.1)
    assert isinstance(fit_calibration(list(scores), list(labels), np.ones(200)), Platt)


def test_isotonic_is_chosen_where_relevance_comes_in_steps() -> None:
    generator = np.random.default_rng(5)
    scores = generator.uniform(-5, 5, size=(200, 100))
    labels = (generator.random(scores.shape) < np.where(scores > 0, 0.5, 0.02)).astype(float)
    fitted = fit_calibration(list(scores), list(labels), np.ones(200))
    assert isinstance(fitted, Isotonic)
    assert fitted(np.array([-3.0, 3.0])) == pytest.approx([0.02, 0.5], abs=0.05)


@pytest.mark.parametrize(
    "wrong",
    [
        {"slope": -1, "intercept": 0},
        {"slope": float("nan"), "intercept": 0},
        {"scores": [], "relevance": []},
        {"scores": [1, 1], "relevance": [0.1, 0.2]},
        {"scores": [1, 2], "relevance": [0.3, 0.2]},
        {"scores": [1, 2], "relevance": [0.3, 1.2]},
        {"scores": [1, 2], "relevance": [0.3]},
    ],
)
def test_a_calibration_that_turns_the_order_or_leaves_its_range_is_refused(wrong: dict) -> None:
    with pytest.raises(ValueError, match="must be"):
        calibration_of(wrong)


def test_weights_are_recovered() -> None:
    generator = np.random.default_rng(3)
    pools = []
    for _ in range(600):
        x = generator.normal(size=(10, 2)) * [1.0, 0.01]  # evidence may be of any size
        x = x[np.argsort(-x[:, 1])]
        odds = np.exp(2.0 * x[:, 0] + 100.0 * x[:, 1])
        grades = np.zeros(10, np.int64)
        grades[generator.choice(10, p=odds / odds.sum())] = 1
        pools.append(Pool(np.arange(10), x[:, 1], x[:, 0], grades, 1.0))
    assert fit_weights(pools) == pytest.approx((2.0, 100.0), rel=0.15)


def test_evidence_that_says_nothing_weighs_nothing_and_judgements_that_fit_nothing_are_refused() -> None:
    pools = [Pool(p.documents, np.sort(-p.logits)[::-1], p.logits, p.grades, p.ideal) for p in made_pools(20)]
    assert fit_weights(pools)[1] >= 0
    with pytest.raises(UsageError, match="the judgements fit nothing"):
        fit_weights([Pool(p.documents, p.evidence, p.logits, p.grades * 0, 0.0) for p in pools])


def test_reading_stops_where_the_rest_can_hardly_enter() -> None:
    pools = made_pools(100)
    logit, evidence = fit_weights(pools)
    stopping = fit_stopping(pools, logit, evidence)
    other = [walk(p, stopping, logit, evidence) for p in made_pools(100, seed=2)]
    stops = [w.stop(stopping) for w in other]
    read = sum(int(w.read[i]) for w, i in zip(other, stops, strict=True)) / sum(int(w.read[-1]) for w in other)
    lost = np.mean([w.ndcg[-1] - w.ndcg[i] for w, i in zip(other, stops, strict=True)])
    assert read < 0.9
    assert lost < 0.01
    assert all(
        w.stop(stopping) == len(w.read) - 1 for w in [walk(p, stopping, logit, evidence) for p in made_pools(3, 9)]
    )


def test_fitted_numbers_are_better_on_queries_they_were_not_fitted_on() -> None:
    pools = made_pools(60)
    before, after = worth(pools, None, Platt()), cross_validated([pools] * 5)
    assert after.ndcg > before.ndcg
    assert after.log_loss < before.log_loss
    assert after.calibration_error < 0.03 < before.calibration_error
    assert after.read < before.read == 1


def test_documents_count_by_their_best_chunk() -> None:
    p = Pool(np.array([1, 0, 1, 2]), np.array([4.0, 3, 2, 1]), np.array([0.0, 1, 5, -1]), np.array([1, 0, 1, 0]), 1.0)
    assert p.ndcg(p.logits) == 1
    assert p.ndcg(p.logits[:2]) == pytest.approx(1 / np.log2(3))
    best, grades = p.best(p.logits)
    assert (best.tolist(), grades.tolist()) == ([1, 5, -1], [0, 1, 0])


def test_a_pool_is_in_the_order_of_its_first_stage_and_holds_what_was_read() -> None:
    documents = {"a1": "a", "a2": "a", "b1": "b", "c1": "c"}
    scores = {"dense": {"a1": 0.9, "b1": 0.8, "a2": 0.7}, "rrf": {"c1": 0.3, "a1": 0.2, "b1": 0.1}}
    query = ReadQuery("q", documents, scores, {"a1": 1.0, "b1": 2.0, "c1": 3.0}, {"b": 2, "x": 1})
    assert pool(query, "dense", 10).logits.tolist() == [1, 2]
    assert pool(query, "rrf", 2).logits.tolist() == [3, 1]
    found = pool(query, "rrf", 10)
    assert found.grades.tolist() == [0, 0, 2]
    assert found.ideal == pytest.approx(2 + 1 / np.log2(3))


def test_the_first_stage_may_count_more_than_what_was_fitted() -> None:
    pools = made_pools(50)
    fitted, wary = fit_two_stages(pools, "before"), fit_two_stages(pools, "before", evidence_times=2)
    assert wary.logit == fitted.logit
    assert wary.evidence == pytest.approx(2 * fitted.evidence, rel=1e-4)
    for numbers in (fitted, wary):  # relevance is fitted for the weights that are stored
        scores = np.concatenate([numbers.final(p.logits, p.evidence) for p in pools])
        grades = np.concatenate([p.grades for p in pools]) > 0
        assert numbers.calibration(scores).mean() == pytest.approx(grades.mean(), abs=0.02)


def test_numbers_come_back_from_their_file_beside_what_else_is_there(tmp_path: Path) -> None:
    file = tmp_path / "fitted.json"
    numbers = fit_two_stages(made_pools(50), "before", "model")
    assert from_json(as_json(numbers)) == numbers
    update(file, {"first_stage": {"weight": 0.5}})
    store(file, numbers)
    other = TwoStages("other", 1.0, 0.0, Isotonic((0.1, 0.2), (0.0, 1.0)))
    store(file, other)
    newer = TwoStages("before", 2.0, 1.0, Platt(), None, "model")
    store(file, newer)
    assert read_two_stages(file) == [other, newer]
    assert json.loads(file.read_text())["first_stage"] == {"weight": 0.5}
    assert [f.name for f in tmp_path.iterdir()] == ["fitted.json"]


@pytest.mark.parametrize("damaged", ["{", "[]", '{"two_stages": [{}]}', '{"two_stages": [{"logit": -1}]}', '"x"'])
def test_a_damaged_file_is_named_and_left_alone(tmp_path: Path, damaged: str) -> None:
    file = tmp_path / "fitted.json"
    file.write_text(damaged)
    with pytest.raises(CorpusError, match=r"fitted.json: .*fit them again with bicross calibrate, or remove the file"):
        read_two_stages(file)
    with pytest.raises(CorpusError, match=r"fitted\.json"):
        store(file, TwoStages("x", 1.0, 0.0, Platt()))
    assert file.read_text() == damaged

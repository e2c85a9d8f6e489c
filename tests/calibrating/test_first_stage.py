"""Fitting the first stage: it finds the side that is right, and what nothing speaks about stays."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

import bicross
from bicross import BiEncoder, LocalIndex
from bicross.calibrating.first_stage import JudgedQuery, fit_first_stage, judged_query
from bicross.errors import UsageError
from bicross.index.first_stage import FirstStage, Traits
from bicross.training.recipes.fit_first_stage import FITTED_ON, for_fitting


def queries(right: str, traits: Traits, number: int = 40) -> list[JudgedQuery]:
    """Queries of ten documents, one relevant: the side that is ``right`` has it on top, the other one anywhere."""
    rng = np.random.default_rng(7)
    made = []
    for _ in range(number):
        scores = {"dense": rng.uniform(0.2, 0.6, 10), "lexical": rng.uniform(0, 1, 10)}
        relevant = np.arange(10) == scores[right].argmax()
        made.append(JudgedQuery(scores["dense"], scores["lexical"], relevant, traits))
    return made


def test_the_side_that_is_right_gets_the_weight() -> None:
    flat, sharp = Traits(0.0, 0.4, 0.2), Traits(0.0, 0.4, 0.9)
    for right, low, high in (("dense", 0.0, 0.2), ("lexical", 0.6, 1.0)):
        weight = fit_first_stage([queries(right, flat)]).lexical_weight(flat)
        assert low <= weight <= high
    both = fit_first_stage([[*queries("dense", flat), *queries("lexical", sharp)]])
    assert both.lexical_gap > 0
    assert both.lexical_weight(flat) < 0.5 < both.lexical_weight(sharp)


def test_the_order_of_queries_and_documents_does_not_matter() -> None:
    given = queries("lexical", Traits(0.1, 0.3, 0.5), 12)
    turned = [
        replace(q, dense=q.dense[::-1], lexical=q.lexical[::-1], relevant=q.relevant[::-1]) for q in reversed(given)
    ]
    first, second = fit_first_stage([given]), fit_first_stage([turned])
    for name in ("bias", "spelled", "dense_gap", "lexical_gap"):
        assert getattr(first, name) == pytest.approx(getattr(second, name), abs=0.02)


def test_what_the_queries_say_nothing_about_stays() -> None:
    prior = FirstStage(-1.0, 2.5, -4.0, 1.5)
    fitted = fit_first_stage([queries("dense", Traits(0.0, 0.3, 0.5))], prior)
    assert fitted.spelled == prior.spelled  # none of them is in such a script
    assert fitted != prior


def test_nothing_to_fit_to() -> None:
    with pytest.raises(UsageError, match="no judged query is left to fit to"):
        fit_first_stage([[], []])


def test_a_judged_query_is_what_the_index_finds(tmp_path: Path, bi_encoder: BiEncoder, cities: Path) -> None:
    with LocalIndex.create(tmp_path / "index", bi_encoder, chunk_tokens=32) as index:
        index.add(bicross.read_documents([cities]))
        asked = "How many people live in Berlin?"
        row = judged_query(index, asked, {"berlin": 2, "rome": 0})
        assert len(row.dense) == len(row.lexical) == index.count().documents
        assert row.relevant.sum() == 1
        best = row.relevant.argmax()
        hit = next(h for h in bicross.Searcher(index).search(asked, top_k=18).hits if h.document_id == "berlin")
        assert row.dense[best] == pytest.approx(hit.scores["dense"].score, abs=1e-4)
        assert row.lexical.max() == pytest.approx(1.0)
        assert judged_query(index, asked, {"no such document": 1}) is None
        assert judged_query(index, "zweiundvierzig qwertz", {"berlin": 1}) is None


def test_fitted_queries_are_told_by_their_ids_alone() -> None:
    ids = [f"DEV_{i}_QUERY_0" for i in range(3000)]
    chosen = for_fitting("cmrc2018-dev-zh", "test", ids)
    assert len(chosen) == 800
    assert chosen == for_fitting("cmrc2018-dev-zh", "test", reversed(ids))
    assert for_fitting("cmrc2018-dev-zh", "dev", ids) == set()
    assert for_fitting("scifact", "train", ids) == set(ids)
    assert {split for _, split, _ in FITTED_ON} <= {"train", "dev", "test"}

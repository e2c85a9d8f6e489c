"""Pairs by the real models: planted duplicates and paraphrases, and the invariants of any answer."""

from __future__ import annotations

import json
import signal
from itertools import combinations
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from safetensors.numpy import load_file

from bicross import BiEncoder, CrossEncoder, Document, find_pairs
from bicross.encoders.calibration import FILE
from bicross.errors import DocumentError, ModelError, UsageError
from bicross.pairs.finding import LISTED_COPIES

TEXTS = {
    "pump-1": "How do I replace the cooling pump?",
    "pump-2": "how can I replace the cooling pump",
    "pump-3": "What is the way to exchange the pump of the cooling system?",
    "pump-4": "Why does the cooling pump make so much noise?",
    "bread-1": "Let the dough rest for an hour before you bake the bread.",
    "bread-2": "Before baking the bread, let the dough rest for one hour.",
    "bread-3": "Bread was rationed in Britain between 1946 and 1948.",
    "river": "The Elbe flows through Dresden and Hamburg into the North Sea.",
    "river-copy": "The Elbe flows through Dresden and Hamburg into the North Sea.",
    "whales": "Blue whales are the largest animals that have ever lived.",
    "tax": "The tax office wants the form by the end of July.",
    "tax-edited": "The tax office wants the form by the end of June.",
}
DOCUMENTS = [Document(name, text) for name, text in TEXTS.items()]
PLANTED = {("pump-1", "pump-2"), ("bread-1", "bread-2"), ("river", "river-copy"), ("tax", "tax-edited")}


@pytest.fixture(scope="module")
def find(bi_encoder: BiEncoder, cross_encoder: CrossEncoder):
    def find(texts=DOCUMENTS, **options):
        return find_pairs(texts, **{"bi_encoder": bi_encoder, "cross_encoder": cross_encoder, **options})

    return find


@pytest.fixture(scope="module")
def exhaustive(bi_encoder: BiEncoder, cross_encoder: CrossEncoder) -> dict[tuple[str, str], tuple[float, float]]:
    """(mean logit, cosine) of all pairs of different texts, each pair read in both directions."""
    names = sorted(TEXTS)
    pairs = [(a, b) for a, b in combinations(names, 2) if TEXTS[a] != TEXTS[b]]
    vectors = dict(zip(names, bi_encoder.encode_document([TEXTS[name] for name in names]), strict=True))
    forth = cross_encoder.predict([(TEXTS[a], TEXTS[b]) for a, b in pairs])
    back = cross_encoder.predict([(TEXTS[b], TEXTS[a]) for a, b in pairs])
    return {
        (a, b): (float(x + y) / 2, float(vectors[a] @ vectors[b]))
        for (a, b), x, y in zip(pairs, forth, back, strict=True)
    }


def names_of(report) -> list[tuple[str, str]]:
    return [(pair.a, pair.b) for pair in report.pairs]


def test_planted_pairs_are_found_and_nothing_else_of_another_subject(find) -> None:
    report = find()
    assert set(names_of(report)) >= PLANTED
    assert all(a.split("-")[0] == b.split("-")[0] for a, b in names_of(report))
    assert ("bread-1", "bread-3") not in names_of(report)
    assert report.verdict == "joined"
    assert report.pairs[0].cosine == 1
    assert (report.texts, report.distinct, report.exist) == (12, 11, 66)


@pytest.mark.parametrize("threshold", [0.05, 0.3, 0.5, 0.8])
def test_threshold_gives_the_exhaustive_answer(find, exhaustive, threshold: float) -> None:
    report = find(threshold=threshold)
    numbers = json.loads((CrossEncoder().folder / FILE).read_text())["pairs"]
    answer = {("river", "river-copy")}
    for pair, (logit, cosine) in exhaustive.items():
        score = numbers["logit"] * logit + numbers["evidence"] * cosine
        if 1 / (1 + np.exp(-numbers["slope"] * score - numbers["intercept"])) >= threshold:
            answer.add(pair)
    assert set(names_of(report)) == answer
    assert report.candidates == report.scored + report.out_of_reach + report.unread
    assert report.readings < 2 * report.exist


def test_each_number_is_that_of_the_models(find, exhaustive) -> None:
    for pair in find(threshold=0.05).pairs:
        if pair.logit is not None:
            logit, cosine = exhaustive[pair.a, pair.b]
            assert pair.logit == pytest.approx(logit, abs=0.1)  # bf16 rounds otherwise in other batches
            assert pair.cosine == pytest.approx(cosine, abs=0.005)


@pytest.mark.parametrize("top", [1, 3, 6, 1000])
def test_top_gives_the_best_of_all_pairs(find, top: int) -> None:
    every = find(threshold=0.0, neighbours=len(TEXTS))
    assert len(every.pairs) == every.exist
    assert names_of(find(top=top)) == names_of(every)[:top]


@settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.permutations(DOCUMENTS), st.integers(2, len(DOCUMENTS)))
def test_no_self_match_no_mirrored_pair_and_no_order(find, documents: list[Document], count: int) -> None:
    some = documents[:count]
    report, backwards = find(some, threshold=0.2), find(some[::-1], threshold=0.2)
    pairs = names_of(report)
    assert all(a < b for a, b in pairs)
    assert len(set(pairs)) == len(pairs)
    assert report.pairs == backwards.pairs
    assert report.clusters == backwards.clusters
    assert [p.score for p in report.pairs] == sorted((p.score for p in report.pairs), reverse=True)


def test_strings_are_known_by_their_positions(find) -> None:
    texts = ["Whales are large.", "  ", "The tax form is due in July.", "Whales are large.\n"]
    report = find(texts)
    assert names_of(report) == [("0", "3")]
    assert report.empty == ("1",)
    assert report.exist == 3
    assert report.readings == 0


def test_copies_are_paired_without_reading_them(find) -> None:
    copies = [Document(f"copy-{i:03}", "The same boilerplate.") for i in range(LISTED_COPIES + 20)]
    report = find([*copies, Document("other", "Blue whales sing.")])
    listed = LISTED_COPIES * (LISTED_COPIES - 1) // 2
    assert len(report.pairs) == listed + 20
    assert report.unlisted_copies == 20
    assert report.readings == 0
    assert [len(cluster.members) for cluster in report.clusters] == [LISTED_COPIES + 20]
    assert len(set(names_of(report))) == listed + 20


def test_clusters_hold_linked_texts_and_a_member_in_their_middle(find, bi_encoder: BiEncoder) -> None:
    report = find(threshold=0.05)
    linked = {name for pair in names_of(report) for name in pair}
    members = [name for cluster in report.clusters for name in cluster.members]
    assert sorted(members) == sorted(linked)
    for a, b in names_of(report):
        assert any({a, b} <= set(cluster.members) for cluster in report.clusters)
    for cluster in report.clusters:
        vectors = bi_encoder.encode_document([TEXTS[name] for name in cluster.members])
        means = dict(zip(cluster.members, (vectors @ vectors.T).mean(axis=1), strict=True))
        assert means[cluster.representative] == pytest.approx(max(means.values()), abs=0.005)
    assert [len(c.members) for c in report.clusters] == sorted((len(c.members) for c in report.clusters), reverse=True)


def test_without_the_cross_encoder_cosines_decide(find) -> None:
    report = find(rerank=False, threshold=0.7)
    assert set(names_of(report)) >= PLANTED
    assert all(pair.cosine >= 0.7 and pair.score == pair.cosine and pair.logit is None for pair in report.pairs)
    assert {pair.probability for pair in report.pairs} == {None}
    assert (report.verdict, report.readings, report.unread) == ("cosine", 0, 0)


def test_budget_reads_the_most_similar_and_says_what_is_left(find) -> None:
    report = find(threshold=0.05, budget=2)
    assert report.scored == 2
    assert report.unread == report.candidates - 2 > 0
    assert {("pump-1", "pump-2"), ("river", "river-copy")} <= set(names_of(report))


def test_models_without_fitted_numbers_give_the_mean_logit(find, make_bert) -> None:
    other = CrossEncoder(make_bert("other", labels=1))
    report = find(cross_encoder=other, threshold=0.0)
    assert report.verdict == "relevance"
    read = [pair for pair in report.pairs if pair.logit is not None]
    assert read
    for pair in read:
        both = other.predict([(TEXTS[pair.a], TEXTS[pair.b]), (TEXTS[pair.b], TEXTS[pair.a])])
        assert pair.score == pair.logit == pytest.approx(float(both.mean()), abs=0.02)
        assert pair.probability == pytest.approx(float(other.relevance(np.array([pair.score]))[0]), abs=1e-6)
    equal = next(pair for pair in report.pairs if pair.logit is None)
    assert (equal.a, equal.b) == ("river", "river-copy")
    assert equal.score == report.pairs[0].score
    assert equal.probability == 1


def test_another_bi_encoder_does_not_fit_the_numbers(find) -> None:
    short = BiEncoder(truncate_dim=128)
    assert find(bi_encoder=short).verdict == "relevance"


def test_no_logit_exceeds_the_stored_bound() -> None:
    folder = CrossEncoder().folder
    weights = load_file(folder / "model.safetensors")
    head = {name: weights[f"classifier.{name}"].astype(np.float64) for name in ("weight", "bias")}
    bound = np.abs(head["weight"]).sum() + head["bias"].sum()
    assert json.loads((folder / FILE).read_text())["pairs"]["highest_logit"] >= bound


def test_ctrl_c_while_reading_keeps_what_was_found(find) -> None:
    class Interrupted(CrossEncoder):
        def score(self, pairs, **options):
            signal.raise_signal(signal.SIGINT)
            return super().score(pairs, **options)

    # where the tests run in the background of a shell, SIGINT is ignored
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        report = find(cross_encoder=Interrupted())
    finally:
        signal.signal(signal.SIGINT, before)
    assert report.stopped
    assert names_of(report) == [("river", "river-copy")]
    assert report.unread == report.candidates


@pytest.mark.parametrize(
    ("texts", "options", "says"),
    [
        (["one"], {}, "one text; comparing takes two"),
        (["one", " "], {}, "one text besides 1 without text"),
        ([], {}, "no text"),
        ("two words", {}, "texts is one str"),
        (["a", 3], {}, r"texts\[1\] is int"),
        (DOCUMENTS, {"threshold": 1.5}, "threshold is 1.5; it is a probability"),
        (DOCUMENTS, {"threshold": float("nan")}, "threshold is nan"),
        (DOCUMENTS, {"threshold": -0.5}, "threshold is -0.5"),
        (DOCUMENTS, {"rerank": False, "threshold": -1.5}, "a cosine between -1 and 1"),
        (DOCUMENTS, {"top": 0}, "top is 0"),
        (DOCUMENTS, {"neighbours": 0}, "neighbours is 0"),
        (DOCUMENTS, {"budget": 0}, "budget is 0"),
        (DOCUMENTS, {"floor": 2.0}, "floor is 2.0"),
    ],
)
def test_wrong_calls_are_named(find, texts, options, says: str) -> None:
    with pytest.raises(UsageError, match=says):
        find(texts, **options)


def test_one_id_with_two_texts_is_refused_and_twice_the_same_is_one(find) -> None:
    with pytest.raises(DocumentError, match="'tax' comes twice, with different texts"):
        find([*DOCUMENTS, Document("tax", "Something else.")])
    assert find([*DOCUMENTS, DOCUMENTS[0]]).pairs == find().pairs


def test_broken_numbers_are_refused(find, make_bert) -> None:
    folder: Path = make_bert("broken", labels=1)
    for numbers in ({"logit": 1}, {"before_sha256": "x", "logit": 1, "evidence": 0, "slope": 1, "intercept": 0}, [1]):
        (folder / FILE).write_text(json.dumps({"pairs": numbers}))
        with pytest.raises(ModelError, match=FILE):
            find(cross_encoder=CrossEncoder(folder))

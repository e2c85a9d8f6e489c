"""What users rely on: input order, flags for what was cut, errors, threads."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bicross import BiEncoder, CrossEncoder
from bicross.encoders.batching import plan_batches
from bicross.errors import UsageError

QUERY = "How many people live in Berlin?"
ANSWER = "Berlin had a population of 3,520,031 registered inhabitants in an area of 891.82 square kilometers."
MUSEUMS = "Berlin is well known for its museums."


@given(lengths=st.lists(st.integers(1, 600), max_size=300), budget=st.integers(1, 4096))
def test_batches_hold_every_text_once_within_the_budget(lengths: list[int], budget: int) -> None:
    batches = plan_batches(lengths, budget)
    assert sorted(i for batch in batches for i in batch) == list(range(len(lengths)))
    assert all(len(b) == 1 or len(b) * max(lengths[i] for i in b) <= budget for b in batches)


def test_results_come_in_input_order_whatever_the_lengths(bi_encoder: BiEncoder) -> None:
    texts = [f"{'word ' * (i * 37 % 120)}number {i}" for i in range(80)]
    together = bi_encoder.encode_document(texts)
    alone = np.stack([bi_encoder.encode_document(text) for text in texts])
    assert together.shape == (80, 384)
    assert (together * alone).sum(axis=1).min() > 0.999
    assert (np.argmax(together @ alone.T, axis=1) == np.arange(80)).all()


def test_one_string_gives_one_vector_and_none_gives_none(bi_encoder: BiEncoder) -> None:
    assert bi_encoder.encode_query("one").shape == (384,)
    assert bi_encoder.encode_query(["one"]).shape == (1, 384)
    assert bi_encoder.encode_document([]).shape == (0, 384)


def test_similarity_is_a_cosine(bi_encoder: BiEncoder) -> None:
    vectors = bi_encoder.encode_document([ANSWER, MUSEUMS])
    similarity = bi_encoder.similarity(vectors, vectors * 3)
    np.testing.assert_allclose(np.diag(similarity), 1, atol=1e-5)
    assert similarity.shape == (2, 2)


def test_truncation_is_flagged(bi_encoder: BiEncoder, cross_encoder: CrossEncoder) -> None:
    assert bi_encoder.encode(["short", "long " * 500]).truncated.tolist() == [False, True]
    assert cross_encoder.score([(QUERY, "short"), (QUERY, "long " * 900)]).truncated.tolist() == [False, True]


def test_bad_input_is_named(bi_encoder: BiEncoder, cross_encoder: CrossEncoder) -> None:
    with pytest.raises(UsageError, match="the query is empty"):
        bi_encoder.encode_query("  ")
    with pytest.raises(UsageError, match=r"queries\[1\] is empty"):
        bi_encoder.encode_query(["a", ""])
    with pytest.raises(UsageError, match=r"documents\[0\] is int"):
        bi_encoder.encode_document([3])  # type: ignore[list-item]
    with pytest.raises(UsageError, match=r"pairs\[0\] is not a pair"):
        cross_encoder.predict([("only one",)])  # type: ignore[list-item]
    with pytest.raises(UsageError, match=r"pairs\[0\] is empty"):
        cross_encoder.predict([(" ", "text")])
    with pytest.raises(UsageError, match="top_k is 0"):
        cross_encoder.rank("q", ["d"], top_k=0)


def test_the_answer_is_far_above_the_museums(cross_encoder: CrossEncoder) -> None:
    answer, museums = cross_encoder.predict([(QUERY, ANSWER), (QUERY, MUSEUMS)])
    assert answer - museums > 2, "nats"
    relevance = cross_encoder.predict([(QUERY, ANSWER), (QUERY, MUSEUMS)], scores="relevance")
    assert relevance.min() >= 0 and relevance.max() <= 1
    assert relevance[0] > relevance[1]


def test_rank_orders_by_logit(cross_encoder: CrossEncoder) -> None:
    documents = [MUSEUMS, ANSWER, "Bananas are yellow."]
    ranked = cross_encoder.rank(QUERY, documents, top_k=2, return_documents=True)
    assert ranked[0].corpus_id == 1
    assert ranked[0].text == ANSWER
    assert len(ranked) == 2
    assert cross_encoder.rank(QUERY, documents)[0].text is None
    by_relevance = cross_encoder.rank(QUERY, documents, scores="relevance")
    assert [r.corpus_id for r in by_relevance] == [r.corpus_id for r in cross_encoder.rank(QUERY, documents)]
    assert cross_encoder.rank(QUERY, []) == []


@settings(max_examples=20, deadline=None)
@given(texts=st.lists(st.text(max_size=60), min_size=1, max_size=8))
def test_any_text_gets_a_finite_unit_vector(bi_encoder: BiEncoder, texts: list[str]) -> None:
    vectors = bi_encoder.encode_document(texts)
    np.testing.assert_allclose(np.linalg.norm(vectors, axis=1), 1, atol=0.02)


def test_threads_share_the_encoders(bi_encoder: BiEncoder, cross_encoder: CrossEncoder) -> None:
    texts = [[f"thread {t} text {i} " * (i % 7 + 1) for i in range(20)] for t in range(8)]
    expected = [bi_encoder.encode_document(batch) for batch in texts]
    logits = [cross_encoder.predict([(QUERY, text) for text in batch]) for batch in texts]
    with ThreadPoolExecutor(8) as threads:
        found = list(threads.map(bi_encoder.encode_document, texts * 3))
        scored = list(threads.map(lambda b: cross_encoder.predict([(QUERY, text) for text in b]), texts * 3))
    for i, vectors in enumerate(found):
        np.testing.assert_allclose(vectors, expected[i % 8], atol=1e-2)
    for i, row in enumerate(scored):
        np.testing.assert_allclose(row, logits[i % 8], atol=0.1)

"""What users rely on: input order, flags for what was cut, errors, threads."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import bicross
from bicross import BiEncoder, CrossEncoder, Document, Searcher
from bicross.encoders.batching import plan_batches
from bicross.errors import UsageError

QUERY = "How many people live in Berlin?"
ANSWER = "Berlin had a population of 3,520,031 registered inhabitants in an area of 891.82 square kilometers."
MUSEUMS = "Berlin is well known for its museums."


@given(lengths=st.lists(st.integers(1, 600), max_size=300), budget=st.integers(1, 4096), streams=st.integers(1, 16))
def test_batches_hold_every_text_once_within_the_budget(lengths: list[int], budget: int, streams: int) -> None:
    batches = plan_batches(lengths, budget, streams)
    assert sorted(i for batch in batches for i in batch) == list(range(len(lengths)))
    assert all(len(b) == 1 or len(b) * max(lengths[i] for i in b) <= budget for b in batches)


def test_little_work_is_cut_small() -> None:
    assert [len(batch) for batch in plan_batches([200] * 8, 1024, 2)] == [1] * 8
    assert [len(batch) for batch in plan_batches([60] * 8, 1024, 2)] == [2] * 4
    assert len(plan_batches([200] * 1000, 1024, 2)) == 200


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


def test_a_stream_is_encoded_like_a_list(bi_encoder: BiEncoder, monkeypatch: pytest.MonkeyPatch) -> None:
    texts = [f"{'word ' * (i % 9)}number {i}" for i in range(50)]
    expected = bi_encoder.encode(texts)
    monkeypatch.setattr("bicross.encoders.batching.WINDOW", 8)  # several windows, the next one tokenised ahead
    vectors = bi_encoder.encode_document(text for text in texts)
    assert vectors.shape == (50, 384)
    assert (vectors * expected.embeddings).sum(axis=1).min() > 0.9999
    blocks = list(bi_encoder.encode_stream(iter(texts)))
    assert [len(block.embeddings) for block in blocks] == [8, 8, 8, 8, 8, 8, 2]
    assert sum(block.tokens for block in blocks) == expected.tokens
    with pytest.raises(UsageError, match=r"documents\[41\] is int"):
        bi_encoder.encode_document(41 if i == 41 else text for i, text in enumerate(texts))  # type: ignore[misc]
    assert bi_encoder.encode_document(iter(())).shape == (0, 384)


def test_a_stream_is_read_as_it_is_needed(bi_encoder: BiEncoder, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("bicross.encoders.batching.WINDOW", 4)
    read = 0

    def source():
        nonlocal read
        while True:  # a list of it would never end
            read += 1
            yield f"text {read}"

    blocks = bi_encoder.encode_stream(source())
    next(blocks)
    assert read <= 12, "one window for the caller, one being tokenised, one more to see that it goes on"
    blocks.close()


def test_truncate_dim_keeps_the_first_numbers_and_unit_length(bi_encoder: BiEncoder) -> None:
    whole = bi_encoder.encode_document([ANSWER, MUSEUMS])
    short = BiEncoder(truncate_dim=64)
    vectors = short.encode_document([ANSWER, MUSEUMS])
    assert short.dimension == 64
    assert short.identity != bi_encoder.identity
    expected = whole[:, :64] / np.linalg.norm(whole[:, :64], axis=1, keepdims=True)
    np.testing.assert_allclose(vectors, expected, atol=2e-3)
    for wrong in (0, 385, 64.0):
        with pytest.raises(UsageError, match=f"truncate_dim is {wrong}"):
            BiEncoder(truncate_dim=wrong)


def test_an_index_of_short_vectors_is_opened_with_them(tmp_path: Path) -> None:
    with bicross.create(tmp_path / "index", truncate_dim=64) as index:
        index.add([Document("a", ANSWER), Document("m", MUSEUMS)])
    with bicross.open(tmp_path / "index", model="all-MiniLM-L6-v2") as index:
        assert index.embedder.dimension == 64
        assert Searcher(index, CrossEncoder()).two_stages() is None, "its weights were fitted on whole vectors"
        assert Searcher(index).search(QUERY).hits[0].document_id == "a"


def test_threads_share_the_encoders(bi_encoder: BiEncoder, cross_encoder: CrossEncoder) -> None:
    texts = [[f"thread {t} text {i} " * (i % 7 + 1) for i in range(20)] for t in range(8)]
    expected = [bi_encoder.encode_document(batch) for batch in texts]
    logits = [cross_encoder.predict([(QUERY, text) for text in batch]) for batch in texts]
    with ThreadPoolExecutor(16) as threads:
        found = list(threads.map(bi_encoder.encode_document, texts * 3))
        scored = list(threads.map(lambda b: cross_encoder.predict([(QUERY, text) for text in b]), texts * 3))
    for i, vectors in enumerate(found):
        np.testing.assert_allclose(vectors, expected[i % 8], atol=1e-2)
    for i, row in enumerate(scored):
        np.testing.assert_allclose(row, logits[i % 8], atol=0.1)

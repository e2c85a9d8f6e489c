"""Chunks are cut at sentence ends, fit the budget, and point at the exact source text."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bicross import BiEncoder, Document
from bicross.documents import chunk_document

WORDS = [
    "Berlin",
    "has",
    "3,520,031",
    "people",
    ".",
    "!",
    "?",
    " ",
    "\n\n",
    "\t",
    "柏林",
    "有",
    "。",
    "！",
    "é",
    "🙂",
    "안녕하세요",
    "Donaudampfschifffahrtsgesellschaft",
    "x" * 90,
    '"',
]
TEXTS = st.one_of(st.lists(st.sampled_from(WORDS), max_size=120).map("".join), st.text(max_size=200))


@settings(max_examples=200, deadline=None)
@given(
    text=TEXTS,
    title=st.sampled_from(["", "Title", "A rather long title with many words in it"]),
    budget=st.integers(8, 40),
)
def test_chunks_point_at_the_source_and_lose_nothing(bi_encoder: BiEncoder, text: str, title: str, budget: int) -> None:
    document = Document("d", text, title)
    chunks = chunk_document(document, budget, bi_encoder.token_spans)
    covered = set()
    for number, chunk in enumerate(chunks):
        assert text[chunk.start : chunk.end] == chunk.text
        assert chunk.id == f"d#{number}"
        assert not covered & set(range(chunk.start, chunk.end)), "chunks overlap"
        covered |= set(range(chunk.start, chunk.end))
    lost = [text[i] for i in range(len(text)) if i not in covered]
    assert not "".join(lost).strip()
    if text.strip() or title:
        assert chunks


@settings(max_examples=100, deadline=None)
@given(text=TEXTS, budget=st.integers(8, 40))
def test_chunks_fit_the_budget(bi_encoder: BiEncoder, text: str, budget: int) -> None:
    for chunk in chunk_document(Document("d", text), budget, bi_encoder.token_spans):
        assert len(bi_encoder.token_spans(chunk.text)) <= budget


def test_sentences_stay_whole_in_english_and_chinese(bi_encoder: BiEncoder) -> None:
    english = "The first sentence is here. The second one follows it. And a third one comes right at the very end."
    chunks = chunk_document(Document("d", english), 8, bi_encoder.token_spans)
    assert [c.text for c in chunks] == [
        "The first sentence is here.",
        "The second one follows it.",
        "And a third one comes right at the",
        "very end.",
    ]
    chinese = "柏林是德国首都。它有很多博物馆！你去过吗？"
    chunks = chunk_document(Document("d", chinese), 9, bi_encoder.token_spans)
    assert [c.text for c in chunks] == ["柏林是德国首都。", "它有很多博物馆！", "你去过吗？"]


def test_a_title_alone_is_a_chunk(bi_encoder: BiEncoder) -> None:
    (chunk,) = chunk_document(Document("d", "", "Only a title"), 32, bi_encoder.token_spans)
    assert chunk.embedded_text.strip() == "Only a title"


def test_tiny_budgets_are_refused(bi_encoder: BiEncoder) -> None:
    with pytest.raises(ValueError, match="at least 8"):
        chunk_document(Document("d", "text"), 7, bi_encoder.token_spans)

"""Chunks are cut at sentence ends and headings, fit the budget, and point at the exact source text."""

from __future__ import annotations

from itertools import pairwise
from time import perf_counter

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bicross import BiEncoder, Document
from bicross.documents import Chunk, chunk_document
from bicross.documents.sentences import sentences

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
    "︒",
    "」",
    "！",
    "é",
    "🙂",
    "안녕하세요",
    "Donaudampfschifffahrtsgesellschaft",
    "x" * 90,
    '"',
]
TEXTS = st.one_of(st.lists(st.sampled_from(WORDS), max_size=120).map("".join), st.text(max_size=200))
HEADINGS = ["\n# Cities\n", "\n## 柏林 🙂\n", "\n### A heading of some more words than others have\n", "# ", "\n"]
MARKDOWN = st.lists(st.sampled_from([*WORDS, *HEADINGS, "A short sentence. ", "它有很多博物馆！"]), max_size=80).map(
    "".join
)
TITLES = st.sampled_from(["", "Title", "A rather long title with many words in it"])


def words(text: str) -> list[tuple[int, int]]:
    """A simple tokeniser: a token a word."""
    spans, at = [], 0
    for word in text.split():
        at = text.index(word, at)
        spans.append((at, at + len(word)))
        at += len(word)
    return spans


@settings(max_examples=200, deadline=None)
@given(text=TEXTS, title=TITLES, budget=st.integers(8, 40))
def test_chunks_point_at_the_source_and_lose_nothing(bi_encoder: BiEncoder, text: str, title: str, budget: int) -> None:
    document = Document("d", text, title)
    chunks = chunk_document(document, budget, bi_encoder.token_spans)
    check(document, chunks)
    assert all(before.end <= after.start for before, after in pairwise(chunks)), "chunks overlap"
    if text.strip() or title:
        assert chunks


@settings(max_examples=200, deadline=None)
@given(text=MARKDOWN, title=TITLES, budget=st.integers(8, 40), share=st.floats(0, 0.5))
def test_overlaps_are_bounded(bi_encoder: BiEncoder, text: str, title: str, budget: int, share: float) -> None:
    overlap = int(budget * share)
    document = Document("d", text, title)
    chunks = chunk_document(document, budget, bi_encoder.token_spans, overlap)
    check(document, chunks)
    left = budget - min(len(bi_encoder.token_spans(title)), budget // 2)
    for before, after in pairwise(chunks):
        assert before.start < after.start
        assert before.end < after.end
        repeated = bi_encoder.token_spans(text[after.start : before.end])
        assert len(repeated) <= min(overlap, left // 2)


def check(document: Document, chunks: list[Chunk]) -> None:
    """What holds for any chunks: they are the source's text, and all of it."""
    covered = set()
    for number, chunk in enumerate(chunks):
        assert document.text[chunk.start : chunk.end] == chunk.text
        assert chunk.id == f"d#{number}"
        covered |= set(range(chunk.start, chunk.end))
    lost = [character for place, character in enumerate(document.text) if place not in covered]
    assert not "".join(lost).strip()


@settings(max_examples=200, deadline=None)
@given(text=st.one_of(TEXTS, MARKDOWN), budget=st.integers(8, 40), share=st.floats(0, 0.5))
def test_chunks_fit_the_budget(bi_encoder: BiEncoder, text: str, budget: int, share: float) -> None:
    for chunk in chunk_document(Document("d", text), budget, bi_encoder.token_spans, int(budget * share)):
        assert len(bi_encoder.token_spans(chunk.text)) <= budget


@settings(max_examples=200, deadline=None)
@given(text=MARKDOWN, budget=st.integers(8, 40))
def test_no_heading_stands_alone_where_it_fits(text: str, budget: int) -> None:
    ends = {chunk.end for chunk in chunk_document(Document("d", text), budget, words)}
    for heading, below in pairwise(sentences(text)):
        if heading.heading and not below.heading and len(words(text[heading.start : below.end])) <= budget:
            assert heading.end not in ends


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
    quoted = "「東京は首都です。」人口は多い︒はい"
    chunks = chunk_document(Document("d", quoted), 11, bi_encoder.token_spans)
    assert [c.text for c in chunks] == ["「東京は首都です。」", "人口は多い︒はい"]


def cut(text: str, budget: int, overlap: int = 0) -> list[str]:
    return [chunk.text for chunk in chunk_document(Document("d", text), budget, words, overlap)]


def test_headings_begin_chunks_and_stay_with_their_text() -> None:
    assert cut("One two three four.\n# Five\nSix seven.", 8) == ["One two three four.", "# Five\nSix seven."]
    # not half full: the heading does not end the chunk
    assert cut("One two.\n# Three\nFour five.", 8) == ["One two.\n# Three\nFour five."]
    # the heading would fit, its text does not
    text = "One two.\n# Three\nFour five six seven eight."
    assert cut(text, 8) == ["One two.", "# Three\nFour five six seven eight."]
    # headings above each other stay together
    assert cut("One two three.\n# A\n## B\nFour five.", 8) == ["One two three.", "# A\n## B\nFour five."]
    # a long text below is cut so that the heading stays with its beginning
    assert cut("One two three.\n# A\n" + "x " * 12, 8) == ["One two three.", "# A\nx x x x x x", "x x x x x x"]
    assert cut("# A\n# B", 8) == ["# A\n# B"]
    assert cut("not #a heading at all.\n#hash tag.\nEnd.", 8) == ["not #a heading at all.\n#hash tag.\nEnd."]


def test_overlap_repeats_whole_sentences() -> None:
    text = "A b c. D e. F g. H i j k. L m n o p q. R s t."
    assert cut(text, 8) == ["A b c. D e. F g.", "H i j k.", "L m n o p q.", "R s t."]
    assert cut(text, 8, 4) == ["A b c. D e. F g.", "D e. F g. H i j k.", "L m n o p q.", "R s t."]
    assert cut(text, 8, 3) == ["A b c. D e. F g.", "F g. H i j k.", "L m n o p q.", "R s t."]
    # parts of a sentence are not repeated
    assert cut("x " * 12 + ". End.", 8, 4) == ["x x x x x x x x", "x x x x . End."]


@pytest.mark.parametrize("overlap", [-1, 5])
def test_overlaps_out_of_range_are_refused(overlap: int) -> None:
    with pytest.raises(ValueError, match=r"overlap is .*; it can be 0 to 4"):
        cut("text", 8, overlap)


def test_pages() -> None:
    text = "One two three.\n\fFour five six. Seven\n\feight nine ten."
    document = Document("d", text, pages=(0, text.index("Four"), text.index("eight")))
    chunks = chunk_document(document, 8, words)
    assert [(c.text, c.page) for c in chunks] == [
        ("One two three.", 1),
        ("Four five six. Seven", 2),
        ("eight nine ten.", 3),
    ]
    assert {c.page for c in chunk_document(Document("d", text), 8, words)} == {None}


def test_a_title_alone_is_a_chunk(bi_encoder: BiEncoder) -> None:
    (chunk,) = chunk_document(Document("d", "", "Only a title"), 32, bi_encoder.token_spans)
    assert chunk.embedded_text.strip() == "Only a title"


def test_tiny_budgets_are_refused(bi_encoder: BiEncoder) -> None:
    with pytest.raises(ValueError, match="at least 8"):
        chunk_document(Document("d", "text"), 7, bi_encoder.token_spans)


@pytest.mark.parametrize("piece", ["word ", ".", "\n ", "x", '."', "# a\n", "。", "\n"])
def test_long_texts_take_linear_time(piece: str) -> None:
    """A megabyte without any sentence end took minutes where a pattern looked at each run again and again."""
    text = piece * (1_000_000 // len(piece)) + "x"
    started = perf_counter()
    chunks = chunk_document(Document("d", text), 256, words, 64)
    assert perf_counter() - started < 10
    assert chunks[-1].end == len(text)

"""Texts beyond the limit: what is kept, what is cut, and that it is said."""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bicross import BiEncoder, CrossEncoder
from bicross.encoders.tokenising import TextTokeniser
from bicross.errors import UsageError

QUERY = "How many people live in Berlin?"
ANSWER = "Berlin had a population of 3,520,031 registered inhabitants in an area of 891.82 square kilometers."
FILLER = "The museums of the city are open on every day of the week, and so are its parks. "


def words(count: int) -> str:
    return " ".join(["word"] * count)  # one token each


@lru_cache
def distinct_words(folder: Path) -> list[str]:
    """Words that are one token each."""
    vocabulary = (folder / "vocab.txt").read_text(encoding="utf-8").split()
    return [word for word in vocabulary if word.isascii() and word.isalpha()][:400]


def test_lost_tokens_are_counted(bi_encoder: BiEncoder, cross_encoder: CrossEncoder) -> None:
    encoded = bi_encoder.encode(["short", words(500)])
    assert encoded.truncated.tolist() == [False, True]
    assert encoded.lost.tolist() == [0, 500 - 254]
    scored = cross_encoder.score([("word", "short"), ("word", words(900))])
    assert scored.truncated.tolist() == [False, True]
    assert scored.lost.tolist() == [0, 901 - (cross_encoder.max_tokens - 3)]


@settings(max_examples=200, deadline=None)
@given(query=st.integers(1, 80), document=st.integers(1, 120), limit=st.integers(12, 64))
def test_the_query_is_kept_whole_up_to_a_quarter(minilm_folder: Path, query: int, document: int, limit: int) -> None:
    (item,), _ = TextTokeniser(minilm_folder, limit).pairs([(words(query), words(document))], "truncate", str)
    assert len(item) == min(limit, query + document + 3)
    assert item.lost == query + document + 3 - len(item)
    kept_query = int(np.flatnonzero(item.ids == item.ids[-1])[0]) - 1  # up to the first [SEP]
    assert kept_query >= min(query, limit // 4)
    assert item.types.tolist() == [0] * (kept_query + 2) + [1] * (len(item) - kept_query - 2)
    if query > limit // 4 and item.lost:
        assert kept_query == max(limit // 4, min(query, limit - 3 - document)), "only what the document leaves"


@settings(max_examples=200, deadline=None)
@given(query=st.integers(1, 40), document=st.integers(1, 400), limit=st.integers(12, 64))
def test_passages_cover_the_whole_document(minilm_folder: Path, query: int, document: int, limit: int) -> None:
    tokeniser = TextTokeniser(minilm_folder, limit)
    text = " ".join(distinct_words(minilm_folder)[:document])
    items, owners = tokeniser.pairs([("first", "x"), (words(query), text)], "max_passage", str)
    assert owners.tolist() == [0] + [1] * (len(items) - 1)
    (whole,) = TextTokeniser(minilm_folder, 512).texts([text], str)
    passages = [item.ids[item.types == 1][:-1].tolist() for item in items[1:]]
    assert all(len(item) <= limit for item in items)
    tokens = whole.ids[1:-1].tolist()
    assert sum(map(len, passages)) >= len(tokens)
    joined, at = [], 0
    for passage in passages:  # each begins inside or right behind what is covered so far
        start = next(s for s in range(max(0, at - len(passage)), at + 1) if tokens[s : s + len(passage)] == passage)
        joined[start:] = passage
        at = start + len(passage)
    assert joined == tokens


def test_the_answer_at_the_end_is_found_by_max_passage(cross_encoder: CrossEncoder) -> None:
    document = FILLER * 60 + ANSWER
    cut = cross_encoder.score([(QUERY, document)])
    assert cut.truncated[0]
    reading_all = CrossEncoder(on_long="max_passage").score([(QUERY, document), (QUERY, ANSWER)])
    assert reading_all.lost.tolist() == [0, 0]
    assert reading_all.logits[0] > cut.logits[0] + 1
    assert reading_all.tokens > 2 * cut.tokens


def test_on_long_error_names_the_pair() -> None:
    strict = CrossEncoder(on_long="error", max_tokens=32)
    with pytest.raises(UsageError, match=r"pairs\[1\] has 42 tokens and the model reads 29; shorten it"):
        strict.predict([("word", "fine"), ("word word", words(40))])
    assert strict.predict([("word", "fine")]).shape == (1,)


def test_a_long_query_does_not_push_the_document_out() -> None:
    model = CrossEncoder(max_tokens=64)
    logits = model.predict([(QUERY + " " + words(300), ANSWER), (QUERY + " " + words(300), "Bananas are yellow.")])
    assert logits[0] > logits[1]

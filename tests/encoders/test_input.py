"""Input that nobody means to give: each gets a clear error that names it, and the encoder goes on working."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bicross import BiEncoder, CrossEncoder, quantise
from bicross.encoders.tokenising import TextTokeniser
from bicross.errors import UsageError

#: Every character that there is, lone halves of surrogate pairs among them.
ANY_TEXT = st.text(st.characters(exclude_categories=()), max_size=60)


def has_lone_surrogate(text: str) -> bool:
    return any("\ud800" <= character <= "\udfff" for character in text)


@settings(max_examples=100, deadline=None)
@given(texts=st.lists(ANY_TEXT, max_size=6))
def test_any_text_gets_a_unit_vector_or_an_error_that_names_it(bi_encoder: BiEncoder, texts: list[str]) -> None:
    bad = [i for i, text in enumerate(texts) if not text.strip()]
    bad = bad or [i for i, text in enumerate(texts) if has_lone_surrogate(text)]
    if bad:
        with pytest.raises(UsageError, match=rf"documents\[{bad[0]}\]"):
            bi_encoder.encode_document(texts)
    else:
        vectors = bi_encoder.encode_document(texts)
        assert vectors.shape == (len(texts), 384)
        np.testing.assert_allclose(np.linalg.norm(vectors, axis=1), 1, atol=0.02)


@settings(max_examples=100, deadline=None)
@given(pairs=st.lists(st.tuples(ANY_TEXT, ANY_TEXT), max_size=6))
def test_any_pair_gets_a_number_or_an_error_that_names_it(
    cross_encoder: CrossEncoder, pairs: list[tuple[str, str]]
) -> None:
    empty = [i for i, pair in enumerate(pairs) if not all(text.strip() for text in pair)]
    halves = [i for i, pair in enumerate(pairs) if any(map(has_lone_surrogate, pair))]
    if empty or halves:
        named = rf"pairs\[{empty[0]}\]" if empty else "|".join(rf"pairs\[{i}\]" for i in halves)
        with pytest.raises(UsageError, match=named):
            cross_encoder.predict(pairs)
    else:
        assert np.isfinite(cross_encoder.predict(pairs)).all()


@settings(max_examples=200, deadline=None)
@given(text=st.text(min_size=1, max_size=200), limit=st.integers(8, 40))
def test_tokens_are_those_of_the_library_cut_to_the_limit(minilm_folder, text: str, limit: int) -> None:
    from tokenizers import Tokenizer

    library = Tokenizer.from_file(str(minilm_folder / "tokenizer.json"))
    library.no_padding()
    library.no_truncation()
    whole = library.encode(text)
    library.enable_truncation(limit)
    (item,) = TextTokeniser(minilm_folder, limit).texts([text], str)
    assert item.ids.tolist() == library.encode(text).ids
    assert item.lost == max(0, len(whole.ids) - limit)


@pytest.mark.parametrize(
    ("texts", "message"),
    [
        ([""], r"documents\[0\] is empty"),
        (["a", " \n\t"], r"documents\[1\] is empty"),
        (["a", None], r"documents\[1\] is NoneType, not a string"),
        (["a", b"bytes"], r"documents\[1\] is bytes, not a string"),
        ([["nested"]], r"documents\[0\] is list, not a string"),
        (["fine", "half a pair \ud83d"], r"documents\[1\] has half a surrogate pair at character 12"),
        (7, "documents are int, not strings"),
    ],
)
def test_documents_that_cannot_be_embedded(bi_encoder: BiEncoder, texts: object, message: str) -> None:
    before = bi_encoder.encode_document("it goes on working")
    with pytest.raises(UsageError, match=message):
        bi_encoder.encode_document(texts)  # type: ignore[call-overload]
    np.testing.assert_array_equal(bi_encoder.encode_document("it goes on working"), before)


@pytest.mark.parametrize(
    ("pairs", "message"),
    [
        ([("q",)], r"pairs\[0\] is not a pair"),
        ([("q", "d", "e")], r"pairs\[0\] is not a pair"),
        (["qd"], r"pairs\[0\] is not a pair"),
        ([("q", "d"), 3], r"pairs\[1\] is not a pair"),
        ([("q", "d"), ("q", 3)], r"the document of pairs\[1\] is int"),
        ([(None, "d")], r"the query of pairs\[0\] is NoneType"),
        ([("", "d")], r"the query of pairs\[0\] is empty"),
        ([("q", " ")], r"the document of pairs\[0\] is empty"),
        ([("q", "d"), ("q", "\udc00")], r"the document of pairs\[1\] has half a surrogate pair"),
        ([("q", "d"), ("q\udc00", "d")], r"the query of pairs\[1\] has half a surrogate pair"),
        ("a string", "pairs is one string"),
    ],
)
def test_pairs_that_cannot_be_scored(cross_encoder: CrossEncoder, pairs: object, message: str) -> None:
    before = cross_encoder.predict([("it goes on", "working")])
    with pytest.raises(UsageError, match=message):
        cross_encoder.predict(pairs)  # type: ignore[arg-type]
    np.testing.assert_array_equal(cross_encoder.predict([("it goes on", "working")]), before)


@pytest.mark.parametrize("text", ["😀🚀🎉", "a\x00b\x00", "\x00", "word " * 200_000, "x" * 1_000_000, "ﷺ" * 100])
def test_odd_texts_are_read(bi_encoder: BiEncoder, cross_encoder: CrossEncoder, text: str) -> None:
    encoded = bi_encoder.encode([text])
    assert np.isfinite(encoded.embeddings).all()
    assert np.isfinite(cross_encoder.predict([("query", text)])).all()


def test_nothing_gives_nothing(bi_encoder: BiEncoder, cross_encoder: CrossEncoder) -> None:
    assert bi_encoder.encode_query([]).shape == (0, 384)
    assert cross_encoder.predict([]).shape == (0,)


def test_unknown_settings_are_named(minilm_folder) -> None:
    with pytest.raises(UsageError, match="precision 'int3' is unknown"):
        BiEncoder(precision="int3")
    with pytest.raises(UsageError, match="on_long 'ignore' is unknown"):
        CrossEncoder(on_long="ignore")  # type: ignore[arg-type]
    with pytest.raises(UsageError, match="device 'tpu' is unknown"):
        BiEncoder(device="tpu")
    with pytest.raises(UsageError, match="scores 'percent' is unknown"):
        CrossEncoder().predict([("q", "d")], scores="percent")  # type: ignore[arg-type]
    with pytest.raises(UsageError, match="output 'float8' is unknown"):
        BiEncoder().encode_document(["a"], output="float8")  # type: ignore[call-overload]


def test_one_string_is_no_list(cross_encoder: CrossEncoder) -> None:
    with pytest.raises(UsageError, match="documents is one string"):
        cross_encoder.rank("q", "abcdef")
    with pytest.raises(UsageError, match="texts is one string"):
        quantise("all-MiniLM-L6-v2", "one long string")
    with pytest.raises(UsageError, match=r"texts\[0\] is int"):
        quantise("all-MiniLM-L6-v2", [1] * 50)  # type: ignore[list-item]


def test_a_gpu_that_is_not_there_is_named() -> None:
    import torch

    if torch.cuda.is_available():
        pytest.skip("there is a GPU")
    with pytest.raises(UsageError, match="device 'cuda' cannot be used"):
        BiEncoder(device="cuda")

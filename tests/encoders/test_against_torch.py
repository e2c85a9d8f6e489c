"""The graphs compute what torch computes with the same weights."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import sentence_transformers
import torch
from sentence_transformers.sentence_transformer import modules

from bicross import BiEncoder, CrossEncoder
from bicross.encoders.engines import resolve_precision
from bicross.errors import ModelError, UsageError

TEXTS = [
    "How many people live in Berlin?",
    "Berlin had a population of 3,520,031 registered inhabitants in an area of 891.82 square kilometers.",
    "柏林是德国的首都。",
    "a",
    "The wing in a slipstream. " * 100,
]
PAIRS = [(TEXTS[0], text) for text in TEXTS[1:]] + [("museum", "Berlin is well known for its museums.")]


def has_bf16() -> bool:
    return resolve_precision("auto") == "bf16"


def test_bi_encoder_in_f32(minilm_folder: Path) -> None:
    expected = sentence_transformers.SentenceTransformer(str(minilm_folder)).encode(TEXTS)
    found = BiEncoder(minilm_folder, precision="f32").encode_document(TEXTS)
    assert found.dtype == np.float32
    assert (found * expected).sum(axis=1).min() >= 0.9999
    np.testing.assert_allclose(found, expected, atol=1e-4)


@pytest.mark.skipif(not has_bf16(), reason="this CPU does not compute in bf16")
def test_bi_encoder_in_bf16(minilm_folder: Path) -> None:
    expected = sentence_transformers.SentenceTransformer(str(minilm_folder)).encode(TEXTS)
    found = BiEncoder(minilm_folder, precision="bf16").encode_document(TEXTS)
    assert (found * expected).sum(axis=1).min() >= 0.9995


@pytest.mark.parametrize("pooling", ["mean", "cls", "max"])
@pytest.mark.parametrize("normalise", [True, False])
def test_pooling_and_normalising(make_bert: Callable[..., Path], tmp_path: Path, pooling: str, normalise: bool) -> None:
    body = modules.Transformer(str(make_bert(hidden_act="gelu_new")), max_seq_length=24)
    parts = [body, modules.Pooling(32, pooling_mode=pooling)] + ([modules.Normalize()] if normalise else [])
    model = sentence_transformers.SentenceTransformer(modules=parts, prompts={"query": "query: ", "document": "text: "})
    model.save(str(tmp_path / "saved"))
    ours = BiEncoder(tmp_path / "saved", precision="f32")
    assert (ours.pooling, ours.normalise, ours.max_tokens) == (pooling, normalise, 24)
    np.testing.assert_allclose(ours.encode_query(TEXTS), model.encode_query(TEXTS), atol=1e-3, rtol=1e-3)
    np.testing.assert_allclose(ours.encode_document(TEXTS), model.encode_document(TEXTS), atol=1e-3, rtol=1e-3)


def test_our_cross_encoder_in_f32(cross_encoder: CrossEncoder) -> None:
    theirs = sentence_transformers.CrossEncoder(str(cross_encoder.folder), model_kwargs={"dtype": torch.float32})
    expected = theirs.predict(PAIRS, activation_fn=torch.nn.Identity())
    found = CrossEncoder(cross_encoder.folder, precision="f32").predict(PAIRS)
    assert found.dtype == np.float32
    np.testing.assert_allclose(found, expected, atol=1e-3)


def test_random_cross_encoder_in_f32(make_bert: Callable[..., Path]) -> None:
    folder = make_bert(labels=1)
    theirs = sentence_transformers.CrossEncoder(str(folder), max_length=64)
    expected = theirs.predict(PAIRS, activation_fn=torch.nn.Identity())
    np.testing.assert_allclose(CrossEncoder(folder, precision="f32").predict(PAIRS), expected, atol=1e-3)
    relevance = theirs.predict(PAIRS, activation_fn=torch.nn.Sigmoid())
    found = CrossEncoder(folder, precision="f32").predict(PAIRS, scores="relevance")
    np.testing.assert_allclose(found, relevance, atol=1e-3)


def test_models_that_cannot_be_built_say_why(make_bert: Callable[..., Path]) -> None:
    with pytest.raises(ModelError, match="no classification head"):
        CrossEncoder(make_bert("body"))
    with pytest.raises(ModelError, match="hidden_act 'silu'"):
        BiEncoder(make_bert("silu", hidden_act="silu"))
    with pytest.raises(UsageError, match="precision 'int3'"):
        BiEncoder(make_bert("fine"), precision="int3")

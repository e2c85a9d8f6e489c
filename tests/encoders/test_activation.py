"""The activation that a configuration names is honoured when asked for, once, and never makes the order."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import sentence_transformers
import torch

from bicross import CrossEncoder
from bicross.errors import ModelError

PAIRS = [("how many people", text) for text in ("many", "few people live here", "bananas")]


def with_activation(folder: Path, settings: dict[str, object]) -> Path:
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(config | settings))
    return folder


@pytest.mark.parametrize("labels", [1, 3])
@pytest.mark.parametrize(
    "settings",
    [
        {},
        {"sentence_transformers": {"activation_fn": "torch.nn.modules.linear.Identity"}},
        {"sentence_transformers": {"activation_fn": "torch.nn.modules.activation.Sigmoid"}},
        {"sbert_ce_default_activation_function": "torch.nn.modules.activation.Tanh"},
    ],
)
def test_as_predict_of_sentence_transformers(
    make_bert: Callable[..., Path], labels: int, settings: dict[str, object]
) -> None:
    folder = with_activation(make_bert(labels=labels), settings)
    theirs = sentence_transformers.CrossEncoder(str(folder), max_length=64, device="cpu")
    ours = CrossEncoder(folder, precision="f32")
    np.testing.assert_allclose(ours.predict(PAIRS, scores="activated"), theirs.predict(PAIRS), atol=1e-4)
    raw = theirs.predict(PAIRS, activation_fn=torch.nn.Identity())
    np.testing.assert_allclose(ours.predict(PAIRS), raw, atol=1e-3)
    if labels == 1:
        expected = 1 / (1 + np.exp(-raw))  # never the sigmoid of a sigmoid
        np.testing.assert_allclose(ours.predict(PAIRS, scores="relevance"), expected, atol=1e-3)


def test_large_logits_keep_their_order_where_the_activation_saturates(make_bert: Callable[..., Path]) -> None:
    from safetensors.numpy import load_file, save_file

    folder = make_bert(labels=1)
    weights = load_file(folder / "model.safetensors")
    weights["classifier.weight"] = weights["classifier.weight"] * 0 + 1e-6 * np.arange(32, dtype=np.float32)
    weights["classifier.bias"] = weights["classifier.bias"] * 0 + 60
    save_file(weights, folder / "model.safetensors", {"format": "pt"})
    model = CrossEncoder(folder, precision="f32")
    assert (model.predict(PAIRS, scores="activated") == 1).all()
    ranked = model.rank(PAIRS[0][0], [text for _, text in PAIRS], scores="activated")
    logits = model.predict(PAIRS)
    assert [r.corpus_id for r in ranked] == np.argsort(-logits, kind="stable").tolist()


def test_an_unknown_activation_is_only_an_error_when_asked_for(make_bert: Callable[..., Path]) -> None:
    settings = {"sentence_transformers": {"activation_fn": "somewhere.Special"}}
    model = CrossEncoder(with_activation(make_bert(labels=1), settings))
    assert model.predict(PAIRS).shape == (3,)
    with pytest.raises(ModelError, match=r"activation 'somewhere.Special' is not supported"):
        model.predict(PAIRS, scores="activated")


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_weights_that_are_no_numbers_are_named(make_bert: Callable[..., Path], value: float) -> None:
    from safetensors.numpy import load_file, save_file

    folder = make_bert(labels=1)
    weights = load_file(folder / "model.safetensors")
    weights["bert.encoder.layer.1.output.dense.weight"][3, 4] = value
    save_file(weights, folder / "model.safetensors", {"format": "pt"})
    with pytest.raises(ModelError, match=r"tensor 'bert.encoder.layer.1.output.dense.weight' holds NaN"):
        CrossEncoder(folder)

"""Folders with an OpenVINO or ONNX file run as they are."""

from __future__ import annotations

import json
import shutil
import warnings
from collections.abc import Callable
from pathlib import Path

import numpy as np
import openvino as ov
import pytest
import torch
import transformers

from bicross import BiEncoder, CrossEncoder
from bicross.encoders.loading import find_model
from bicross.errors import ModelError

TEXTS = ["Berlin had a population of 3,520,031.", "short", "a longer text about museums and rivers " * 6]
PAIRS = [("how many people", text) for text in TEXTS]
INPUTS = ("input_ids", "attention_mask", "token_type_ids")


def export(folder: Path, kind: str, *, pairs: bool) -> Path:
    """A folder like ``folder`` with the exported file in place of the weights."""
    loader = transformers.AutoModelForSequenceClassification if pairs else transformers.AutoModel
    model = loader.from_pretrained(folder, attn_implementation="eager").eval()
    target = folder.with_name(f"{folder.name}-{kind}")
    shutil.copytree(folder, target, ignore=shutil.ignore_patterns("model.safetensors"))
    example = {name: torch.ones(2, 8, dtype=torch.long) for name in INPUTS}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # those of the exporters
        if kind == "onnx":
            (target / "onnx").mkdir()
            torch.onnx.export(
                model,
                kwargs=example,
                f=target / "onnx" / "model.onnx",
                input_names=list(INPUTS),
                output_names=["logits" if pairs else "last_hidden_state"],
                dynamic_shapes={name: {0: "batch", 1: "tokens"} for name in INPUTS},
                external_data=False,
                verbose=False,
            )
        else:
            converted = ov.convert_model(model, example_input=example)
            ov.save_model(converted, target / "openvino" / "openvino_model.xml", compress_to_fp16=False)
    return target


@pytest.mark.parametrize("kind", ["onnx", "openvino"])
def test_a_bi_encoder(make_bert: Callable[..., Path], kind: str) -> None:
    folder = make_bert()
    exported = export(folder, kind, pairs=False)
    ours, theirs = BiEncoder(folder, precision="f32"), BiEncoder(exported, precision="f32")
    np.testing.assert_allclose(theirs.encode_document(TEXTS), ours.encode_document(TEXTS), atol=1e-4)
    assert theirs.dimension == 32
    assert theirs.identity["weights_sha256"] != ours.identity["weights_sha256"]
    assert find_model(str(exported)) == exported


@pytest.mark.parametrize("kind", ["onnx", "openvino"])
def test_a_cross_encoder(make_bert: Callable[..., Path], kind: str) -> None:
    folder = make_bert(labels=1)
    exported = export(folder, kind, pairs=True)
    expected = CrossEncoder(folder, precision="f32").predict(PAIRS)
    np.testing.assert_allclose(CrossEncoder(exported, precision="f32").predict(PAIRS), expected, atol=1e-3)


def test_numbers_in_a_second_file_belong_to_the_identity(make_bert: Callable[..., Path]) -> None:
    exported = export(make_bert(), "openvino", pairs=False)
    before = BiEncoder(exported).identity
    numbers = exported / "openvino" / "openvino_model.bin"
    changed = bytearray(numbers.read_bytes())
    changed[100] ^= 1
    numbers.write_bytes(bytes(changed))
    assert BiEncoder(exported).identity != before


def test_what_an_exported_folder_cannot_do_is_said(make_bert: Callable[..., Path]) -> None:
    exported = export(make_bert(), "openvino", pairs=False)
    with pytest.raises(ModelError, match=r"precision .int8. needs model\.safetensors"):
        BiEncoder(exported, precision="int8")
    with pytest.raises(ModelError, match=r"device .cuda. needs model\.safetensors"):
        BiEncoder(exported, device="cuda")
    with pytest.raises(ModelError, match="no output for logits"):
        CrossEncoder(exported)
    graph = exported / "openvino" / "openvino_model.xml"
    graph.write_text(graph.read_text()[:500])
    with pytest.raises(ModelError, match=r"openvino_model\.xml: broken"):
        BiEncoder(exported)


def test_an_architecture_that_is_not_built_runs_from_its_file(make_bert: Callable[..., Path]) -> None:
    folder = make_bert()
    exported = export(folder, "openvino", pairs=False)
    shutil.copy(folder / "model.safetensors", exported)
    config = json.loads((exported / "config.json").read_text())
    (exported / "config.json").write_text(json.dumps(config | {"model_type": "something-new"}))
    found = BiEncoder(exported, precision="f32").encode_document(TEXTS)
    np.testing.assert_allclose(found, BiEncoder(folder, precision="f32").encode_document(TEXTS), atol=1e-4)


def test_a_folder_without_weights_is_explained(make_bert: Callable[..., Path]) -> None:
    folder = make_bert()
    (folder / "model.safetensors").rename(folder / "pytorch_model.bin")
    with pytest.raises(ModelError, match=r"convert pytorch_model\.bin"):
        BiEncoder(folder)
    (folder / "pytorch_model.bin").unlink()
    with pytest.raises(ModelError, match=r"no model\.safetensors, no OpenVINO and no ONNX file; fetch it again"):
        BiEncoder(folder)

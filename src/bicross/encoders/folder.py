"""What a model folder holds: its JSON files, its limits, its weights."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy.typing as npt
from safetensors import SafetensorError
from safetensors.numpy import load_file

from bicross.errors import ModelError, UsageError

_NUMBERS = ("hidden_size", "num_hidden_layers", "num_attention_heads", "max_position_embeddings")


def read_json(path: Path, default: Any = None) -> Any:
    """The file's JSON value, or ``default`` when there is no such file and a default is given.

    Raises:
        ModelError: The file is missing (and there is no default) or broken.
    """
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        if default is not None:
            return default
        raise ModelError(f"{path}: missing from the model folder") from None
    except ValueError as error:
        raise ModelError(f"{path}: broken JSON: {error}") from None


def read_config(folder: Path) -> dict[str, Any]:
    """``config.json`` of a model that can be built.

    Raises:
        ModelError: Another architecture than BERT, or a number that is needed is missing.
    """
    config = read_json(folder / "config.json")
    kind = config.get("model_type") if isinstance(config, dict) else None
    if kind != "bert":
        raise ModelError(f"{folder}: model_type {kind!r} cannot be built; this version builds BERT models")
    for name in _NUMBERS:
        if not isinstance(config.get(name), int):
            raise ModelError(f"{folder / 'config.json'}: {name} is missing or not a number")
    return dict(config)


def read_weights(folder: Path) -> dict[str, npt.NDArray[Any]]:
    """Tensors by name.

    Raises:
        ModelError: The file is cut short or damaged, or stored in a type that numpy does not have.
    """
    file = folder / "model.safetensors"
    try:
        return dict(load_file(file))
    except SafetensorError as error:
        raise ModelError(f"{file}: damaged ({error}); fetch the model again") from None
    except TypeError as error:
        raise ModelError(f"{file}: cannot be read ({error}); save the weights in float32 or float16") from None


def token_limit(folder: Path, config: Mapping[str, Any], wanted: int | None = None) -> int:
    """Tokens that a model reads, special tokens included: its own setting or ``wanted``, never beyond its positions.

    The setting is ``max_seq_length`` of ``sentence_bert_config.json``, or in folders of newer versions of
    sentence-transformers ``model_max_length`` of ``tokenizer_config.json``.

    Raises:
        UsageError: ``wanted`` leaves no room for text.
    """
    if wanted is not None and wanted < 8:
        raise UsageError(f"max_tokens is {wanted}; a model needs at least 8")
    positions = int(config["max_position_embeddings"])
    own = read_json(folder / "sentence_bert_config.json", default={}).get("max_seq_length")
    tokeniser = read_json(folder / "tokenizer_config.json", default={}).get("model_max_length")
    return min(int(wanted or own or tokeniser or positions), positions)

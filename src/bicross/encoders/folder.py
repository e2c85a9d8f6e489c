"""What a model folder holds: its JSON files, its limits, its weights."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from safetensors import SafetensorError, deserialize, safe_open

from bicross.encoders.families import FAMILIES
from bicross.errors import ModelError, UsageError

POOLINGS = ("mean", "cls", "max")

#: The files that a model may be in, the best first.
WEIGHTS = (
    "model.safetensors",
    "openvino/openvino_model.xml",
    "openvino_model.xml",
    "onnx/model.onnx",
    "model.onnx",
)


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
    """``config.json`` of a model.

    Raises:
        ModelError: It is missing, broken, or no object.
    """
    config = read_json(folder / "config.json")
    if not isinstance(config, dict):
        raise ModelError(f"{folder / 'config.json'}: not a JSON object")
    return config


def find_weights(folder: Path) -> Path | None:
    """The file with the model: ``model.safetensors``, or an OpenVINO or ONNX file; None where there is none.

    An OpenVINO or ONNX file comes first for an architecture that bicross does not build.
    """
    files = [file for file in (folder / name for name in WEIGHTS) if file.is_file()]
    if len(files) > 1 and files[0].suffix == ".safetensors":
        kind = read_json(folder / "config.json", default={}).get("model_type")
        return files[0] if kind in FAMILIES else files[1]
    return files[0] if files else None


def weights_file(folder: Path) -> Path:
    """As ``find_weights``.

    Raises:
        ModelError: There is none.
    """
    if file := find_weights(folder):
        return file
    pickled = folder / "pytorch_model.bin"
    advice = "convert pytorch_model.bin with save_pretrained of transformers" if pickled.is_file() else "fetch it again"
    raise ModelError(f"{folder}: no {WEIGHTS[0]}, no OpenVINO and no ONNX file; {advice}")


def read_weights(file: Path) -> dict[str, npt.NDArray[Any]]:
    """Tensors of a safetensors file by name, in the type they are stored in; bf16 comes as float32.

    Raises:
        ModelError: The file is cut short or damaged, or holds a type that numpy does not have.
    """
    tensors: dict[str, npt.NDArray[Any]] = {}
    try:
        with safe_open(file, framework="numpy") as stored:
            halves = [name for name in stored.keys() if stored.get_slice(name).get_dtype() == "BF16"]  # noqa: SIM118
            tensors = {name: stored.get_tensor(name) for name in stored.keys() if name not in halves}  # noqa: SIM118
        if halves:
            tensors |= _bf16(file, set(halves))
    except SafetensorError as error:
        raise ModelError(f"{file}: damaged ({error}); fetch the model again") from None
    except TypeError as error:
        raise ModelError(f"{file}: cannot be read ({error}); save the weights in float32 or float16") from None
    return tensors


def _bf16(file: Path, names: set[str]) -> dict[str, npt.NDArray[np.float32]]:
    """Tensors in bf16, which numpy lacks: the upper half of a float32."""
    wanted = {}
    for name, stored in deserialize(file.read_bytes()):  # type: ignore[no-untyped-call]
        if name in names:
            upper = np.frombuffer(stored["data"], dtype="<u2").astype(np.uint32) << 16
            wanted[name] = upper.view(np.float32).reshape(stored["shape"])
    return wanted


def token_limit(folder: Path, positions: int, wanted: int | None = None) -> int:
    """Tokens that a model reads, special tokens included: its own setting or ``wanted``, never beyond its positions.

    The setting is ``max_seq_length`` of ``sentence_bert_config.json``, or in folders of newer versions of
    sentence-transformers ``model_max_length`` of ``tokenizer_config.json``.

    Raises:
        UsageError: ``wanted`` leaves no room for text.
    """
    if wanted is not None and wanted < 8:
        raise UsageError(f"max_tokens is {wanted}; a model needs at least 8")
    own = read_json(folder / "sentence_bert_config.json", default={}).get("max_seq_length")
    tokeniser = read_json(folder / "tokenizer_config.json", default={}).get("model_max_length")
    return min(int(wanted or own or tokeniser or positions), positions)


def read_pooling(folder: Path) -> tuple[str, bool]:
    """(pooling, normalise) of a sentence-transformers folder; mean and True for a bare transformer.

    Raises:
        ModelError: The folder has a module or a pooling that bicross does not know.
    """
    modules = read_json(folder / "modules.json", default=[])
    if not modules:
        return "mean", True
    pooling, normalise = "", False
    for module in modules:
        kind = module["type"].rsplit(".", 1)[-1]
        if kind == "Pooling":
            pooling = _pooling(read_json(folder / module["path"] / "config.json"), folder)
        elif kind == "Normalize":
            normalise = True
        elif kind != "Transformer":
            raise ModelError(f"{folder / 'modules.json'}: module {kind!r} is not supported")
    if not pooling:
        raise ModelError(f"{folder / 'modules.json'}: there is no pooling module")
    return pooling, normalise


def _pooling(config: Mapping[str, Any], folder: Path) -> str:
    if not config.get("include_prompt", True):
        raise ModelError(f"{folder}: pooling that leaves out the prompt is not supported")
    if "pooling_mode" in config:  # newer folders name it; a list means several, joined
        modes = config["pooling_mode"]
        chosen = [modes] if isinstance(modes, str) else list(modes)
    else:
        names = {"cls": "cls_token", "mean": "mean_tokens", "max": "max_tokens", "weighted": "weightedmean_tokens",
                 "sqrt": "mean_sqrt_len_tokens", "last": "lasttoken"}  # fmt: skip
        chosen = [mode for mode, key in names.items() if config.get(f"pooling_mode_{key}")]
    if len(chosen) != 1 or chosen[0] not in POOLINGS:
        raise ModelError(f"{folder}: pooling {'+'.join(chosen) or 'none'} is not supported; mean, cls and max are")
    return str(chosen[0])

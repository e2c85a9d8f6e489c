"""Linear layers in int8, and the file beside a model that holds them.

``int8.safetensors`` has for each layer ``NAME.weight`` (int8), ``NAME.weight_scale``, ``NAME.bias``,
``NAME.input_scale`` and ``NAME.kept``; its metadata hold the hash of the weights it was made from, the range of each
layer's input, what it was calibrated on and how near it came (``fidelity``).
"""

from __future__ import annotations

import json
import os
import threading
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save

from bicross.encoders.loading import weights_sha256
from bicross.errors import ModelError

FILE = "int8.safetensors"

_ARRAYS = ("weight", "weight_scale", "bias", "input_scale", "kept")


@dataclass(frozen=True)
class Int8Linear:
    """One linear layer: ``y ≈ (round(x / input_scale) @ weight.T) * weight_scale + bias``.

    Attributes:
        weight: int8, (outputs, inputs).
        weight_scale: float32, (outputs,).
        bias: float32, (outputs,); corrected for the mean error of rounding.
        input_scale: float32, (inputs,): each input is divided by it, which moves its spread into the weights
            (SmoothQuant, Xiao et al. 2023).
        input_range: Where the divided inputs lie; 256 steps lead from one end to the other.
        kept: int64: neurons before this layer that it leaves out, because they stay in floating point.
    """

    weight: npt.NDArray[np.int8]
    weight_scale: npt.NDArray[np.float32]
    bias: npt.NDArray[np.float32]
    input_scale: npt.NDArray[np.float32]
    input_range: tuple[float, float]
    kept: npt.NDArray[np.int64]


def find_layers(folder: Path) -> Path | None:
    """The int8 file of a model, beside it or in the cache; the newer of two. None where there is none.

    Raises:
        ModelError: It was made from other weights.
    """
    weights = weights_sha256(folder)
    files = [file for file in (folder / FILE, _cache(weights)) if file.is_file()]
    fitting = [file for file in files if _metadata(file)["weights_sha256"] == weights]
    if files and not fitting:
        raise ModelError(
            f"{files[0]}: made from other weights than those beside it; "
            f"delete it, or make it again with: bicross quantise {folder}"
        )
    return max(fitting, key=lambda file: file.stat().st_mtime_ns, default=None)


def read_layers(file: Path) -> dict[str, Int8Linear]:
    """The layers in a file by name.

    Raises:
        ModelError: The file is damaged.
    """
    ranges = _metadata(file)["input_ranges"]
    try:
        with safe_open(file, framework="numpy") as stored:
            return {
                name: Int8Linear(
                    input_range=(float(low), float(high)),
                    **{array: stored.get_tensor(f"{name}.{array}") for array in _ARRAYS},
                )
                for name, (low, high) in ranges.items()
            }
    except SafetensorError as error:
        raise ModelError(f"{file}: damaged ({error}); delete it, or make it again with: bicross quantise") from None


def write_layers(folder: Path, layers: Mapping[str, Int8Linear], facts: Mapping[str, Any]) -> Path:
    """Write the layers whole or not at all: beside the model or, where that is read-only, in the cache.

    Args:
        folder: The model folder.
        layers: By name.
        facts: What else is to be known: calibration, fidelity.
    """
    weights = weights_sha256(folder)
    arrays = {
        f"{name}.{array}": np.ascontiguousarray(getattr(layer, array))
        for name, layer in layers.items()
        for array in _ARRAYS
    }
    ranges = {name: layer.input_range for name, layer in layers.items()}
    metadata = {"bicross": json.dumps({"weights_sha256": weights, "input_ranges": ranges, **facts})}
    file = folder / FILE
    if not os.access(folder, os.W_OK):
        file = _cache(weights)
        file.parent.mkdir(parents=True, exist_ok=True)
    new = file.with_name(f"{file.name}.{os.getpid()}-{threading.get_ident()}")
    try:
        new.write_bytes(save(arrays, metadata))
        new.replace(file)
    finally:
        new.unlink(missing_ok=True)
    return file


def fidelity(file: Path) -> dict[str, Any]:
    """What was measured when the file was made."""
    return dict(_metadata(file)["fidelity"])


def _metadata(file: Path) -> dict[str, Any]:
    try:
        with safe_open(file, framework="numpy") as stored:
            facts = json.loads(stored.metadata()["bicross"])
        if not {"weights_sha256", "input_ranges", "fidelity"} <= set(facts):
            raise KeyError("facts are missing")
        return dict(facts)
    except (SafetensorError, ValueError, KeyError, TypeError) as error:
        raise ModelError(f"{file}: damaged ({error}); delete it, or make it again with: bicross quantise") from None


def _cache(weights: str) -> Path:
    home = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    return home / "bicross" / f"{weights[:32]}.{FILE}"

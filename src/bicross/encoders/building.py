"""From a model folder to an engine that runs it."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from bicross.encoders.engines import Engine, Head, OpenVinoEngine, resolve_precision
from bicross.encoders.families import Architecture, Tensors, architecture
from bicross.encoders.folder import read_weights, weights_file
from bicross.encoders.graphs import encoder_graph, exported_graph
from bicross.encoders.int8 import find_layers, read_layers
from bicross.encoders.quantising import quantise_folder
from bicross.encoders.tokenising import TextTokeniser
from bicross.errors import ModelError, UsageError


def positions(folder: Path, config: Mapping[str, Any]) -> int:
    """The most tokens that the model can read, special tokens included."""
    if weights_file(folder).suffix == ".safetensors":
        return architecture(config, str(folder)).positions
    first = int(config.get("pad_token_id") or 0) + 1 if "roberta" in str(config.get("model_type")) else 0
    return int(config.get("max_position_embeddings") or config.get("max_seq_len") or 512) - first


def build_engine(
    folder: Path, config: Mapping[str, Any], head: Head, tokenise: TextTokeniser, *, device: str, precision: str
) -> Engine:
    """Make the model in a folder ready to run.

    Args:
        folder: The model folder.
        config: Its ``config.json``.
        head: What the model ends in.
        tokenise: Its tokeniser.
        device: ``cpu`` (OpenVINO); ``cuda``, ``cuda:N`` or ``torch:cpu`` (torch).
        precision: See ``BiEncoder``.

    Raises:
        ModelError: The folder cannot be built, or lacks what the device or the precision needs.
        UsageError: Device or precision is unknown or not to be had.
    """
    file = weights_file(folder)
    if file.suffix != ".safetensors":
        if device != "cpu" or precision == "int8":
            what = f"device {device!r}" if device != "cpu" else "precision 'int8'"
            raise ModelError(f"{folder}: {what} needs model.safetensors; {file.name} only runs as it is, on the CPU")
        graph = exported_graph(file, head)
        return OpenVinoEngine(graph, resolve_precision(precision), tokenise.pad_id, tokenise.max_tokens)
    shape = architecture(config, str(folder))
    tensors = Tensors(read_weights(file), shape.family, str(file))
    if head.output == "logits" and f"{shape.family.head[-1][0]}.weight" not in tensors:
        raise ModelError(f"{folder}: no classification head; this is not a cross-encoder")
    if device != "cpu":
        return _torch_engine(tensors, shape, head, device, precision)
    precision = resolve_precision(precision)
    layers = {}
    if precision == "int8":
        layers = read_layers(find_layers(folder) or quantise_folder(folder, tensors, shape, head, tokenise).file)
    return OpenVinoEngine(encoder_graph(tensors, shape, head, layers), precision, tokenise.pad_id, tokenise.max_tokens)


def _torch_engine(tensors: Tensors, shape: Architecture, head: Head, device: str, precision: str) -> Engine:
    name = device.removeprefix("torch:")
    if name.split(":")[0] not in ("cuda", "mps", "xpu") and device != "torch:cpu":
        raise UsageError(f"device {device!r} is unknown; choose cpu, cuda, cuda:N or torch:cpu")
    try:
        from bicross.encoders.engines.torch import TorchEngine
    except ImportError:
        raise UsageError(
            f"device {device!r} needs torch; type: pip install 'bicross[gpu]', or choose device='cpu'"
        ) from None
    return TorchEngine(tensors, shape, head, name, precision)

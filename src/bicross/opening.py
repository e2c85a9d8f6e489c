"""Open an index with the model it was made with, or make one."""

from __future__ import annotations

from pathlib import Path

from bicross.encoders import BiEncoder
from bicross.encoders.int8 import FILE as INT8_FILE
from bicross.encoders.int8 import find_layers
from bicross.encoders.loading import DEFAULT_BI_ENCODER, find_model
from bicross.errors import FingerprintError
from bicross.index import LocalIndex, read_manifest
from bicross.index.manifest import FILE


def open(
    path: str | Path,
    model: str | Path | None = None,
    *,
    chunk_tokens: int | None = None,
    device: str = "cpu",
    precision: str | None = None,
) -> LocalIndex:
    """Open the index in a folder.

    Args:
        path: The folder.
        model: The bi-encoder; by default the one that the index was made with. Another one is refused.
        chunk_tokens: Refuse the index when its chunks have another size.
        device: Of the bi-encoder; see there.
        precision: Of the bi-encoder; by default int8 for an index made in int8, else ``auto``.

    Raises:
        UsageError: No such folder.
        ModelNotFoundError: The bi-encoder is not on this machine and cannot be fetched.
        CorpusError: Not an index, of a newer format, damaged, locked, or made with another model.
    """
    manifest = read_manifest(Path(path))
    made = manifest.fingerprint.encoder
    if precision is None:
        precision = str(made.get("precision", "auto"))
    model = manifest.model if model is None else model
    if precision == "int8":  # looked into beforehand: opening must not start to calibrate
        if made.get("precision") != "int8":
            raise FingerprintError(f"{path}: this index was not made in int8; open it without precision='int8'")
        if find_layers(folder := find_model(model)) is None:
            raise FingerprintError(
                f"{path}: this index was made in int8, and {folder} has no {INT8_FILE}; "
                f"copy it from where the index was made, or type: bicross quantise {model}"
            )
    embedder = BiEncoder(model, device=device, precision=precision, truncate_dim=made.get("truncate_dim"))
    return LocalIndex.open(path, embedder, chunk_tokens=chunk_tokens)


def create(
    path: str | Path,
    model: str | Path = DEFAULT_BI_ENCODER,
    *,
    chunk_tokens: int | None = None,
    device: str = "cpu",
    precision: str | None = None,
    truncate_dim: int | None = None,
) -> LocalIndex:
    """Make an empty index in a folder that does not exist or is empty.

    Args:
        path: The folder.
        model: Name or folder of the bi-encoder.
        chunk_tokens: The most tokens in a chunk; by default what the model reads.
        device: See ``BiEncoder``.
        precision: See ``BiEncoder``; the index remembers int8.
        truncate_dim: See ``BiEncoder``; the index remembers it.

    Raises:
        UsageError: The folder holds something else.
        ModelNotFoundError: See ``bicross.encoders.loading.find_model``.
    """
    embedder = BiEncoder(model, device=device, precision=precision or "auto", truncate_dim=truncate_dim)
    return LocalIndex.create(path, embedder, chunk_tokens=chunk_tokens)


def open_or_create(
    path: str | Path,
    model: str | Path | None = None,
    *,
    chunk_tokens: int | None = None,
    device: str = "cpu",
    precision: str | None = None,
) -> LocalIndex:
    """Open the index in a folder, or make one where there is none; see ``open`` and ``create``."""
    if (Path(path) / FILE).is_file():
        return open(path, model, chunk_tokens=chunk_tokens, device=device, precision=precision)
    model = model or DEFAULT_BI_ENCODER
    return create(path, model, chunk_tokens=chunk_tokens, device=device, precision=precision)

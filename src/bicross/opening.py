"""Open an index with the model it was made with, or make one."""

from __future__ import annotations

from pathlib import Path

from bicross.encoders import BiEncoder
from bicross.encoders.loading import DEFAULT_BI_ENCODER
from bicross.index import LocalIndex, read_manifest
from bicross.index.manifest import FILE


def open(path: str | Path, model: str | Path | None = None, *, chunk_tokens: int | None = None) -> LocalIndex:
    """Open the index in a folder.

    Args:
        path: The folder.
        model: The bi-encoder; by default the one that the index was made with. Another one is refused.
        chunk_tokens: Refuse the index when its chunks have another size.

    Raises:
        UsageError: No such folder.
        ModelNotFoundError: The bi-encoder is not on this machine and cannot be fetched.
        CorpusError: Not an index, of a newer format, damaged, locked, or made with another model.
    """
    manifest = read_manifest(Path(path))
    embedder = BiEncoder(manifest.model if model is None else model)
    return LocalIndex.open(path, embedder, chunk_tokens=chunk_tokens)


def create(path: str | Path, model: str | Path = DEFAULT_BI_ENCODER, *, chunk_tokens: int | None = None) -> LocalIndex:
    """Make an empty index in a folder that does not exist or is empty.

    Args:
        path: The folder.
        model: Name or folder of the bi-encoder.
        chunk_tokens: The most tokens in a chunk; by default what the model reads.

    Raises:
        UsageError: The folder holds something else.
        ModelNotFoundError: See ``bicross.encoders.loading.find_model``.
    """
    return LocalIndex.create(path, BiEncoder(model), chunk_tokens=chunk_tokens)


def open_or_create(path: str | Path, model: str | Path | None = None, *, chunk_tokens: int | None = None) -> LocalIndex:
    """Open the index in a folder, or make one where there is none; see ``open`` and ``create``."""
    if (Path(path) / FILE).is_file():
        return open(path, model, chunk_tokens=chunk_tokens)
    return create(path, model or DEFAULT_BI_ENCODER, chunk_tokens=chunk_tokens)

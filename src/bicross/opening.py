"""Open an index with the model it was made with, or make one."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

from bicross.encoders import BiEncoder
from bicross.encoders.int8 import FILE as INT8_FILE
from bicross.encoders.int8 import find_layers
from bicross.encoders.loading import DEFAULT_BI_ENCODER, DEFAULT_CROSS_ENCODER, find_model, is_model_folder
from bicross.errors import FingerprintError, UsageError
from bicross.index import Embedder, EncodedDocument, Index, LocalIndex, Manifest, read_manifest
from bicross.index.cluster.address import Layout, is_address, parse_address
from bicross.index.manifest import FILE
from bicross.index.transfer import read_export

#: In the folder of an index: the cross-encoder that was adapted to it, the one that is just being adapted, and the one
#: before while the new one takes its place.
ADAPTED, ADAPTING, ADAPTED_BEFORE = "cross-encoder", "adapting", "cross-encoder.before"


def default_cross_encoder(index: str | Path) -> str | Path:
    """The cross-encoder that ``bicross adapt`` fitted to the index in a folder, else the one that bicross ships."""
    if is_address(index):
        return DEFAULT_CROSS_ENCODER
    adapted = Path(index) / ADAPTED
    return adapted if is_model_folder(adapted) else DEFAULT_CROSS_ENCODER


def forget_adapted(index: str | Path) -> bool:
    """Take the adapted cross-encoder, and what a stopped run left, out of the folder of an index.

    The numbers that ``bicross calibrate`` fitted for it stay, and mean nothing to another one.

    Returns:
        Whether one was there.
    """
    there = (Path(index) / ADAPTED).is_dir()
    for name in (ADAPTED, ADAPTED_BEFORE, ADAPTING):
        shutil.rmtree(Path(index) / name, ignore_errors=True)
    return there


def open(
    path: str | Path,
    model: str | Path | None = None,
    *,
    chunk_tokens: int | None = None,
    overlap: int | None = None,
    language: str | None = None,
    device: str = "cpu",
    precision: str | None = None,
) -> Index:
    """Open an index.

    Args:
        path: Its folder; or its address on a cluster, ``qdrant://HOST:6333/NAME``.
        model: The bi-encoder; by default the one that the index was made with. Another one is refused.
        chunk_tokens: Refuse the index when its chunks have another size.
        overlap: Refuse the index when its chunks overlap otherwise.
        language: Refuse the index when its words are those of another language.
        device: Of the bi-encoder; see there.
        precision: Of the bi-encoder; by default int8 for an index made in int8, else ``auto``.

    Raises:
        UsageError: No such folder, or no index of that name.
        ModelNotFoundError: The bi-encoder is not on this machine and cannot be fetched.
        CorpusError: Not an index, of a newer format, damaged, locked, or made with another model; or the cluster does
            not answer.
    """
    embedder = embedder_of(path, model, device=device, precision=precision)
    return _open(path, embedder, chunk_tokens=chunk_tokens, overlap=overlap, language=language)


def embedder_of(
    path: str | Path, model: str | Path | None = None, *, device: str = "cpu", precision: str | None = None
) -> BiEncoder:
    """The bi-encoder that an index was made with; see ``open``."""
    manifest = _manifest(path)
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
    return BiEncoder(model, device=device, precision=precision, truncate_dim=made.get("truncate_dim"))


def create(
    path: str | Path,
    model: str | Path = DEFAULT_BI_ENCODER,
    *,
    chunk_tokens: int | None = None,
    overlap: int = 0,
    language: str = "en",
    device: str = "cpu",
    precision: str | None = None,
    truncate_dim: int | None = None,
    layout: Layout | None = None,
) -> Index:
    """Make an empty index in a folder that does not exist or is empty, or on a cluster under a name that is free.

    Args:
        path: The folder; or the address on a cluster, ``qdrant://HOST:6333/NAME``.
        model: Name or folder of the bi-encoder.
        chunk_tokens: The most tokens in a chunk; by default what the model reads.
        overlap: The most tokens, in whole sentences, that a chunk repeats of the one before.
        language: Of the stop words and stems of lexical search: ``en``, ``de`` … or ``none``. Chinese is cut into words
            in any of them.
        device: See ``BiEncoder``.
        precision: See ``BiEncoder``; the index remembers int8.
        truncate_dim: See ``BiEncoder``; the index remembers it.
        layout: Of an index on a cluster: shards, replicas, quantisation.

    Raises:
        UsageError: The folder holds something else, or the name is taken.
        ModelNotFoundError: See ``bicross.encoders.loading.find_model``.
    """
    embedder = BiEncoder(model, device=device, precision=precision or "auto", truncate_dim=truncate_dim)
    return _create(path, embedder, chunk_tokens=chunk_tokens, overlap=overlap, language=language, layout=layout)


def open_or_create(
    path: str | Path,
    model: str | Path | None = None,
    *,
    chunk_tokens: int | None = None,
    overlap: int | None = None,
    language: str | None = None,
    device: str = "cpu",
    precision: str | None = None,
    layout: Layout | None = None,
) -> Index:
    """Open an index, or make one where there is none; see ``open`` and ``create``."""
    if exists(path):
        return open(
            path,
            model,
            chunk_tokens=chunk_tokens,
            overlap=overlap,
            language=language,
            device=device,
            precision=precision,
        )
    return create(
        path,
        model or DEFAULT_BI_ENCODER,
        chunk_tokens=chunk_tokens,
        overlap=overlap or 0,
        language=language or "en",
        device=device,
        precision=precision,
        layout=layout,
    )


def exists(path: str | Path) -> bool:
    """Whether there is an index in a folder, or of this name on a cluster.

    Raises:
        UsageError, CorpusError: The cluster cannot be asked.
    """
    if not is_address(path):
        return (Path(path) / FILE).is_file()
    index = _cluster()
    connection = index.Connection(parse_address(str(path)))
    try:
        return bool(index.has_collection(connection))
    finally:
        connection.close()


def _manifest(path: str | Path) -> Manifest:
    if not is_address(path):
        return read_manifest(Path(path))
    index = _cluster()
    connection = index.Connection(parse_address(str(path)))
    try:
        manifest: Manifest = index.read_manifest(connection)
        return manifest
    finally:
        connection.close()


def _open(path: str | Path, embedder: Embedder, **settings: Any) -> Index:
    if not is_address(path):
        return LocalIndex.open(path, embedder, **settings)
    opened: Index = _cluster().ClusterIndex.open(parse_address(str(path)), embedder, **settings)
    return opened


def _create(path: str | Path, embedder: Embedder, *, layout: Layout | None = None, **settings: Any) -> Index:
    if not is_address(path):
        if layout is not None:
            raise UsageError(f"{path}: shards, replicas and quantisation are of an index on a cluster")
        return LocalIndex.create(path, embedder, **settings)
    made: Index = _cluster().ClusterIndex.create(parse_address(str(path)), embedder, layout=layout, **settings)
    return made


def _cluster() -> Any:
    """The part that needs the client of Qdrant, which is an extra."""
    try:
        from bicross.index.cluster import index
    except ImportError as error:
        raise UsageError(f"an index on a cluster needs {error.name}; type: pip install 'bicross[cluster]'") from None
    return index


def open_copy(source: Index, path: str | Path, *, layout: Layout | None = None) -> Index:
    """Open the index that is to be a copy of another one, or make it where there is none.

    Raises:
        UsageError: It is the same one.
        FingerprintError: It was made with another model or other settings.
        CorpusError: See ``open``.
    """
    made = source.manifest.fingerprint
    if not is_address(path) and Path(path).resolve() == source.path.resolve():
        raise UsageError(f"{path}: this is the index itself; name another place for the copy")
    if is_address(path) and str(parse_address(str(path))) == source.name:
        raise UsageError(f"{path}: this is the index itself; name another place for the copy")
    settings: dict[str, Any] = {"chunk_tokens": made.chunk_tokens, "overlap": made.overlap}
    settings["language"] = made.lexical_language
    if exists(path):
        return _open(path, source.embedder, **settings)
    return _create(path, source.embedder, layout=layout, **settings)


def import_export(
    file: str | Path, path: str | Path, *, device: str = "cpu", stored: Callable[[int], None] = lambda documents: None
) -> int:
    """Bring an exported file into the index in a folder, made where there is none; nothing is embedded again.

    Args:
        file: Written by ``bicross.export``.
        path: The folder. An index there must have been made with the same model and settings.
        device: Of the bi-encoder, for later searches.
        stored: Called with the number of documents handed over since the last call.

    Returns:
        Documents that were stored; those with the same content that were there already do not count.

    Raises:
        CorpusError: The file was not exported by bicross, or is damaged. What was read before is stored.
        FingerprintError: The model on this machine, or the index, is another than the vectors were made with.
    """
    manifest, documents = read_export(file)
    made = manifest.fingerprint
    precision = str(made.encoder.get("precision", "auto"))
    embedder = BiEncoder(
        manifest.model, device=device, precision=precision, truncate_dim=made.encoder.get("truncate_dim")
    )
    manifest.check(embedder.name, replace(made, encoder=dict(embedder.identity)), Path(file))
    settings: dict[str, Any] = {"chunk_tokens": made.chunk_tokens, "overlap": made.overlap}
    make = _open if exists(path) else _create
    with make(path, embedder, **settings, language=made.lexical_language) as index:

        def counted() -> Iterator[EncodedDocument]:
            for document in documents:
                yield document
                stored(1)

        return index.add_encoded(counted())

"""The manifest of an index: which format it has and what its vectors were made with."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from bicross.errors import CorpusError, FingerprintError, UsageError
from bicross.index.embedder import Embedder
from bicross.index.lexical import check_language

#: Raised when an older bicross could no longer read what a newer one wrote.
FORMAT = 2

FILE = "manifest.json"


@dataclass(frozen=True)
class Fingerprint:
    """Everything that the stored vectors depend on. Equal fingerprints give comparable vectors and equal chunks.

    Attributes:
        encoder: ``Embedder.identity``: hash of the weights, pooling, normalisation, prompts, token limit, dimension.
        chunk_tokens: The most tokens in a chunk, title counted in.
        dtype: How a vector is stored.
        overlap: Tokens that a chunk repeats of the one before, at most.
        lexical_language: The language of the lexical side, see ``lexical.LANGUAGES``.
    """

    encoder: Mapping[str, Any]
    chunk_tokens: int
    overlap: int = 0
    lexical_language: str = "en"
    dtype: str = "float16"

    @staticmethod
    def of(
        embedder: Embedder, chunk_tokens: int | None = None, *, overlap: int = 0, language: str = "en"
    ) -> Fingerprint:
        """The fingerprint that an index made with this encoder has.

        Raises:
            UsageError: The chunks would be longer than the model reads, the overlap is more than half of them, or the
                language is not known.
        """
        tokens = embedder.chunk_tokens if chunk_tokens is None else chunk_tokens
        if not 8 <= tokens <= embedder.chunk_tokens:
            raise UsageError(
                f"chunks of {tokens} tokens: {embedder.name} reads at most {embedder.chunk_tokens} of a chunk; "
                f"choose between 8 and {embedder.chunk_tokens}"
            )
        if not 0 <= overlap <= tokens // 2:
            raise UsageError(f"an overlap of {overlap} tokens: choose between 0 and {tokens // 2}, half of a chunk")
        return Fingerprint(dict(embedder.identity), tokens, overlap, check_language(language))


@dataclass(frozen=True)
class Manifest:
    """What ``manifest.json`` holds. ``model`` is how to find the encoder again: a name or an absolute folder."""

    model: str
    fingerprint: Fingerprint
    format: int = FORMAT

    def check(self, model: str, other: Fingerprint, path: Path | str) -> None:
        """Refuse another encoder or other settings than the index was made with.

        Raises:
            FingerprintError: They differ; the message says in what, with both names.
        """
        mine, theirs = _flat(self.fingerprint), _flat(other)
        differing = [key for key in mine | theirs if mine.get(key) != theirs.get(key)]
        if differing:
            details = ", ".join(f"{k} {_short(mine.get(k))} against {_short(theirs.get(k))}" for k in differing)
            if mine.get("weights_sha256") == theirs.get("weights_sha256"):
                raise FingerprintError(
                    f"{path}: this index was made with other settings of {self.model} ({details}); "
                    "open it with those (the first of each), or index the documents again into another folder"
                )
            raise FingerprintError(
                f"{path}: this index was made with {self.model}, not with {model} ({details}); "
                f"open it with {self.model}, or index the documents again into another folder"
            )


def _flat(fingerprint: Fingerprint) -> dict[str, Any]:
    fields = asdict(fingerprint)
    return {**fields.pop("encoder"), **fields}


def _short(value: Any) -> str:
    return f"{value[:12]}…" if isinstance(value, str) and len(value) > 40 else repr(value)


def read_manifest(path: Path) -> Manifest:
    """The manifest of the index in folder ``path``.

    Raises:
        UsageError: There is no such folder.
        CorpusError: The folder is not an index, is of a newer format, or its manifest is damaged.
    """
    try:
        is_folder = path.is_dir()
    except OSError:  # longer than a name may be: perhaps the query, with the arguments swapped
        is_folder = False
    if not is_folder:
        raise UsageError(f"{path}: no such folder; make an index with: bicross index PATH --into {path}")
    file = path / FILE
    if not file.is_file():
        raise CorpusError(f"{path}: not an index (it has no {FILE}); make one with: bicross index PATH --into DIR")
    try:
        stored = json.loads(file.read_text(encoding="utf-8"))
        version = int(stored["format"])
        if version > FORMAT:
            raise CorpusError(
                f"{path}: the index has format {version}, this bicross reads up to {FORMAT}; upgrade bicross"
            )
        if version < FORMAT:
            raise CorpusError(
                f"{path}: the index has format {version}, from before the first release, and no lexical side; "
                "index the documents again into another folder"
            )
        return manifest_of(stored)
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise CorpusError(f"{file}: the manifest is damaged ({error!r}); index the documents again") from None


def findable(model: str) -> str:
    """A name as it is; a folder as an absolute path, so that the index opens from anywhere."""
    folder = Path(model)
    return str(folder.resolve()) if (folder / "config.json").is_file() else model


def manifest_of(stored: dict[str, Any]) -> Manifest:
    """A manifest from its JSON values. KeyError or TypeError where one is missing or of no use."""
    fingerprint = Fingerprint(**stored["fingerprint"])
    _flat(fingerprint)
    return Manifest(str(stored["model"]), fingerprint, int(stored["format"]))


def write_manifest(path: Path, manifest: Manifest) -> None:
    """Write it whole or not at all."""
    temporary = path / f"{FILE}.new"
    with temporary.open("w", encoding="utf-8") as stream:
        json.dump(asdict(manifest), stream, indent=2)
        stream.flush()
        os.fsync(stream.fileno())
    temporary.replace(path / FILE)

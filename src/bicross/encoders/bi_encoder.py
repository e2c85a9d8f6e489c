"""The bi-encoder: queries and documents become vectors, each on its own (Reimers and Gurevych 2019)."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from bicross.encoders.batching import WINDOW, run_in_batches
from bicross.encoders.engines import OpenVinoEngine, resolve_precision
from bicross.encoders.folder import read_config, read_json, read_weights, token_limit
from bicross.encoders.graphs import POOLINGS, embedding_graph
from bicross.encoders.loading import DEFAULT_BI_ENCODER, find_model, weights_sha256
from bicross.encoders.progress import progress
from bicross.encoders.tokenising import TextTokeniser
from bicross.errors import ModelError, UsageError

Vectors = npt.NDArray[np.float32]


@dataclass(frozen=True)
class Encoded:
    """Embeddings with what it took to make them.

    Attributes:
        embeddings: float32, (texts, dimension).
        tokens: Tokens read, special tokens included, padding not.
        truncated: bool, (texts,): texts of which the model did not read the end.
    """

    embeddings: Vectors
    tokens: int
    truncated: npt.NDArray[np.bool_]


class BiEncoder:
    """A sentence-transformers model folder, run by OpenVINO.

    Honours ``modules.json``: pooling (mean, cls, max), normalisation, ``max_seq_length`` and the prompts called
    ``query`` and ``document``. Safe to share between threads.

    Args:
        model: A name or a folder; see ``find_model``.
        precision: ``auto`` (bf16 where the CPU computes in it, else f32), ``f32`` or ``bf16``.
        max_tokens: Overrides the limit of the model folder; special tokens included.
        revision, local_files_only: As in ``find_model``.

    Raises:
        ModelNotFoundError, ModelError: See ``find_model``; or the folder holds something that cannot be built.
    """

    def __init__(
        self,
        model: str | Path = DEFAULT_BI_ENCODER,
        *,
        precision: str = "auto",
        max_tokens: int | None = None,
        revision: str | None = None,
        local_files_only: bool = False,
    ) -> None:
        self.name = str(model)
        self.folder = find_model(model, revision=revision, local_files_only=local_files_only)
        config = read_config(self.folder)
        pooling, normalise = _modules(self.folder)
        settings = read_json(self.folder / "config_sentence_transformers.json", default={})
        prompts: Mapping[str, str] = settings.get("prompts") or {}
        self.query_prompt = prompts.get("query") or ""
        self.document_prompt = prompts.get("document") or prompts.get("passage") or ""
        self.pooling = pooling
        self.normalise = normalise
        self.dimension = int(config["hidden_size"])
        self.precision = resolve_precision(precision)
        self._tokenise = TextTokeniser(self.folder, token_limit(self.folder, config, max_tokens))
        graph = embedding_graph(read_weights(self.folder), config, pooling, normalise)
        self._engine = OpenVinoEngine(graph, self.precision)

    @property
    def max_tokens(self) -> int:
        """Tokens of one text that the model reads, special tokens included."""
        return self._tokenise.max_tokens

    @property
    def identity(self) -> dict[str, Any]:
        """What an embedding depends on. Two encoders with equal identities give comparable vectors."""
        return {
            "weights_sha256": weights_sha256(self.folder),
            "dimension": self.dimension,
            "pooling": self.pooling,
            "normalise": self.normalise,
            "max_tokens": self.max_tokens,
            "query_prompt": self.query_prompt,
            "document_prompt": self.document_prompt,
        }

    def token_spans(self, text: str) -> list[tuple[int, int]]:
        """Where each token of ``text`` starts and ends, in characters; for chunking."""
        return self._tokenise.spans(text)

    @property
    def chunk_tokens(self) -> int:
        """Tokens that a chunk may have so that the model reads all of it, behind the prompt and special tokens."""
        prompt = len(self.token_spans(self.document_prompt)) if self.document_prompt else 0
        return self.max_tokens - self._tokenise.special_tokens - prompt

    def encode_query(self, queries: str | Sequence[str], *, show_progress: bool | None = None) -> Vectors:
        """Embed queries: float32 (queries, dimension), or (dimension,) for one string. In the order given.

        Raises:
            UsageError: A query is empty.
        """
        return self._as_given(queries, self.encode(queries, self.query_prompt, "queries", show_progress).embeddings)

    def encode_document(self, documents: str | Sequence[str], *, show_progress: bool | None = None) -> Vectors:
        """Embed documents: float32 (documents, dimension), or (dimension,) for one string. In the order given."""
        encoded = self.encode(documents, self.document_prompt, "documents", show_progress)
        return self._as_given(documents, encoded.embeddings)

    def encode(
        self,
        texts: str | Sequence[str],
        prompt: str = "",
        label: str = "texts",
        show_progress: bool | None = None,
        advance: Callable[[int], None] | None = None,
    ) -> Encoded:
        """Embed texts behind a prompt, and say what it took; ``encode_query`` and ``encode_document`` call this."""
        listed = [texts] if isinstance(texts, str) else list(texts)
        for position, text in enumerate(listed):
            if not isinstance(text, str):
                raise UsageError(f"{label}[{position}] is {type(text).__name__}, not a string")
            if label == "queries" and not text.strip():
                raise UsageError("the query is empty" if len(listed) == 1 else f"queries[{position}] is empty")
        if not listed:
            return Encoded(np.empty((0, self.dimension), np.float32), 0, np.empty(0, np.bool_))
        rows, tokens, truncated = [], 0, []
        with progress(f"Encoding {label}", len(listed), show_progress) as bar:
            for start in range(0, len(listed), WINDOW):
                items = self._tokenise([prompt + text for text in listed[start : start + WINDOW]])
                rows.append(run_in_batches(self._engine, items, self._tokenise.pad_id, advance or bar))
                tokens += sum(map(len, items))
                truncated += [item.truncated for item in items]
        return Encoded(np.concatenate(rows), tokens, np.array(truncated))

    @staticmethod
    def similarity(a: Vectors, b: Vectors) -> Vectors:
        """Cosine similarity of every row of ``a`` with every row of ``b``: float32 (rows of a, rows of b)."""
        left, right = np.atleast_2d(a).astype(np.float32), np.atleast_2d(b).astype(np.float32)
        left /= np.maximum(np.linalg.norm(left, axis=1, keepdims=True), 1e-12)
        right /= np.maximum(np.linalg.norm(right, axis=1, keepdims=True), 1e-12)
        return np.asarray(left @ right.T)

    @staticmethod
    def _as_given(texts: str | Sequence[str], vectors: Vectors) -> Vectors:
        return np.asarray(vectors[0]) if isinstance(texts, str) else vectors


def _modules(folder: Path) -> tuple[str, bool]:
    """(pooling, normalise) of a sentence-transformers folder; mean and True for a bare transformer."""
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

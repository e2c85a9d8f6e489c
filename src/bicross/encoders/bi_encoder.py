"""The bi-encoder: queries and documents become vectors, each on its own (Reimers and Gurevych 2019)."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sized
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, overload

import numpy as np
import numpy.typing as npt

from bicross.encoders.batching import one_ahead, run_in_batches, windows
from bicross.encoders.building import build_engine, positions
from bicross.encoders.compact import CompactEmbeddings, Compaction, compact
from bicross.encoders.engines import Head
from bicross.encoders.folder import read_config, read_json, read_pooling, token_limit
from bicross.encoders.loading import DEFAULT_BI_ENCODER, find_model, weights_sha256
from bicross.encoders.progress import progress
from bicross.encoders.tokenising import TextTokeniser, Tokenised
from bicross.errors import UsageError

Vectors = npt.NDArray[np.float32]

#: One text, several, or a stream of them.
Texts = str | Iterable[str]


@dataclass(frozen=True)
class Encoded:
    """Embeddings with what it took to make them.

    Attributes:
        embeddings: float32, (texts, dimension).
        tokens: Tokens read, special tokens included, padding not.
        lost: int64, (texts,): tokens at the end of each text that the model did not read.
    """

    embeddings: Vectors
    tokens: int
    lost: npt.NDArray[np.int64]

    @property
    def truncated(self) -> npt.NDArray[np.bool_]:
        """bool, (texts,): texts of which the model did not read the end."""
        return self.lost > 0


class BiEncoder:
    """A sentence-transformers model folder, run by OpenVINO on the CPU or by torch on a GPU.

    Honours ``modules.json``: pooling (mean, cls, max), normalisation, ``max_seq_length`` and the prompts called
    ``query`` and ``document``. Safe to share between threads.

    Args:
        model: A name or a folder; see ``find_model``.
        device: ``cpu``, or ``cuda`` (``cuda:1`` …) with the extra ``gpu``.
        precision: ``auto`` (bf16 where the machine computes in it, else f32), ``f32``, ``bf16``, or ``int8`` (CPU only;
            calibrated when first asked for, see ``bicross.quantise``).
        truncate_dim: Keep the first so many numbers of each embedding, for models trained for it (Matryoshka, Kusupati
            et al. 2022); normalised again where the model normalises.
        max_tokens: Overrides the limit of the model folder; special tokens included.
        revision, local_files_only: As in ``find_model``.

    Raises:
        ModelNotFoundError, ModelError: See ``find_model``; or the folder holds something that cannot be built.
        UsageError: Device, precision or ``truncate_dim`` is not to be had.
    """

    def __init__(
        self,
        model: str | Path = DEFAULT_BI_ENCODER,
        *,
        device: str = "cpu",
        precision: str = "auto",
        truncate_dim: int | None = None,
        max_tokens: int | None = None,
        revision: str | None = None,
        local_files_only: bool = False,
    ) -> None:
        self.name = str(model)
        self.folder = find_model(model, revision=revision, local_files_only=local_files_only)
        config = read_config(self.folder)
        pooling, normalise = read_pooling(self.folder)
        settings = read_json(self.folder / "config_sentence_transformers.json", default={})
        prompts: Mapping[str, str] = settings.get("prompts") or {}
        self.query_prompt = prompts.get("query") or ""
        self.document_prompt = prompts.get("document") or prompts.get("passage") or ""
        self.pooling = pooling
        self.normalise = normalise
        self._tokenise = TextTokeniser(
            self.folder, token_limit(self.folder, positions(self.folder, config), max_tokens)
        )
        head = Head("embedding", pooling, normalise)
        self.engine = build_engine(self.folder, config, head, self._tokenise, device=device, precision=precision)
        self.precision = self.engine.precision
        if truncate_dim is not None and (type(truncate_dim) is not int or not 1 <= truncate_dim <= self.engine.width):
            raise UsageError(f"truncate_dim is {truncate_dim}; {self.name} has {self.engine.width} dimensions")
        self.truncate_dim = truncate_dim
        self.dimension = truncate_dim or self.engine.width

    @property
    def max_tokens(self) -> int:
        """Tokens of one text that the model reads, special tokens included."""
        return self._tokenise.max_tokens

    @property
    def identity(self) -> dict[str, Any]:
        """What an embedding depends on. Two encoders with equal identities give comparable vectors.

        f32 and bf16 give the same but for rounding. int8 has a place here: it is a coarser model, though whatever texts
        it was calibrated on, it is an approximation of the same one.
        """
        identity: dict[str, Any] = {
            "weights_sha256": weights_sha256(self.folder),
            "dimension": self.dimension,
            "pooling": self.pooling,
            "normalise": self.normalise,
            "max_tokens": self.max_tokens,
            "query_prompt": self.query_prompt,
            "document_prompt": self.document_prompt,
        }
        if self.truncate_dim is not None:
            identity["truncate_dim"] = self.truncate_dim
        if self.precision == "int8":
            identity["precision"] = "int8"
        return identity

    def token_spans(self, text: str) -> list[tuple[int, int]]:
        """Where each token of ``text`` starts and ends, in characters; for chunking."""
        return self._tokenise.spans(text)

    @property
    def chunk_tokens(self) -> int:
        """Tokens that a chunk may have so that the model reads all of it, behind the prompt and special tokens."""
        prompt = len(self.token_spans(self.document_prompt)) if self.document_prompt else 0
        return self.max_tokens - self._tokenise.special_tokens - prompt

    @overload
    def encode_query(
        self, queries: Texts, *, output: Literal["float32"] = "float32", show_progress: bool | None = None
    ) -> Vectors: ...
    @overload
    def encode_query(
        self, queries: Texts, *, output: Compaction, show_progress: bool | None = None
    ) -> CompactEmbeddings: ...
    def encode_query(
        self, queries: Texts, *, output: str = "float32", show_progress: bool | None = None
    ) -> Vectors | CompactEmbeddings:
        """Embed queries, in the order given; see ``encode_document``."""
        return self._encode(queries, self.query_prompt, "queries", output, show_progress)

    @overload
    def encode_document(
        self, documents: Texts, *, output: Literal["float32"] = "float32", show_progress: bool | None = None
    ) -> Vectors: ...
    @overload
    def encode_document(
        self, documents: Texts, *, output: Compaction, show_progress: bool | None = None
    ) -> CompactEmbeddings: ...
    def encode_document(
        self, documents: Texts, *, output: str = "float32", show_progress: bool | None = None
    ) -> Vectors | CompactEmbeddings:
        """Embed documents, in the order given.

        Args:
            documents: One text, a sequence, or a stream, of which a few windows (of 4,096 texts) are held at a time.
            output: ``float32``; or ``int8`` or ``binary``, which keep a scale for each embedding.
            show_progress: None shows a bar on a terminal for long work.

        Returns:
            float32 (documents, dimension), or (dimension,) for one string; ``CompactEmbeddings`` for the other outputs.

        Raises:
            UsageError: A text is empty, not a string, or no valid Unicode; the message names it.
        """
        return self._encode(documents, self.document_prompt, "documents", output, show_progress)

    def encode(
        self,
        texts: Texts,
        prompt: str = "",
        label: str = "texts",
        show_progress: bool | None = None,
        advance: Callable[[int], None] | None = None,
    ) -> Encoded:
        """Embed texts behind a prompt, and say what it took."""
        rows, lost, tokens = [], [], 0
        for block in self.encode_stream(texts, prompt, label, show_progress, advance):
            rows.append(block.embeddings)
            lost.append(block.lost)
            tokens += block.tokens
        return Encoded(_gather(rows, (0, self.dimension), np.float32), tokens, _gather(lost, (0,), np.int64))

    def encode_stream(
        self,
        texts: Texts,
        prompt: str = "",
        label: str = "texts",
        show_progress: bool | None = None,
        advance: Callable[[int], None] | None = None,
    ) -> Iterator[Encoded]:
        """As ``encode``, a window of texts at a time: for more embeddings than memory holds."""
        source = [texts] if isinstance(texts, str) else texts
        if not isinstance(source, Iterable):
            raise UsageError(f"{label} are {type(texts).__name__}, not strings")
        total = len(source) if isinstance(source, Sized) else None

        def tokenised(window: list[tuple[int, str]]) -> list[Tokenised]:
            first = window[0][0]
            return self._tokenise.texts([prompt + text for _, text in window], lambda i: f"{label}[{first + i}]")

        with progress(f"Encoding {label}", total, show_progress) as bar:
            checked = ((i, _checked(text, i, label, total)) for i, text in enumerate(source))
            for items in one_ahead(tokenised, windows(checked, lambda item: len(item[1]))):
                rows = run_in_batches(self.engine, items, advance or bar)
                lost = np.array([item.lost for item in items], dtype=np.int64)
                yield Encoded(self._shortened(rows), sum(map(len, items)), lost)

    def _encode(
        self, texts: Texts, prompt: str, label: str, output: str, show_progress: bool | None
    ) -> Vectors | CompactEmbeddings:
        if output == "float32":
            vectors = self.encode(texts, prompt, label, show_progress).embeddings
            return np.asarray(vectors[0]) if isinstance(texts, str) else vectors
        empty = compact(np.empty((0, self.dimension), np.float32), output)  # refuses an unknown output before the work
        values, scales = [], []
        for block in self.encode_stream(texts, prompt, label, show_progress):
            small = compact(block.embeddings, output)
            values.append(small.values)
            scales.append(small.scale)
        return CompactEmbeddings(
            _gather(values, empty.values.shape, empty.values.dtype),
            _gather(scales, (0,), np.float32),
            self.dimension,
            empty.kind,
        )

    def _shortened(self, rows: Vectors) -> Vectors:
        if self.dimension == self.engine.width:
            return rows
        short = np.ascontiguousarray(rows[:, : self.dimension])
        if self.normalise:
            short /= np.maximum(np.linalg.norm(short, axis=1, keepdims=True), 1e-12)
        return short

    @staticmethod
    def similarity(a: Vectors | CompactEmbeddings, b: Vectors | CompactEmbeddings) -> Vectors:
        """Cosine similarity of every row of ``a`` with every row of ``b``: float32 (rows of a, rows of b)."""
        plain = [x.restore() if isinstance(x, CompactEmbeddings) else x for x in (a, b)]
        left, right = (np.atleast_2d(x).astype(np.float32) for x in plain)
        left /= np.maximum(np.linalg.norm(left, axis=1, keepdims=True), 1e-12)
        right /= np.maximum(np.linalg.norm(right, axis=1, keepdims=True), 1e-12)
        return np.asarray(left @ right.T)


def _checked(text: object, position: int, label: str, total: int | None) -> str:
    if not isinstance(text, str):
        raise UsageError(f"{label}[{position}] is {type(text).__name__}, not a string")
    if not text.strip():
        raise UsageError(
            "the query is empty" if (label, total) == ("queries", 1) else f"{label}[{position}] is empty; leave it out"
        )
    return text


def _gather(blocks: list[npt.NDArray[Any]], empty: tuple[int, ...], dtype: npt.DTypeLike) -> npt.NDArray[Any]:
    """The blocks behind each other. Each is let go once it is copied, so that memory holds them about once."""
    if len(blocks) == 1:
        return blocks[0]
    whole = np.empty((sum(map(len, blocks)), *empty[1:]), dtype)
    start = 0
    blocks.reverse()
    while blocks:
        block = blocks.pop()
        whole[start : start + len(block)] = block
        start += len(block)
    return whole

"""The cross-encoder: query and document are read together and get one score (Nogueira and Cho 2019)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
import numpy.typing as npt

from bicross.encoders.batching import WINDOW, run_in_batches
from bicross.encoders.calibration import read_calibration
from bicross.encoders.engines import OpenVinoEngine, resolve_precision
from bicross.encoders.folder import read_config, read_weights, token_limit
from bicross.encoders.graphs import logit_graph
from bicross.encoders.loading import DEFAULT_CROSS_ENCODER, find_model, weights_sha256
from bicross.encoders.progress import progress
from bicross.encoders.tokenising import TextTokeniser
from bicross.errors import ModelError, UsageError

Scores = npt.NDArray[np.float32]


@dataclass(frozen=True)
class Scored:
    """Logits with what it took to make them.

    Attributes:
        logits: float32, (pairs,): what every order is made from.
        tokens: Tokens read, special tokens included, padding not.
        truncated: bool, (pairs,): pairs of which the model did not read the end.
    """

    logits: Scores
    tokens: int
    truncated: npt.NDArray[np.bool_]


@dataclass(frozen=True)
class Ranked:
    """One document of ``CrossEncoder.rank``; ``corpus_id`` is its place in the list that was given."""

    corpus_id: int
    score: float
    text: str | None = None


class CrossEncoder:
    """A ``BertForSequenceClassification`` folder with one label, run by OpenVINO. Safe to share between threads.

    Args:
        model: A name or a folder; see ``find_model``.
        precision: ``auto`` (bf16 where the CPU computes in it, else f32), ``f32`` or ``bf16``. Logits are float32.
        max_tokens: Overrides the limit of the model folder; query, document and special tokens together.
        revision, local_files_only: As in ``find_model``.

    Raises:
        ModelNotFoundError, ModelError: See ``find_model``; or the model has several labels, or cannot be built.
    """

    def __init__(
        self,
        model: str | Path = DEFAULT_CROSS_ENCODER,
        *,
        precision: str = "auto",
        max_tokens: int | None = None,
        revision: str | None = None,
        local_files_only: bool = False,
    ) -> None:
        self.name = str(model)
        self.folder = find_model(model, revision=revision, local_files_only=local_files_only)
        config = read_config(self.folder)
        weights = read_weights(self.folder)
        if "classifier.weight" not in weights:
            raise ModelError(f"{self.folder}: no classification head; this is not a cross-encoder")
        if (labels := weights["classifier.weight"].shape[0]) != 1:
            raise ModelError(f"{self.folder}: the model gives {labels} labels a pair; an order needs exactly one")
        self.calibration, self.fusion = read_calibration(self.folder)
        self.precision = resolve_precision(precision)
        self._tokenise = TextTokeniser(self.folder, token_limit(self.folder, config, max_tokens))
        self._engine = OpenVinoEngine(logit_graph(weights, config), self.precision)

    @property
    def max_tokens(self) -> int:
        """Tokens of one pair that the model reads, special tokens included."""
        return self._tokenise.max_tokens

    @property
    def weights_sha256(self) -> str:
        return weights_sha256(self.folder)

    def predict(
        self,
        pairs: Sequence[tuple[str, str]],
        *,
        scores: Literal["logit", "relevance"] = "logit",
        show_progress: bool | None = None,
    ) -> Scores:
        """Score (query, document) pairs: float32 (pairs,), in the order given.

        Args:
            pairs: Each a query and a document.
            scores: ``logit`` for the raw output, which is what to sort by; ``relevance`` for a number between 0 and 1:
                the calibrated probability where the model folder has a calibration, else the logistic function.
            show_progress: None shows a bar on a terminal for long work.

        Raises:
            UsageError: A query is empty, or a pair is not two strings.
        """
        logits = self.score(pairs, show_progress=show_progress).logits
        return self.relevance(logits) if scores == "relevance" else logits

    def relevance(self, logits: Scores) -> Scores:
        """Relevance between 0 and 1 for logits of this model."""
        return self.calibration(logits)

    def score(self, pairs: Sequence[tuple[str, str]], *, show_progress: bool | None = None) -> Scored:
        """Logits of the pairs, with the tokens read and the pairs that were cut; ``predict`` calls this."""
        for position, pair in enumerate(pairs):
            if isinstance(pair, str) or len(pair) != 2 or not all(isinstance(text, str) for text in pair):
                raise UsageError(f"pairs[{position}] is not a pair of two strings")
            if not pair[0].strip():
                raise UsageError(f"the query of pairs[{position}] is empty")
        if not pairs:
            return Scored(np.empty(0, np.float32), 0, np.empty(0, np.bool_))
        rows, tokens, truncated = [], 0, []
        with progress("Scoring pairs", len(pairs), show_progress) as advance:
            for start in range(0, len(pairs), WINDOW):
                items = self._tokenise([(query, document) for query, document in pairs[start : start + WINDOW]])
                rows.append(run_in_batches(self._engine, items, self._tokenise.pad_id, advance)[:, 0])
                tokens += sum(map(len, items))
                truncated += [item.truncated for item in items]
        return Scored(np.concatenate(rows), tokens, np.array(truncated))

    def rank(
        self,
        query: str,
        documents: Sequence[str],
        *,
        top_k: int | None = None,
        return_documents: bool = False,
        scores: Literal["logit", "relevance"] = "logit",
    ) -> list[Ranked]:
        """Order documents for a query, best first, by the logit; equal logits keep the order given.

        Args:
            query: Not empty.
            documents: The texts.
            top_k: How many to return; all of them by default.
            return_documents: Whether each result carries its text.
            scores: What ``score`` of a result is; see ``predict``.

        Raises:
            UsageError: The query is empty or ``top_k`` is below 1.
        """
        if top_k is not None and top_k < 1:
            raise UsageError(f"top_k is {top_k}; it must be 1 or more")
        logits = self.predict([(query, document) for document in documents])
        shown = self.relevance(logits) if scores == "relevance" else logits
        order = np.argsort(-logits, kind="stable")[:top_k]
        return [Ranked(int(i), float(shown[i]), documents[i] if return_documents else None) for i in order]

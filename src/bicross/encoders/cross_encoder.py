"""The cross-encoder: query and document are read together and get one score (Nogueira and Cho 2019)."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
import numpy.typing as npt

from bicross.encoders.activation import activated, activation_of
from bicross.encoders.batching import one_ahead, run_in_batches, windows
from bicross.encoders.building import build_engine, positions
from bicross.encoders.calibration import read_calibration
from bicross.encoders.engines import Head
from bicross.encoders.folder import read_config, token_limit
from bicross.encoders.loading import DEFAULT_CROSS_ENCODER, find_model, weights_sha256
from bicross.encoders.progress import progress
from bicross.encoders.tokenising import ON_LONG, OnLong, TextTokeniser, Tokenised
from bicross.errors import UsageError

Scores = npt.NDArray[np.float32]

#: What ``predict`` returns: raw logits, calibrated relevance, or the logits through the model's own activation.
ScoreKind = Literal["logit", "relevance", "activated"]


@dataclass(frozen=True)
class Scored:
    """Logits with what it took to make them.

    Attributes:
        logits: float32, (pairs,): what every order is made from; (pairs, labels) for a model with several labels.
        tokens: Tokens read, special tokens included, padding not.
        lost: int64, (pairs,): tokens of each pair, of query and document together, that the model did not read.
    """

    logits: Scores
    tokens: int
    lost: npt.NDArray[np.int64]

    @property
    def truncated(self) -> npt.NDArray[np.bool_]:
        """bool, (pairs,): pairs of which the model did not read all."""
        return self.lost > 0


@dataclass(frozen=True)
class Ranked:
    """One document of ``CrossEncoder.rank``; ``corpus_id`` is its place in the list that was given."""

    corpus_id: int
    score: float
    text: str | None = None


class CrossEncoder:
    """A sequence classification folder, run by OpenVINO on the CPU or by torch on a GPU. Threads may share it.

    Models with one label order documents. Those with several (entailment, for one) give their logits by ``predict``.

    Args:
        model: A name or a folder; see ``find_model``.
        device: ``cpu``, or ``cuda`` (``cuda:1`` …) with the extra ``gpu``.
        precision: ``auto`` (bf16 where the machine computes in it, else f32), ``f32``, ``bf16``, or ``int8`` (CPU only;
            calibrated when first asked for, see ``bicross.quantise``). Logits are float32.
        max_tokens: Overrides the limit of the model folder; query, document and special tokens together.
        on_long: What happens to a pair beyond the limit. ``truncate`` cuts the document, and the query to a quarter of
            the limit; ``error`` refuses the pair; ``max_passage`` reads the whole document in overlapping passages and
            takes the highest logit (MaxP, Dai and Callan 2019), which costs a scoring each.
        revision, local_files_only: As in ``find_model``.

    Raises:
        ModelNotFoundError, ModelError: See ``find_model``; or the folder holds something that cannot be built.
        UsageError: Device, precision or ``on_long`` is unknown or not to be had.
    """

    def __init__(
        self,
        model: str | Path = DEFAULT_CROSS_ENCODER,
        *,
        device: str = "cpu",
        precision: str = "auto",
        max_tokens: int | None = None,
        on_long: OnLong = "truncate",
        revision: str | None = None,
        local_files_only: bool = False,
    ) -> None:
        if on_long not in ON_LONG:
            raise UsageError(f"on_long {on_long!r} is unknown; choose one of {', '.join(ON_LONG)}")
        self.on_long: OnLong = on_long
        self.name = str(model)
        self.folder = find_model(model, revision=revision, local_files_only=local_files_only)
        self._config = read_config(self.folder)
        self.calibration = read_calibration(self.folder)
        limit = token_limit(self.folder, positions(self.folder, self._config), max_tokens)
        self._tokenise = TextTokeniser(self.folder, limit)
        self.engine = build_engine(
            self.folder, self._config, Head("logits"), self._tokenise, device=device, precision=precision
        )
        self.precision = self.engine.precision

    @property
    def labels(self) -> int:
        """Numbers that the model gives a pair."""
        return self.engine.width

    @property
    def max_tokens(self) -> int:
        """Tokens of one pair that the model reads, special tokens included."""
        return self._tokenise.max_tokens

    @property
    def streams(self) -> int:
        """Batches that run at once: the cores on a CPU."""
        return self.engine.streams

    @property
    def weights_sha256(self) -> str:
        return weights_sha256(self.folder)

    def predict(
        self,
        pairs: Sequence[tuple[str, str]],
        *,
        scores: ScoreKind = "logit",
        show_progress: bool | None = None,
    ) -> Scores:
        """Score (query, document) pairs, in the order given.

        Args:
            pairs: Each a query and a document.
            scores: ``logit`` for the raw output, which is what to sort by; ``relevance`` for a number between 0 and 1:
                the calibrated probability where the model folder has a calibration, else the logistic function;
                ``activated`` for the logit through the activation that the model's configuration names, applied once,
                which is what ``predict`` of sentence-transformers returns.
            show_progress: None shows a bar on a terminal for long work.

        Returns:
            float32 (pairs,); (pairs, labels) for a model with several labels.

        Raises:
            UsageError: A text is empty, a pair is not two strings or, with ``on_long="error"``, too long; or relevance
                is asked of a model with several labels.
            ModelError: ``activated`` is asked of a model that names an activation that bicross does not know.
        """
        if scores == "relevance":
            self.check_orders()
        shown = self._as(scores)  # what cannot be had is refused before the work
        return shown(self.score(pairs, show_progress=show_progress).logits)

    def check_orders(self) -> None:
        """Make sure that this model can order documents.

        Raises:
            UsageError: It gives several labels a pair.
        """
        if self.labels != 1:
            raise UsageError(
                f"{self.name} gives {self.labels} labels a pair, and none of them says how relevant a document is; "
                "to rank, choose a cross-encoder with one label; predict returns the logits of all labels"
            )

    def relevance(self, logits: Scores) -> Scores:
        """Relevance between 0 and 1 for logits of this model."""
        return self.calibration(logits)

    def _as(self, scores: ScoreKind) -> Callable[[Scores], Scores]:
        """What makes the scores that are asked for from logits."""
        match scores:
            case "logit":
                return lambda logits: logits
            case "relevance":
                return self.relevance
            case "activated":
                activation = activation_of(self._config, self.labels, self.folder)
                return lambda logits: activated(logits, activation)
        raise UsageError(f"scores {scores!r} is unknown; choose logit, relevance or activated")

    def score(self, pairs: Sequence[tuple[str, str]], *, show_progress: bool | None = None) -> Scored:
        """Logits of the pairs, with the tokens read and what was cut; ``predict`` calls this."""
        if isinstance(pairs, str):
            raise UsageError("pairs is one string; give a list of (query, document) pairs")
        listed = [_checked(pair, position) for position, pair in enumerate(pairs)]
        logits = np.full((len(listed), self.labels), -np.inf, np.float32)
        lost = np.zeros(len(listed), np.int64)
        tokens = 0

        def tokenised(window: list[tuple[int, tuple[str, str]]]) -> tuple[list[Tokenised], npt.NDArray[np.int64]]:
            start = window[0][0]
            pairs = [pair for _, pair in window]
            items, owners = self._tokenise.pairs(pairs, self.on_long, lambda i: f"pairs[{start + i}]")
            return items, start + owners

        cut = windows(enumerate(listed), lambda item: len(item[1][0]) + len(item[1][1]))
        with progress("Scoring pairs", len(listed), show_progress) as advance:
            for items, owners in one_ahead(tokenised, cut):
                pairs_done = len(np.unique(owners))
                each = pairs_done == len(items)  # not so where documents are read in passages
                rows = run_in_batches(self.engine, items, advance) if each else run_in_batches(self.engine, items)
                np.maximum.at(logits, owners, rows)
                lost[owners] = [item.lost for item in items]
                tokens += sum(map(len, items))
                if not each:
                    advance(pairs_done)
        return Scored(logits[:, 0] if self.labels == 1 else logits, tokens, lost)

    def rank(
        self,
        query: str,
        documents: Sequence[str],
        *,
        top_k: int | None = None,
        return_documents: bool = False,
        scores: ScoreKind = "logit",
    ) -> list[Ranked]:
        """Order documents for a query, best first, by the logit; equal logits keep the order given.

        Args:
            query: Not empty.
            documents: The texts.
            top_k: How many to return; all of them by default.
            return_documents: Whether each result carries its text.
            scores: What ``score`` of a result is; see ``predict``.

        Raises:
            UsageError: A text is empty, ``top_k`` is below 1, or the model gives several labels a pair.
        """
        self.check_orders()
        if isinstance(documents, str):
            raise UsageError("documents is one string; give a list of them")
        if top_k is not None and top_k < 1:
            raise UsageError(f"top_k is {top_k}; it must be 1 or more")
        display = self._as(scores)
        logits = self.predict([(query, document) for document in documents])
        shown = display(logits)
        order = np.argsort(-logits, kind="stable")[:top_k]
        return [Ranked(int(i), float(shown[i]), documents[i] if return_documents else None) for i in order]


def _checked(pair: object, position: int) -> tuple[str, str]:
    if isinstance(pair, str) or not isinstance(pair, Sequence) or len(pair) != 2:
        raise UsageError(f"pairs[{position}] is not a pair of two strings")
    query, document = pair
    for text, what in ((query, "query"), (document, "document")):
        if not isinstance(text, str):
            raise UsageError(f"the {what} of pairs[{position}] is {type(text).__name__}, not a string")
        if not text.strip():
            raise UsageError(f"the {what} of pairs[{position}] is empty")
    return query, document

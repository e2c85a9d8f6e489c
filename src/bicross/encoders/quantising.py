"""Write the int8 file of a model: calibrated on texts, with its measured fidelity inside."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from bicross.encoders.batching import run_in_batches
from bicross.encoders.engines import Head, OpenVinoEngine
from bicross.encoders.families import Architecture, Tensors, architecture
from bicross.encoders.folder import read_config, read_pooling, read_weights, token_limit, weights_file
from bicross.encoders.graphs import encoder_graph
from bicross.encoders.int8 import Int8Linear, write_layers
from bicross.encoders.loading import find_model
from bicross.encoders.progress import progress
from bicross.encoders.rounding import int8_layers
from bicross.encoders.sample import sample_texts
from bicross.encoders.tokenising import TextTokeniser, Tokenised
from bicross.errors import ModelError, UsageError

#: Texts that are looked at; more take longer and change little.
TEXTS = 600

#: Tokens that are looked at, at most; the layers' inputs vary less than the texts do.
TOKENS = 40_000

#: Texts among which they are chosen.
_LOOKED_AT = 20_000

#: Fewer say too little about what a model reads.
FEWEST = 32

#: Documents that each query of a cross-encoder is paired with, to see whether their order stays.
_PAIRED = 4


@dataclass(frozen=True)
class Quantised:
    """An int8 file, and how near it comes to f32 on texts that it was not calibrated on.

    Attributes:
        file: Where it is.
        texts: Texts that were used, to calibrate and to measure.
        fidelity: For a bi-encoder ``cosine_mean`` and ``cosine_lowest`` of the embeddings, and ``agreement_at_10``:
            the share of each text's ten nearest that stay. For a cross-encoder ``logit_error`` (root of the mean
            square) and ``order_agreement``: the share of documents of one query, two by two, that stay in order.
    """

    file: Path
    texts: int
    fidelity: dict[str, float]


def quantise(model: str | Path, texts: Iterable[str] | None = None, *, show_progress: bool | None = None) -> Quantised:
    """Make the int8 version of a bi-encoder or cross-encoder and write it beside the model.

    Args:
        model: A name or a folder; see ``find_model``. It needs ``model.safetensors``.
        texts: Some hundred documents of the kind it will read; of more, some are chosen. By default the docstrings of
            the running Python.
        show_progress: None shows a bar on a terminal.

    Raises:
        ModelNotFoundError, ModelError: As for ``BiEncoder``.
        UsageError: There are fewer than ``FEWEST`` texts.
    """
    folder = find_model(model)
    file = weights_file(folder)
    if file.suffix != ".safetensors":
        raise ModelError(f"{folder}: int8 is made from model.safetensors; the folder has {file.name}")
    config = read_config(folder)
    shape = architecture(config, str(folder))
    tensors = Tensors(read_weights(file), shape.family, str(file))
    head = Head("logits")
    if f"{shape.family.head[-1][0]}.weight" not in tensors:
        head = Head("embedding", *read_pooling(folder))
    tokenise = TextTokeniser(folder, token_limit(folder, shape.positions))
    return quantise_folder(folder, tensors, shape, head, tokenise, texts, show_progress)


def quantise_folder(
    folder: Path,
    tensors: Tensors,
    shape: Architecture,
    head: Head,
    tokenise: TextTokeniser,
    texts: Iterable[str] | None = None,
    show_progress: bool | None = None,
) -> Quantised:
    """As ``quantise``, for a model that is open already."""
    chosen = sample_texts(TEXTS) if texts is None else _spread(texts)
    if len(chosen) < FEWEST:
        raise UsageError(f"{len(chosen)} texts are too few to calibrate int8 on; give at least {FEWEST}")
    held_out = chosen[::4]
    shown = [text for i, text in enumerate(chosen) if i % 4]
    items = _within(_items(shown, head, tokenise, 2), TOKENS)
    # the layers are few, but each takes a while
    show = sys.stderr.isatty() if show_progress is None else show_progress
    with progress("Calibrating int8", shape.layers, show) as advance:
        layers = int8_layers(tensors, shape, items, tokenise.pad_id, advance)
    fidelity = _fidelity(tensors, shape, head, layers, _items(held_out, head, tokenise, _PAIRED), tokenise.pad_id)
    source = "docstrings of Python" if texts is None else "given texts"
    facts = {"calibrated_on": f"{len(shown)} {source}", "fidelity": fidelity}
    return Quantised(write_layers(folder, layers, facts), len(chosen), fidelity)


def _spread(texts: Iterable[str]) -> list[str]:
    """``TEXTS`` of the texts, evenly from the first ``_LOOKED_AT``: a collection may be sorted."""
    if isinstance(texts, str):
        raise UsageError("texts is one string; give some hundred documents")
    found = []
    for position, text in enumerate(islice(texts, _LOOKED_AT)):
        if not isinstance(text, str):
            raise UsageError(f"texts[{position}] is {type(text).__name__}, not a string")
        if text.strip():
            found.append(text)
    return found[:: max(1, -(-len(found) // TEXTS))]


def _items(texts: Sequence[str], head: Head, tokenise: TextTokeniser, paired: int) -> list[Tokenised]:
    """What the model will read: texts and their first lines, which are like queries; or pairs of the two."""
    lines = [_first_line(text) for text in texts]
    if head.output == "embedding":
        both = [*texts, *lines[::2]]
        return tokenise.texts(both, lambda i: f"texts[{i % len(texts)}]")
    pairs = [(line, texts[(i + 7 * step) % len(texts)]) for i, line in enumerate(lines) for step in range(paired)]
    return tokenise.pairs(pairs, "truncate", lambda i: f"texts[{i // paired}]")[0]


def _within(items: list[Tokenised], tokens: int) -> list[Tokenised]:
    """Every n-th of the items, so that they have about so many tokens at most."""
    return items[:: max(1, -(-sum(map(len, items)) // tokens))]


def _first_line(text: str) -> str:
    return text.strip().split("\n", 1)[0].split(". ", 1)[0][:200]


def _fidelity(
    tensors: Tensors,
    shape: Architecture,
    head: Head,
    layers: dict[str, Int8Linear],
    items: Sequence[Tokenised],
    pad_id: int,
) -> dict[str, float]:
    def rows(layers: dict[str, Int8Linear], precision: str) -> npt.NDArray[np.float32]:
        graph = encoder_graph(tensors, shape, head, layers)
        return run_in_batches(OpenVinoEngine(graph, precision, pad_id, shape.positions), items)

    exact, found = rows({}, "f32"), rows(layers, "int8")
    if head.output == "logits":
        by_query, also = exact[:, 0].reshape(-1, _PAIRED), found[:, 0].reshape(-1, _PAIRED)
        first, second = np.triu_indices(_PAIRED, 1)
        alike = (by_query[:, first] > by_query[:, second]) == (also[:, first] > also[:, second])
        return {
            "logit_error": round(float(np.sqrt(np.mean((exact - found) ** 2))), 4),
            "order_agreement": round(float(alike.mean()), 4),
        }
    exact /= np.linalg.norm(exact, axis=1, keepdims=True)
    found /= np.linalg.norm(found, axis=1, keepdims=True)
    cosine = (exact * found).sum(axis=1)
    same = [len(a & b) / len(a) for a, b in zip(_nearest(exact), _nearest(found), strict=True)]
    return {
        "cosine_mean": round(float(cosine.mean()), 5),
        "cosine_lowest": round(float(cosine.min()), 5),
        "agreement_at_10": round(float(np.mean(same)), 4),
    }


def _nearest(vectors: npt.NDArray[Any]) -> list[set[int]]:
    similarity = vectors @ vectors.T
    np.fill_diagonal(similarity, -np.inf)
    return [set(row[:10].tolist()) for row in np.argsort(-similarity, axis=1, kind="stable")]

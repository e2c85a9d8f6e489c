"""The activation that a cross-encoder's configuration names, for those who want what the model's authors meant."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from bicross.encoders.calibration import Platt
from bicross.errors import ModelError

Scores = npt.NDArray[np.float32]


def _softmax(x: Scores) -> Scores:
    raised = np.exp(x - x.max(axis=-1, keepdims=True))
    return np.asarray(raised / raised.sum(axis=-1, keepdims=True))


_KNOWN: Mapping[str, Callable[[Scores], Scores]] = {
    "Identity": lambda x: x,
    "Sigmoid": Platt(),  # the bare logistic function
    "Softmax": _softmax,
    "Tanh": np.tanh,
}


def activation_of(config: Mapping[str, Any], labels: int, folder: Path) -> str:
    """The name of the activation in ``config.json``; as in sentence-transformers, Sigmoid for one label by default.

    It is under ``sentence_transformers.activation_fn``, or in older folders ``sbert_ce_default_activation_function``,
    as the name of a torch class.

    Raises:
        ModelError: It is one that bicross does not know.
    """
    section = config.get("sentence_transformers")
    named = section.get("activation_fn") if isinstance(section, Mapping) else None
    named = named or config.get("sbert_ce_default_activation_function")
    name = str(named).rsplit(".", 1)[-1] if named else ("Sigmoid" if labels == 1 else "Identity")
    if name not in _KNOWN or (name == "Softmax" and labels == 1):  # over one label it is always 1
        raise ModelError(f"{folder / 'config.json'}: activation {named!r} is not supported; ask for scores='logit'")
    return name


def activated(logits: Scores, activation: str) -> Scores:
    """Logits through a named activation: float32, same shape."""
    return np.asarray(_KNOWN[activation](logits), dtype=np.float32)

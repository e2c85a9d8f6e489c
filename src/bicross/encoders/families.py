"""The transformer families that bicross builds: where each keeps its tensors and its numbers.

One frozen row a family; the graphs read the rows and know no architecture by name. All are encoders with layer
normalisation after each sublayer (Vaswani et al. 2017): BERT (Devlin et al. 2019), RoBERTa and XLM-R (Liu et al. 2019,
Conneau et al. 2020), DistilBERT (Sanh et al. 2019), ELECTRA (Clark et al. 2020) and MPNet (Song et al. 2020).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

from bicross.errors import ModelError

Weights = Mapping[str, npt.NDArray[Any]]
Floats = npt.NDArray[np.float32]


@dataclass(frozen=True)
class Family:
    """Names of tensors and of numbers in ``config.json``.

    Attributes:
        prefix: What stands before the names of the body in a folder with a head.
        layer: Prefix of layer ``{}``; the names after it are relative to it.
        head: Dense layers on the first token that a cross-encoder ends with, each with the activation after it.
        pads_positions: Positions are counted from the padding id + 1, as in RoBERTa.
        numbers: Keys in ``config.json`` that differ from BERT's.
    """

    prefix: str
    head: tuple[tuple[str, str], ...]
    layer: str = "encoder.layer.{}."
    query: str = "attention.self.query"
    key: str = "attention.self.key"
    value: str = "attention.self.value"
    joined: str = "attention.output.dense"
    attention_norm: str = "attention.output.LayerNorm"
    inner: str = "intermediate.dense"
    outer: str = "output.dense"
    output_norm: str = "output.LayerNorm"
    pads_positions: bool = False
    numbers: Mapping[str, str] = field(default_factory=dict)


_ROBERTA_HEAD = (("classifier.dense", "tanh"), ("classifier.out_proj", ""))

_BERT = Family("bert.", (("bert.pooler.dense", "tanh"), ("classifier", "")))
_ROBERTA = Family("roberta.", _ROBERTA_HEAD, pads_positions=True)
_ELECTRA = Family("electra.", (("classifier.dense", "gelu"), ("classifier.out_proj", "")))
_MPNET = Family(
    "mpnet.",
    _ROBERTA_HEAD,
    query="attention.attn.q",
    key="attention.attn.k",
    value="attention.attn.v",
    joined="attention.attn.o",
    attention_norm="attention.LayerNorm",
    pads_positions=True,
)
_DISTILBERT = Family(
    "distilbert.",
    (("pre_classifier", "relu"), ("classifier", "")),
    layer="transformer.layer.{}.",
    query="attention.q_lin",
    key="attention.k_lin",
    value="attention.v_lin",
    joined="attention.out_lin",
    attention_norm="sa_layer_norm",
    inner="ffn.lin1",
    outer="ffn.lin2",
    output_norm="output_layer_norm",
    numbers={
        "hidden_size": "dim",
        "num_hidden_layers": "n_layers",
        "num_attention_heads": "n_heads",
        "hidden_act": "activation",
    },
)

#: By ``model_type`` of ``config.json``.
FAMILIES: Mapping[str, Family] = {
    "bert": _BERT,
    "camembert": _ROBERTA,
    "distilbert": _DISTILBERT,
    "electra": _ELECTRA,
    "mpnet": _MPNET,
    "roberta": _ROBERTA,
    "xlm-roberta": _ROBERTA,
}

ACTIVATIONS = ("gelu", "gelu_new", "gelu_pytorch_tanh", "relu")


@dataclass(frozen=True)
class Architecture:
    """The numbers of one model.

    Attributes:
        positions: Tokens that it can read, special tokens included.
        first_position: Row of the position table that belongs to the first token.
        buckets: Of the relative positions (MPNet); 0 where there are none.
    """

    family: Family
    hidden: int
    layers: int
    heads: int
    epsilon: float
    activation: str
    positions: int
    first_position: int
    buckets: int


def architecture(config: Mapping[str, Any], where: str) -> Architecture:
    """The numbers in a model's ``config.json``.

    Raises:
        ModelError: The architecture or a setting cannot be built; the message starts with ``where``.
    """
    kind = str(config.get("model_type"))
    if kind not in FAMILIES:
        raise ModelError(
            f"{where}: model_type {kind!r} cannot be built; known are {', '.join(sorted(FAMILIES))}; "
            "a folder with an ONNX or OpenVINO file of it can be read"
        )
    family = FAMILIES[kind]

    def number(name: str) -> int:
        key = family.numbers.get(name, name)
        if not isinstance(config.get(key), int) or config[key] < 1:
            raise ModelError(f"{where}: {key} of config.json is missing or not a positive number")
        return int(config[key])

    if (embedding := config.get("position_embedding_type") or "absolute") != "absolute":
        raise ModelError(f"{where}: position_embedding_type {embedding!r} cannot be built")
    activation = str(config.get(family.numbers.get("hidden_act", "hidden_act"), "gelu"))
    if activation not in ACTIVATIONS:
        raise ModelError(f"{where}: hidden_act {activation!r} cannot be built; known are {', '.join(ACTIVATIONS)}")
    hidden, heads = number("hidden_size"), number("num_attention_heads")
    if hidden % heads:
        raise ModelError(f"{where}: hidden_size {hidden} is not a multiple of {heads} attention heads")
    padding = config.get("pad_token_id")
    first = (1 if padding is None else int(padding)) + 1 if family.pads_positions else 0
    return Architecture(
        family,
        hidden,
        number("num_hidden_layers"),
        heads,
        float(config.get("layer_norm_eps", 1e-12)),
        activation,
        number("max_position_embeddings") - first,
        first,
        int(config.get("relative_attention_num_buckets", 32)) if kind == "mpnet" else 0,
    )


class Tensors:
    """The weights of a model in float32, by their names in the family.

    Args:
        weights: Tensors by their full name.
        family: Says which prefix the body may have.
        where: The file, for messages.
    """

    def __init__(self, weights: Weights, family: Family, where: str) -> None:
        self._weights = weights
        self._where = where
        self._prefix = family.prefix
        self._bare = not any(name.startswith(family.prefix) for name in weights)

    def full_name(self, name: str) -> str:
        """The name in the file of a tensor of the body (``encoder.…``) or of the head (``classifier.…``)."""
        if self._bare:
            return name.removeprefix(self._prefix)
        return f"{self._prefix}{name}" if f"{self._prefix}{name}" in self._weights else name

    def __contains__(self, name: str) -> bool:
        return self.full_name(name) in self._weights

    def __call__(self, name: str) -> Floats:
        """The tensor in float32.

        Raises:
            ModelError: There is none of that name, or it holds NaN or infinite numbers.
        """
        full = self.full_name(name)
        if full not in self._weights:
            raise ModelError(f"{self._where}: there is no tensor {full!r}; the file is of another model, or incomplete")
        tensor = np.asarray(self._weights[full], dtype=np.float32)
        # a sum is finite only if every term is, but for an overflow that the second look clears up
        if not np.isfinite(tensor.sum(dtype=np.float64)) and not np.isfinite(tensor).all():
            raise ModelError(f"{self._where}: tensor {full!r} holds NaN or infinite numbers; fetch the model again")
        return tensor


def relative_buckets(tokens: int, buckets: int, furthest: int = 128) -> npt.NDArray[np.int64]:
    """Bucket of the distance from each query position to each key position: int64 (tokens, tokens).

    Half the buckets are for keys behind the query, half for keys before it. In each half the near distances have a
    bucket each and the far ones share wider and wider ones (Raffel et al. 2020, section 2.1).
    """
    distance = np.arange(tokens)[:, None] - np.arange(tokens)[None, :]  # query minus key
    half = buckets // 2
    exact = half // 2
    size = np.abs(distance)
    # in float32 like the models were trained: at the borders of buckets the rounding decides
    ratio = np.log(np.maximum(size, 1).astype(np.float32) / np.float32(exact)) / np.float32(np.log(furthest / exact))
    far = np.minimum(exact + (ratio * np.float32(half - exact)).astype(np.int64), half - 1)
    return np.asarray(np.where(distance < 0, half, 0) + np.where(size < exact, size, far), dtype=np.int64)

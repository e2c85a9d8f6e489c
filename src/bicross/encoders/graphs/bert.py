"""BERT (Devlin et al. 2019) as an OpenVINO graph, with the heads of a bi-encoder and of a cross-encoder.

The inputs are ``input_ids``, ``attention_mask`` and ``token_type_ids``, each int64 of shape (batch, tokens), padded on
the right. There is one output in float32.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt
import openvino as ov
from openvino import opset13 as op

from bicross.errors import ModelError

Weights = Mapping[str, npt.NDArray[Any]]

POOLINGS = ("mean", "cls", "max")


class _Body:
    """The layers shared by both heads. Holds the weights while the graph is put together."""

    def __init__(self, weights: Weights, config: Mapping[str, Any]) -> None:
        if config.get("position_embedding_type", "absolute") != "absolute":
            raise ModelError(f"position_embedding_type {config['position_embedding_type']!r} cannot be built")
        self._weights = weights
        self._prefix = "bert." if any(name.startswith("bert.") for name in weights) else ""
        self._epsilon = float(config.get("layer_norm_eps", 1e-12))
        self._heads = int(config["num_attention_heads"])
        self._hidden = int(config["hidden_size"])
        self._activation = config.get("hidden_act", "gelu")
        self.inputs = [
            op.parameter([-1, -1], np.int64, name=name) for name in ("input_ids", "attention_mask", "token_type_ids")
        ]
        self.states = self._encode(int(config["num_hidden_layers"]))

    def weight(self, name: str, *, prefixed: bool = True) -> npt.NDArray[np.float32]:
        full = f"{self._prefix}{name}" if prefixed else name
        try:
            return self._weights[full].astype(np.float32)
        except KeyError:
            raise ModelError(f"the weights have no tensor {full!r}; is this a BERT model?") from None

    def linear(self, x: ov.Output, name: str, *, prefixed: bool = True) -> ov.Node:
        product = op.matmul(x, op.constant(self.weight(f"{name}.weight", prefixed=prefixed)), False, True)
        return op.add(product, op.constant(self.weight(f"{name}.bias", prefixed=prefixed)))

    def normalised(self, x: ov.Output, name: str) -> ov.Node:
        centred = op.mvn(x, op.constant(np.array([-1])), True, self._epsilon, "inside_sqrt")
        scaled = op.multiply(centred, op.constant(self.weight(f"{name}.weight")))
        return op.add(scaled, op.constant(self.weight(f"{name}.bias")))

    def _activate(self, x: ov.Output) -> ov.Node:
        match self._activation:
            case "gelu":
                return op.gelu(x, "erf")
            case "gelu_new" | "gelu_pytorch_tanh":
                return op.gelu(x, "tanh")
            case "relu":
                return op.relu(x)
            case other:
                raise ModelError(f"hidden_act {other!r} cannot be built; known are gelu, gelu_new and relu")

    def _encode(self, layers: int) -> ov.Node:
        ids, mask, types = self.inputs
        zero, one = op.constant(np.int64(0)), op.constant(np.int64(1))
        length = op.gather(op.shape_of(ids), one, zero)
        table = op.constant(self.weight("embeddings.position_embeddings.weight"))
        positions = op.slice(
            table, op.constant(np.array([0])), op.unsqueeze(length, zero), op.constant(np.array([1])),
            op.constant(np.array([0])),
        )  # fmt: skip
        words = op.gather(op.constant(self.weight("embeddings.word_embeddings.weight")), ids, zero)
        segments = op.gather(op.constant(self.weight("embeddings.token_type_embeddings.weight")), types, zero)
        x = self.normalised(op.add(op.add(words, segments), positions), "embeddings.LayerNorm")

        # 0 for a token, a large negative number for padding: (batch, 1, 1, tokens)
        visible = op.unsqueeze(op.convert(mask, np.float32), op.constant(np.array([1, 2])))
        bias = op.multiply(op.subtract(op.constant(np.float32(1)), visible), op.constant(np.float32(-1e9)))
        for number in range(layers):
            x = self._layer(x, bias, f"encoder.layer.{number}")
        return x

    def _layer(self, x: ov.Output, bias: ov.Output, name: str) -> ov.Node:
        size = self._hidden // self._heads
        split = op.constant(np.array([0, 0, self._heads, size]))
        by_head = op.constant(np.array([0, 2, 1, 3]))

        def heads(part: str) -> ov.Node:
            projected = self.linear(x, f"{name}.attention.self.{part}")
            return op.transpose(op.reshape(projected, split, True), by_head)

        attended = op.scaled_dot_product_attention(heads("query"), heads("key"), heads("value"), bias)
        joined = op.reshape(op.transpose(attended, by_head), op.constant(np.array([0, 0, self._hidden])), True)
        x = self.normalised(
            op.add(self.linear(joined, f"{name}.attention.output.dense"), x), f"{name}.attention.output.LayerNorm"
        )
        inner = self._activate(self.linear(x, f"{name}.intermediate.dense"))
        return self.normalised(op.add(self.linear(inner, f"{name}.output.dense"), x), f"{name}.output.LayerNorm")

    def first_token(self) -> ov.Node:
        return op.gather(self.states, op.constant(np.int64(0)), op.constant(np.int64(1)))


def embedding_graph(weights: Weights, config: Mapping[str, Any], pooling: str, normalise: bool) -> ov.Model:
    """Graph of a bi-encoder: output ``embedding``, float32 (batch, hidden size).

    Args:
        weights: Tensors by name, as in the model's safetensors file.
        config: The model's ``config.json``.
        pooling: ``mean`` over the tokens that are not padding, ``cls`` (the first token) or ``max``.
        normalise: Whether each embedding is divided by its Euclidean length.

    Raises:
        ModelError: The architecture or a setting cannot be built.
    """
    body = _Body(weights, config)
    visible = op.unsqueeze(op.convert(body.inputs[1], np.float32), op.constant(np.array([2])))
    axis = op.constant(np.array([1]))
    match pooling:
        case "cls":
            pooled = body.first_token()
        case "mean":
            total = op.reduce_sum(op.multiply(body.states, visible), axis)
            pooled = op.divide(total, op.maximum(op.reduce_sum(visible, axis), op.constant(np.float32(1e-9))))
        case "max":
            hidden = op.multiply(op.subtract(op.constant(np.float32(1)), visible), op.constant(np.float32(-1e9)))
            pooled = op.reduce_max(op.add(body.states, hidden), axis)
        case other:
            raise ModelError(f"pooling {other!r} cannot be built; known are {', '.join(POOLINGS)}")
    if normalise:
        pooled = op.normalize_l2(pooled, op.constant(np.array([1])), 1e-12, "max")
    return _finished(body, pooled, "embedding")


def logit_graph(weights: Weights, config: Mapping[str, Any]) -> ov.Model:
    """Graph of a cross-encoder (``BertForSequenceClassification``): output ``logits``, float32 (batch, labels).

    Raises:
        ModelError: The architecture or a setting cannot be built.
    """
    body = _Body(weights, config)
    pooled = op.tanh(body.linear(body.first_token(), "pooler.dense"))
    return _finished(body, body.linear(pooled, "classifier", prefixed=False), "logits")


def _finished(body: _Body, output: ov.Node, name: str) -> ov.Model:
    result = op.result(output)
    result.get_output_tensor(0).set_names({name})
    return ov.Model([result], body.inputs, name)

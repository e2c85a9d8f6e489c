"""A transformer encoder as an OpenVINO graph, with the heads of a bi-encoder and of a cross-encoder.

The inputs are ``input_ids``, ``attention_mask`` and ``token_type_ids``, each int64 of shape (batch, tokens), padded on
the right. There is one output in float32.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import openvino as ov
from openvino import opset13 as op

from bicross.encoders.engines.engine import Head
from bicross.encoders.families import Architecture, Floats, Tensors, relative_buckets
from bicross.encoders.folder import POOLINGS
from bicross.encoders.int8 import Int8Linear
from bicross.errors import ModelError

INPUTS = ("input_ids", "attention_mask", "token_type_ids")

Int8Layers = Mapping[str, Int8Linear]


class _Body:
    """The layers shared by both heads. Holds the weights while the graph is put together.

    Args:
        tensors: The weights.
        shape: The numbers.
        first_token_only: The head reads the first token alone, so the last layer computes no other.
        int8: Layers computed in int8, by their name; the others stay in the precision of the engine.
    """

    def __init__(self, tensors: Tensors, shape: Architecture, first_token_only: bool, int8: Int8Layers) -> None:
        self._tensors = tensors
        self._shape = shape
        self._int8 = int8
        self.inputs = [op.parameter([-1, -1], np.int64, name=name) for name in INPUTS]
        #: What each linear layer reads, by its name: what calibrating for int8 looks at.
        self.read: dict[str, ov.Output] = {}
        self.states = self._encode(first_token_only)

    def linear(self, x: ov.Output, name: str) -> ov.Node:
        self.read[name] = x
        if name in self._int8:
            return self._int8_linear(x, self._int8[name])
        product = op.matmul(x, op.constant(self._tensors(f"{name}.weight")), False, True)
        return op.add(product, op.constant(self._tensors(f"{name}.bias")))

    def _int8_linear(self, x: ov.Output, layer: Int8Linear) -> ov.Node:
        low, high = layer.input_range
        bounds = [op.constant(np.float32(bound)) for bound in (low, high, low, high)]
        quantised = op.fake_quantize(op.multiply(x, op.constant(1 / layer.input_scale)), *bounds, 256)
        weight = op.multiply(
            op.convert(op.constant(layer.weight), np.float32), op.constant(layer.weight_scale[:, None])
        )
        return op.add(op.matmul(quantised, weight, False, True), op.constant(layer.bias))

    def normalised(self, x: ov.Output, name: str) -> ov.Node:
        centred = op.mvn(x, op.constant(np.array([-1])), True, self._shape.epsilon, "inside_sqrt")
        scaled = op.multiply(centred, op.constant(self._tensors(f"{name}.weight")))
        return op.add(scaled, op.constant(self._tensors(f"{name}.bias")))

    def activate(self, x: ov.Output, activation: str) -> ov.Node:
        match activation:
            case "":
                return x
            case "gelu":
                return op.gelu(x, "erf")
            case "gelu_new" | "gelu_pytorch_tanh":
                return op.gelu(x, "tanh")
            case "relu":
                return op.relu(x)
            case "tanh":
                return op.tanh(x)
            case other:
                raise ModelError(f"activation {other!r} cannot be built")

    def _embed(self) -> ov.Node:
        ids, _, types = self.inputs
        zero = op.constant(np.int64(0))
        first = self._shape.first_position
        positions = _first_rows(self._tensors("embeddings.position_embeddings.weight")[first:], self._length())
        x = op.gather(op.constant(self._tensors("embeddings.word_embeddings.weight")), ids, zero)
        if "embeddings.token_type_embeddings.weight" in self._tensors:
            segments = self._tensors("embeddings.token_type_embeddings.weight")
            # a model with one segment reads both texts of a pair as that one
            kinds = types if len(segments) > 1 else op.multiply(types, zero)
            x = op.add(x, op.gather(op.constant(segments), kinds, zero))
        x = self.normalised(op.add(x, positions), "embeddings.LayerNorm")
        if "embeddings_project.weight" in self._tensors:  # ELECTRA, where embeddings are narrower than layers
            x = self.linear(x, "embeddings_project")
        return x

    def _length(self) -> ov.Node:
        return op.gather(op.shape_of(self.inputs[0]), op.constant(np.array([1])), op.constant(np.int64(0)))

    def _encode(self, first_token_only: bool) -> ov.Node:
        x = self._embed()
        # 0 for a token, a large negative number for padding: (batch, 1, 1, tokens)
        visible = op.unsqueeze(op.convert(self.inputs[1], np.float32), op.constant(np.array([1, 2])))
        bias = op.multiply(op.subtract(op.constant(np.float32(1)), visible), op.constant(np.float32(-1e9)))
        if self._shape.buckets:
            table = self._tensors("encoder.relative_attention_bias.weight")  # (buckets, heads)
            by_distance = table[relative_buckets(self._shape.positions, self._shape.buckets)]
            square = _first_rows(by_distance.transpose(2, 0, 1), self._length(), axes=(1, 2))
            bias = op.add(bias, op.unsqueeze(square, op.constant(np.array([0]))))
        for number in range(self._shape.layers):
            last = number == self._shape.layers - 1
            x = self._layer(x, bias, self._shape.family.layer.format(number), first_token_only and last)
        return x

    def _layer(self, x: ov.Output, bias: ov.Output, name: str, first_token_only: bool) -> ov.Node:
        family = self._shape.family
        size = self._shape.hidden // self._shape.heads
        by_head = op.constant(np.array([0, 2, 1, 3]))

        def heads(projected: ov.Output) -> ov.Node:
            split = op.constant(np.array([0, 0, self._shape.heads, size]))
            return op.transpose(op.reshape(projected, split, True), by_head)

        rows = x
        if first_token_only:
            rows = _first(x)
            if self._shape.buckets:
                bias = _slice(bias, 0, 1, axis=2)
        query, key, value = (
            heads(self.linear(source, f"{name}{part}"))
            for source, part in ((rows, family.query), (x, family.key), (x, family.value))
        )
        attended = op.scaled_dot_product_attention(query, key, value, bias)
        joined = op.reshape(op.transpose(attended, by_head), op.constant(np.array([0, 0, self._shape.hidden])), True)
        rows = self.normalised(
            op.add(self.linear(joined, f"{name}{family.joined}"), rows), f"{name}{family.attention_norm}"
        )
        forward = self._feed_forward(rows, f"{name}{family.inner}", f"{name}{family.outer}")
        return self.normalised(op.add(forward, rows), f"{name}{family.output_norm}")

    def _feed_forward(self, rows: ov.Output, inner: str, outer: str) -> ov.Node:
        wide = self.activate(self.linear(rows, inner), self._shape.activation)
        result = self.linear(wide, outer)
        if outer not in self._int8 or not len(kept := self._int8[outer].kept):
            return result
        # the few neurons whose numbers are so large that int8 would have no steps left for the others
        weight, bias = self._tensors(f"{inner}.weight")[kept], self._tensors(f"{inner}.bias")[kept]
        few = op.add(op.matmul(rows, op.constant(weight), False, True), op.constant(bias))
        back = op.constant(np.ascontiguousarray(self._tensors(f"{outer}.weight")[:, kept]))
        return op.add(result, op.matmul(self.activate(few, self._shape.activation), back, False, True))


def _first(x: ov.Output) -> ov.Node:
    """The first token of each text: (batch, 1, hidden)."""
    return _slice(x, 0, 1, axis=1)


def _slice(x: ov.Output, start: int, stop: int, axis: int) -> ov.Node:
    return op.slice(x, *(op.constant(np.array([n])) for n in (start, stop, 1, axis)))


def _first_rows(table: Floats, count: ov.Output, axes: tuple[int, ...] = (0,)) -> ov.Node:
    """The first ``count`` entries of a constant along each of the axes."""
    x = op.constant(np.ascontiguousarray(table))
    for axis in axes:
        x = op.slice(x, op.constant(np.array([0])), count, op.constant(np.array([1])), op.constant(np.array([axis])))
    return x


def pooled(states: ov.Output, mask: ov.Output, pooling: str, normalise: bool) -> ov.Node:
    """One vector a text from the states of its tokens: float32 (batch, hidden).

    Args:
        states: (batch, tokens, hidden).
        mask: int64 (batch, tokens), 0 at padding.
        pooling: ``mean`` over the tokens that are not padding, ``cls`` (the first token) or ``max``.
        normalise: Whether each vector is divided by its Euclidean length.
    """
    visible = op.unsqueeze(op.convert(mask, np.float32), op.constant(np.array([2])))
    axis = op.constant(np.array([1]))
    match pooling:
        case "cls":
            vector = op.gather(states, op.constant(np.int64(0)), op.constant(np.int64(1)))
        case "mean":
            total = op.reduce_sum(op.multiply(states, visible), axis)
            vector = op.divide(total, op.maximum(op.reduce_sum(visible, axis), op.constant(np.float32(1e-9))))
        case "max":
            hidden = op.multiply(op.subtract(op.constant(np.float32(1)), visible), op.constant(np.float32(-1e9)))
            vector = op.reduce_max(op.add(states, hidden), axis)
        case other:
            raise ModelError(f"pooling {other!r} cannot be built; known are {', '.join(POOLINGS)}")
    return op.normalize_l2(vector, op.constant(np.array([1])), 1e-12, "max") if normalise else vector


def encoder_graph(tensors: Tensors, shape: Architecture, head: Head, int8: Int8Layers | None = None) -> ov.Model:
    """Graph of a model: output ``embedding``, float32 (batch, hidden), or ``logits``, float32 (batch, labels).

    Args:
        tensors: The weights.
        shape: The numbers of the model.
        head: What it ends in.
        int8: Linear layers computed in int8.

    Raises:
        ModelError: A tensor is missing or damaged.
    """
    body = _Body(tensors, shape, head.reads_first_token, int8 or {})
    if head.output == "embedding":
        x = pooled(body.states, body.inputs[1], head.pooling, head.normalise)
    else:
        x = op.gather(body.states, op.constant(np.int64(0)), op.constant(np.int64(1)))
        for name, activation in shape.family.head:
            x = body.activate(body.linear(x, name), activation)
    return finished(body.inputs, x, head.output)


def finished(inputs: list[ov.Node], output: ov.Output, name: str) -> ov.Model:
    """A model with one named output."""
    result = op.result(output)
    result.get_output_tensor(0).set_names({name})
    return ov.Model([result], inputs, name)


def reading_graph(tensors: Tensors, shape: Architecture, names: Sequence[str]) -> ov.Model:
    """Graph with an output for each named linear layer: what the layer reads, float32 (batch, tokens, features).

    For calibrating: which numbers a layer has to do with.
    """
    body = _Body(tensors, shape, False, {})
    return ov.Model([op.result(body.read[name]) for name in names], body.inputs, "reading")

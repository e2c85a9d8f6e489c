"""The torch engine, for GPUs: no padding at all, sequences lie behind each other in one long row.

Needs the extra ``gpu``. It reads the same tensors as the OpenVINO graphs (``graphs.families``), so a model that one of
them can run, the other can. On the CPU it is there for comparison, as ``device="torch:cpu"``.
"""

from __future__ import annotations

from collections.abc import Generator, Iterable, Sequence
from dataclasses import dataclass
from itertools import chain
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
import torch.nn.functional as fn

from bicross.encoders.engines.engine import Head
from bicross.encoders.families import Architecture, Tensors, relative_buckets
from bicross.encoders.tokenising import Tokenised
from bicross.errors import UsageError

_TYPES = {"f32": torch.float32, "bf16": torch.bfloat16, "f16": torch.float16}

_ACTIVATIONS: dict[str, Any] = {
    "": lambda x: x,
    "gelu": fn.gelu,
    "gelu_new": lambda x: fn.gelu(x, approximate="tanh"),
    "gelu_pytorch_tanh": lambda x: fn.gelu(x, approximate="tanh"),
    "relu": fn.relu,
    "tanh": torch.tanh,
}


@dataclass(frozen=True)
class _Packed:
    """One batch on the device: ``ids``, ``types``, ``places`` (tokens,); ``starts`` (texts + 1,)."""

    ids: torch.Tensor
    types: torch.Tensor
    places: torch.Tensor
    starts: torch.Tensor
    lengths: list[int]

    @property
    def longest(self) -> int:
        return max(self.lengths)


class TorchEngine:
    """A transformer with one head.

    Args:
        tensors: The weights.
        shape: The numbers of the model.
        head: What it ends in.
        device: As torch names it: ``cuda``, ``cuda:1``, ``cpu``.
        precision: ``auto`` (bf16 on a GPU that computes in it, f16 on one that does not, f32 on the CPU), ``f32``,
            ``bf16`` or ``f16``.

    Raises:
        UsageError: There is no such device, or the precision is unknown.
        ModelError: A tensor is missing or damaged.
    """

    def __init__(self, tensors: Tensors, shape: Architecture, head: Head, device: str, precision: str) -> None:
        try:
            self._device = torch.device(device)
            torch.empty(1, device=self._device)
        except Exception as error:  # torch raises several kinds, one of them AssertionError
            reason = " ".join(str(error).split())[:200]
            raise UsageError(f"device {device!r} cannot be used: {reason}; choose device='cpu'") from None
        on_gpu = self._device.type == "cuda"
        # NVIDIA's chips compute in bf16, and run flash attention, from the eighth generation on
        modern = on_gpu and torch.version.hip is None and torch.cuda.get_device_capability(self._device)[0] >= 8
        if precision == "int8":
            raise UsageError("int8 runs on the CPU alone; choose device='cpu', or precision='auto'")
        if precision == "auto":
            precision = ("bf16" if modern else "f16") if on_gpu else "f32"
        if precision not in _TYPES:
            raise UsageError(f"precision {precision!r} is unknown to device {device}; choose auto, {', '.join(_TYPES)}")
        self.precision = precision
        # A GPU wants much work at once; on the CPU the caches decide.
        self.token_budget = 65_536 if on_gpu else 2048
        self.call_tokens, self.step = self.token_budget, 1  # texts are packed: there is no padding
        self.streams = 1
        self._type = _TYPES[precision]
        self._shape = shape
        self._head = head
        self._weights = {name: self._to_device(tensor) for name, tensor in _named(tensors, shape, head)}
        self.width = shape.hidden
        if head.output == "logits":
            self.width = len(self._weights[f"{shape.family.head[-1][0]}.bias"])
        self._bias = None
        if shape.buckets:
            table = tensors("encoder.relative_attention_bias.weight")
            self._bias = self._to_device(table[relative_buckets(shape.positions, shape.buckets)].transpose(2, 0, 1))
        self._varlen = self._variable_length_attention() if modern else None

    def run(self, batches: Iterable[Sequence[Tokenised]]) -> Generator[npt.NDArray[np.float32], None, None]:
        """Yield float32 (items, width) for each batch. A batch is put to work before the last one is waited for."""
        waiting: torch.Tensor | None = None
        for batch in batches:
            started = self._forward(self._pack(batch))
            if waiting is not None:
                yield waiting.cpu().numpy()
            waiting = started
        if waiting is not None:
            yield waiting.cpu().numpy()

    def _to_device(self, tensor: npt.NDArray[np.float32]) -> torch.Tensor:
        return torch.from_numpy(np.ascontiguousarray(tensor)).to(self._device, self._type)

    def _variable_length_attention(self) -> Any:
        """Flash attention over sequences of different length, where torch has it and the model suits it."""
        size = self._shape.hidden // self._shape.heads
        if self._bias is not None or self._type == torch.float32 or size % 8 or size > 256:
            return None
        try:
            from torch.nn.attention.varlen import varlen_attn
        except ImportError:  # torch before 2.10
            return None
        return varlen_attn

    def _pack(self, items: Sequence[Tokenised]) -> _Packed:
        lengths = [len(item) for item in items]

        def tensor(array: npt.NDArray[Any], kind: torch.dtype) -> torch.Tensor:
            host = torch.from_numpy(array).to(kind)
            if self._device.type == "cuda":
                host = host.pin_memory()
            return host.to(self._device, non_blocking=True)

        return _Packed(
            tensor(np.concatenate([item.ids for item in items]), torch.long),
            tensor(np.concatenate([item.types for item in items]), torch.long),
            tensor(np.concatenate([np.arange(n) for n in lengths]), torch.long),
            tensor(np.cumsum([0, *lengths]), torch.int32),
            lengths,
        )

    @torch.inference_mode()  # type: ignore[untyped-decorator]
    def _forward(self, batch: _Packed) -> torch.Tensor:
        shape, weights = self._shape, self._weights
        x = fn.embedding(batch.ids, weights["embeddings.word_embeddings.weight"])
        x = x + weights["embeddings.position_embeddings.weight"][batch.places + shape.first_position]
        if (kinds := weights.get("embeddings.token_type_embeddings.weight")) is not None:
            x = x + kinds[batch.types if len(kinds) > 1 else torch.zeros_like(batch.types)]
        x = self._normalised(x, "embeddings.LayerNorm")
        if "embeddings_project.weight" in weights:
            x = self._linear(x, "embeddings_project")
        for number in range(shape.layers):
            last = number == shape.layers - 1
            x = self._layer(x, batch, shape.family.layer.format(number), self._head.reads_first_token and last)
        return self._finish(x, batch)

    def _linear(self, x: torch.Tensor, name: str) -> torch.Tensor:
        return fn.linear(x, self._weights[f"{name}.weight"], self._weights[f"{name}.bias"])

    def _normalised(self, x: torch.Tensor, name: str) -> torch.Tensor:
        weight, bias = self._weights[f"{name}.weight"], self._weights[f"{name}.bias"]
        return fn.layer_norm(x, (x.shape[-1],), weight, bias, self._shape.epsilon)

    def _layer(self, x: torch.Tensor, batch: _Packed, name: str, first_only: bool) -> torch.Tensor:
        family = self._shape.family
        rows = x[batch.starts[:-1].long()] if first_only else x
        query = self._linear(rows, f"{name}{family.query}")
        key, value = self._linear(x, f"{name}{family.key}"), self._linear(x, f"{name}{family.value}")
        joined = self._attend(query, key, value, batch, first_only)
        rows = self._normalised(self._linear(joined, f"{name}{family.joined}") + rows, f"{name}{family.attention_norm}")
        inner = _ACTIVATIONS[self._shape.activation](self._linear(rows, f"{name}{family.inner}"))
        return self._normalised(self._linear(inner, f"{name}{family.outer}") + rows, f"{name}{family.output_norm}")

    def _attend(
        self, query: torch.Tensor, key: torch.Tensor, value: torch.Tensor, batch: _Packed, first_only: bool
    ) -> torch.Tensor:
        """Attention inside each sequence: (rows, hidden), as many rows as ``query`` has."""
        heads = self._shape.heads
        if self._varlen is not None:
            q, k, v = (x.unflatten(-1, (heads, -1)) for x in (query, key, value))
            ends = torch.arange(len(batch.lengths) + 1, dtype=torch.int32, device=query.device)
            starts, longest = (ends, 1) if first_only else (batch.starts, batch.longest)
            joined: torch.Tensor = self._varlen(q, k, v, starts, batch.starts, longest, batch.longest)
            return joined.flatten(1)
        lengths = [1] * len(batch.lengths) if first_only else batch.lengths
        queries = len(batch.lengths), max(lengths)

        def by_head(x: torch.Tensor, sizes: list[int]) -> torch.Tensor:
            padded = torch.nn.utils.rnn.pad_sequence(list(x.split(sizes)), batch_first=True)
            return padded.unflatten(-1, (heads, -1)).transpose(1, 2)

        places = torch.arange(batch.longest, device=query.device)
        visible = places[None, :] < batch.starts.diff()[:, None]
        bias = torch.zeros(visible.shape, dtype=self._type, device=query.device).masked_fill(
            ~visible, -1e9 if self._type != torch.float16 else -6e4
        )
        mask = bias[:, None, None, :]
        if self._bias is not None:
            mask = mask + self._bias[:, : queries[1], : batch.longest]
        attended = fn.scaled_dot_product_attention(
            by_head(query, lengths), by_head(key, batch.lengths), by_head(value, batch.lengths), attn_mask=mask
        )
        rows = attended.transpose(1, 2).flatten(2)
        real = (
            torch.arange(queries[1], device=query.device)[None, :] < torch.tensor(lengths, device=query.device)[:, None]
        )
        return rows[real]

    def _finish(self, x: torch.Tensor, batch: _Packed) -> torch.Tensor:
        """The head, in float32 from pooling on."""
        if self._head.output == "logits":
            for name, activation in self._shape.family.head:
                x = _ACTIVATIONS[activation](self._linear(x, name))
            return x.float()
        x = x.float()
        if self._head.pooling != "cls":
            reduce = "mean" if self._head.pooling == "mean" else "max"
            # unsafe: without a check of the lengths, for which the host would have to wait
            x = torch.segment_reduce(x, reduce, lengths=batch.starts.diff().long(), axis=0, unsafe=True)
        return fn.normalize(x, dim=-1, eps=1e-12) if self._head.normalise else x


def _named(tensors: Tensors, shape: Architecture, head: Head) -> Iterable[tuple[str, npt.NDArray[np.float32]]]:
    """The tensors that the model computes with, by name."""
    family = shape.family
    linear = [family.query, family.key, family.value, family.joined, family.inner, family.outer]
    parts = [*linear, family.attention_norm, family.output_norm]
    names = chain(
        ["embeddings.LayerNorm"],
        ["embeddings_project"] if "embeddings_project.weight" in tensors else [],
        (family.layer.format(number) + part for number in range(shape.layers) for part in parts),
        (name for name, _ in family.head) if head.output == "logits" else [],
    )
    for name in ("word_embeddings", "position_embeddings", "token_type_embeddings"):
        if name != "token_type_embeddings" or f"embeddings.{name}.weight" in tensors:
            yield f"embeddings.{name}.weight", tensors(f"embeddings.{name}.weight")
    for name in names:
        yield f"{name}.weight", tensors(f"{name}.weight")
        yield f"{name}.bias", tensors(f"{name}.bias")

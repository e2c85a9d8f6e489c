"""Texts of like length are embedded together, so that little of the work is padding.

A batch of a contrastive loss must be one: every text is a negative of every other. How it is embedded is free. Here it
goes through the model in parts of texts that are about as long as each other, each part no wider than its longest.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from sentence_transformers import CrossEncoder, SentenceTransformer
from torch import Tensor

#: Tokens of a part, padding included: enough to keep two cores busy, few enough that parts are alike inside.
PART_TOKENS = 2048


class ByLength(SentenceTransformer):
    """A bi-encoder of which ``forward`` embeds a padded batch in parts of like length.

    What it gives is what ``SentenceTransformer`` gives, but for rounding. Expects padding on the right.
    """

    def forward(self, input: dict[str, Any], **kwargs: Any) -> dict[str, Any]:
        return _in_parts(super().forward, input, "sentence_embedding", kwargs)


class PairsByLength(CrossEncoder):
    """The same for a cross-encoder."""

    def forward(self, input: dict[str, Any], **kwargs: Any) -> dict[str, Any]:
        return _in_parts(super().forward, input, "scores", kwargs)


def _in_parts(
    forward: Callable[..., dict[str, Any]], features: dict[str, Any], output: str, settings: dict[str, Any]
) -> dict[str, Any]:
    mask = features.get("attention_mask")
    if mask is None or mask.ndim != 2:
        return dict(forward(features, **settings))
    lengths = mask.sum(dim=1)
    parts = in_parts(lengths)
    outputs = [forward(_rows(features, part, int(lengths[part].max())), **settings)[output] for part in parts]
    back = torch.argsort(torch.cat(parts))
    return {**features, output: torch.cat(outputs)[back]}


def in_parts(lengths: Tensor, part_tokens: int = PART_TOKENS) -> list[Tensor]:
    """Rows, the shortest first, in parts of which rows times the longest are at most ``part_tokens``.

    Args:
        lengths: (rows,), each at least 1.
        part_tokens: A row that is longer is a part by itself.

    Returns:
        int64 each; together every row once.
    """
    order = torch.argsort(lengths, stable=True)
    parts: list[list[int]] = []
    for row in order.tolist():
        if parts and (len(parts[-1]) + 1) * int(lengths[row]) <= part_tokens:
            parts[-1].append(row)
        else:
            parts.append([row])
    return [torch.tensor(part, device=lengths.device) for part in parts]


def _rows(features: dict[str, Any], rows: Tensor, width: int) -> dict[str, Any]:
    """Some rows of padded features, without the columns that are padding in all of them."""
    count, columns = features["attention_mask"].shape
    picked = {}
    for name, value in features.items():
        if isinstance(value, Tensor) and value.ndim >= 1 and len(value) == count:
            value = value[rows]
            if value.ndim >= 2 and value.shape[1] == columns:
                value = value[:, :width]
        picked[name] = value
    return picked

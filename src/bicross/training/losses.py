"""The losses of a cross-encoder, by the names that ``--loss`` takes.

``binary`` and ``graded`` look at each pair by itself, the others at a query with its documents. Those of the library
are used as they are. Here are those that can have a teacher: what it says and the judgements are joined.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import torch
from sentence_transformers import CrossEncoder
from sentence_transformers.cross_encoder.losses import BinaryCrossEntropyLoss, LambdaLoss, RankNetLoss
from torch import Tensor, nn

#: What a judgement adds to the score of a teacher where there are both, in units of a logit.
LABEL_BONUS = 3.0

POINTWISE = ("binary", "graded")
TAUGHT = ("margin-mse", "mse", "softmax")
LOSSES = (*POINTWISE, "lambda", "ranknet", "softmax", "margin-mse", "mse")


class _OverGroups(nn.Module):
    """Logits of all documents of a batch at once, then one loss for each query."""

    def __init__(self, model: CrossEncoder) -> None:
        super().__init__()
        self.model = model

    def forward(
        self, inputs: list[Any], labels: list[Tensor], prompt: str | None = None, task: str | None = None
    ) -> Tensor:
        queries, documents = inputs
        features = self.model.preprocess(
            [(query, document) for query, group in zip(queries, documents, strict=True) for document in group],
            prompt=prompt,
            task=task,
        )
        features = {k: v.to(self.model.device) if isinstance(v, Tensor) else v for k, v in features.items()}
        logits = self.model(features)["scores"].view(-1).float().split([len(group) for group in documents])
        return torch.stack(
            [self.of_group(own, wanted.float().to(own.device)) for own, wanted in zip(logits, labels, strict=True)]
        ).mean()

    def of_group(self, logits: Tensor, wanted: Tensor) -> Tensor:
        raise NotImplementedError


class MarginMse(_OverGroups):
    """MarginMSE (Hofstätter et al. 2020) over all pairs of documents of a query, not those with the positive alone.

    The mean of ((s_i - s_j) - (t_i - t_j))^2 over all i and j is twice the variance of s - t.
    """

    def of_group(self, logits: Tensor, wanted: Tensor) -> Tensor:
        return 2 * (logits - wanted).var(correction=0)


class Mse(_OverGroups):
    """Mean squared error: the level of the logits is learnt too, not the differences alone."""

    def of_group(self, logits: Tensor, wanted: Tensor) -> Tensor:
        return nn.functional.mse_loss(logits, wanted)


class Softmax(_OverGroups):
    """Cross-entropy between softmax(wanted) and softmax(logits): ListNet (Cao et al. 2007)."""

    def of_group(self, logits: Tensor, wanted: Tensor) -> Tensor:
        return -(torch.softmax(wanted, dim=0) * torch.log_softmax(logits, dim=0)).sum()


def loss_of(name: str, model: CrossEncoder) -> nn.Module:
    """The loss of that name; ``LOSSES`` has them all."""
    makers: Mapping[str, Callable[[], nn.Module]] = {
        "binary": lambda: BinaryCrossEntropyLoss(model),
        "graded": lambda: BinaryCrossEntropyLoss(model),
        "lambda": lambda: LambdaLoss(model, mini_batch_size=-1),
        "ranknet": lambda: RankNetLoss(model, mini_batch_size=-1),
        "softmax": lambda: Softmax(model),
        "margin-mse": lambda: MarginMse(model),
        "mse": lambda: Mse(model),
    }
    return makers[name]()


def wanted(name: str, labels: list[float] | None, scores: list[float] | None, highest: float) -> list[float]:
    """What a loss is to bring the logits of a group to.

    Args:
        name: Of the loss.
        labels: Judgements, if any: 0 to ``highest``.
        scores: Of a teacher, if any.
        highest: Label there is.
    """
    marks = [label / highest for label in labels] if labels is not None else None
    if name in POINTWISE:
        assert marks is not None
        return marks
    if name == "mse":
        assert scores is not None
        return scores
    if name in TAUGHT and scores is not None:
        bonus = marks or [0.0] * len(scores)
        return [score + LABEL_BONUS * mark for score, mark in zip(scores, bonus, strict=True)]
    assert labels is not None
    return [LABEL_BONUS * mark for mark in marks or ()] if name == "softmax" else labels

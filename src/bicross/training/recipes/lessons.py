"""What a cross-encoder and a bi-encoder learn, and the loop in which they do."""

from __future__ import annotations

import math
import random
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from bicross.training.recipes.groups import GROUP, Groups
from bicross.training.recipes.reading import DEVICE, SEED, Encoder, Reader, Tokens, by_length, single

#: A judged document gets so much more than the teachers give it.
LABEL_NATS = 3.0

#: Weight of the binary cross-entropy of the bare logit.
POINTWISE = 0.2

#: Weight of the squared error of the logits, where another model's are given.
OF_LOGITS = 0.05


@dataclass
class Pace:
    """How long a training goes on: for ``seconds``, or for ``steps`` where there are any."""

    seconds: float
    steps: int = 0


def train(model: nn.Module, loss_of: Callable[[int], Tensor], rate: float, pace: Pace, say: str) -> int:
    """AdamW with a rate that rises over the first twentieth and falls to 0; returns the steps that were done."""
    decay = [p for p in model.parameters() if p.requires_grad and p.ndim > 1]
    others = [p for p in model.parameters() if p.requires_grad and p.ndim <= 1]
    optimiser = torch.optim.AdamW(
        [{"params": decay, "weight_decay": 0.01}, {"params": others, "weight_decay": 0.0}],
        lr=rate,
        fused=DEVICE.type == "cuda",
    )
    model.train()
    started, step, shown = time.perf_counter(), 0, 0.0
    losses: list[Tensor] = []
    while True:
        elapsed = time.perf_counter() - started
        done = step / pace.steps if pace.steps else elapsed / pace.seconds
        if done >= 1:
            break
        for group in optimiser.param_groups:
            group["lr"] = rate * min(1.0, (done + 1e-3) / 0.05) * (1 - done)
        loss = loss_of(step)
        if step % 25 == 0 and not math.isfinite(float(loss.detach())):  # seldom, since it waits for the device
            raise SystemExit(f"{say}: the loss at step {step} is no number")
        loss.backward()
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimiser.step()
        optimiser.zero_grad(set_to_none=True)
        losses.append(loss.detach())
        step += 1
        if elapsed - shown > 15:
            shown = elapsed
            mean = float(torch.stack(losses[-50:]).mean())
            print(f"    {say}: {elapsed:.0f} s, step {step}, loss {mean:.4f}", flush=True)
    model.eval()
    return step


@dataclass
class Lesson:
    """What a cross-encoder learns from: the groups, what is wanted of each pair, and how.

    ``labels_only`` leaves out what the teachers want, ``teachers_only`` the judgements; ``offset`` is added to the
    logits as a constant.
    """

    groups: Groups
    wanted: Tensor
    width: int = GROUP
    labels_only: bool = False
    teachers_only: bool = False
    offset: Tensor | None = None
    logits: Tensor | None = None


def batches(number: int, size: int) -> Iterator[Tensor]:
    """Places of groups, in an order that is new each time they are all through."""
    generator = torch.Generator().manual_seed(SEED)
    while True:
        order = torch.randperm(number, generator=generator)
        for start in range(0, number - size + 1, size):
            yield order[start : start + size]


def listwise(reader: Reader, lesson: Lesson, size: int) -> Callable[[int], Tensor]:
    groups = lesson.groups
    usable = torch.nonzero(groups.judged).flatten() if lesson.labels_only else torch.arange(len(groups))
    stream = batches(len(usable), min(size, len(usable)))
    generator = torch.Generator().manual_seed(SEED)

    def loss_of(step: int) -> Tensor:
        rows = usable[next(stream)]
        there = groups.there[rows]
        if lesson.width < groups.document.shape[1]:  # those with a label, and others by chance
            luck = torch.rand(there.shape, generator=generator) + (groups.label[rows] > 0) - 9.0 * ~there
            columns = luck.topk(lesson.width, dim=1).indices
        else:
            columns = torch.arange(there.shape[1]).expand_as(there)
        there = there.gather(1, columns)
        documents = groups.document[rows].gather(1, columns)
        queries = groups.query[rows][:, None].expand_as(documents)
        label = groups.label[rows].gather(1, columns).clamp(0, 1)
        target = lesson.wanted[rows].gather(1, columns) * (not lesson.labels_only)
        target = target + LABEL_NATS * label * (1 + lesson.labels_only) * (not lesson.teachers_only)
        target = torch.softmax(target.masked_fill(~there, -1e9), 1)
        constant = torch.zeros(there.shape) if lesson.offset is None else lesson.offset[rows].gather(1, columns)
        constant = constant.masked_fill(~there, -1e9)
        level = (groups.level[rows][:, None] & there).float() * (not lesson.teachers_only)
        told = torch.zeros(there.shape) if lesson.logits is None else lesson.logits[rows].gather(1, columns)
        places = torch.nonzero(there.flatten()).flatten()
        read = reader.logits(queries[there], documents[there])
        target, constant, level, told, label, places = (
            t.to(DEVICE) for t in (target, constant, level, told, label, places)
        )
        logit = torch.zeros(target.numel(), device=DEVICE).index_put((places,), read).view_as(target)
        loss = -(target * torch.log_softmax(logit + constant, 1)).sum(1).mean()
        each = nn.functional.binary_cross_entropy_with_logits(logit, label, reduction="none")
        loss = loss + POINTWISE * (each * level).sum() / level.sum().clamp(min=1)
        if lesson.logits is not None:
            loss = loss + OF_LOGITS * nn.functional.mse_loss(read, told.flatten()[places])
        return loss

    return loss_of


def similarity_loss(
    encoder: Encoder,
    tokens: tuple[Tokens, Tokens],
    groups: Groups,
    wanted: Tensor,
    teachers: dict[str, tuple[float, tuple[Tensor, Tensor]]],
    scale: float,
    size: int,
    own: int,
) -> Callable[[int], Tensor]:
    """Of a batch of one source: all its documents for every query, and the own ones as the cross-encoder sees them."""
    by_source: dict[str, list[int]] = {}
    for place, name in enumerate(groups.source):
        by_source.setdefault(name, []).append(place)
    names = sorted(by_source)
    weights = [len(by_source[name]) for name in names]
    rng = random.Random(SEED)
    generator = torch.Generator().manual_seed(SEED)

    def loss_of(step: int) -> Tensor:
        members = by_source[rng.choices(names, weights)[0]]
        rows = torch.tensor(rng.sample(members, min(size, len(members))))
        there = groups.there[rows]
        luck = torch.rand(there.shape, generator=generator) + (groups.label[rows] > 0) - 9.0 * ~there
        columns = luck.topk(min(own, there.shape[1]), dim=1).indices
        there = there.gather(1, columns)
        documents = groups.document[rows].gather(1, columns)
        label = groups.label[rows].gather(1, columns).clamp(0, 1)
        flat = documents[there]
        mine = torch.zeros(there.shape, dtype=torch.long)
        mine[there] = torch.arange(len(flat))
        full = (wanted[rows].gather(1, columns) + LABEL_NATS * label).masked_fill(~there, -1e9)
        q = encoder.embeddings(single(tokens[0], groups.query[rows], encoder.frame))
        parts, order = [], []
        for some in by_length(tokens[1].sizes[flat], encoder.most_tokens):
            parts.append(encoder.embeddings(single(tokens[1], flat[some], encoder.frame)))
            order.append(some)
        d = torch.cat(parts)[torch.argsort(torch.cat(order)).to(DEVICE)]
        said = scale * q @ d.T
        asked, stored = groups.query[rows].to(DEVICE), flat.to(DEVICE)
        seen = [w * (v[0][asked].float() @ v[1][stored].float().T) for w, v in teachers.values()]
        label, there, mine, full = (t.to(DEVICE) for t in (label, there, mine, full))
        target = torch.stack(seen).sum(0).scatter_add(1, mine, LABEL_NATS * label * there)
        across = -(torch.softmax(target, 1) * torch.log_softmax(said, 1)).sum(1).mean()
        down = -(torch.softmax(target, 0) * torch.log_softmax(said, 0)).sum(0).mean()
        close = torch.log_softmax(said.gather(1, mine).masked_fill(~there, -1e9), 1)
        listed = -(torch.softmax(full, 1) * close).sum(1).mean()
        return across + 0.5 * down + listed

    return loss_of

"""Queries with a handful of documents each, what every scorer says of them, and what a mixture of scorers is worth."""

from __future__ import annotations

import random
from dataclasses import dataclass, field

import numpy as np
import torch
from torch import Tensor

from bicross.training.recipes.reading import DEVICE, SEED, Source

#: Documents of a query.
GROUP = 12

#: Groups of each query of a source; one where it says none.
GROUPS_A_QUERY = {"scifact": 6, "wikiqa-tok": 3, "nfcorpus": 2}

#: Sources whose judgements set the level of the logit.
LEVEL = ("scifact", "nfcorpus", "wikiqa-tok", "medquad")

#: Candidates of a query that is only measured.
MEASURED = 50


@dataclass
class Groups:
    """Queries and documents by their places among all texts; (groups, width) but for ``query`` and ``source``; in main
    memory.

    Places without a document hold document 0 and are False in ``there``. ``label`` is the grade; ``judged`` says
    whether somebody judged. ``features`` are what each scorer says.
    """

    query: Tensor
    document: Tensor
    there: Tensor
    label: Tensor
    judged: Tensor
    level: Tensor
    source: list[str]
    features: dict[str, Tensor] = field(default_factory=dict)
    ideal: Tensor | None = None

    def __len__(self) -> int:
        return len(self.query)

    def pairs(self) -> tuple[Tensor, Tensor]:
        """All pairs that are there, in rows."""
        return self.query[:, None].expand_as(self.document)[self.there], self.document[self.there]

    def put(self, name: str, values: Tensor) -> None:
        """A feature from the values of ``pairs``."""
        full = torch.zeros(self.document.shape)
        full[self.there] = values
        self.features[name] = full


def chosen(rng: random.Random, order: list[int], positives: list[int], size: int = GROUP) -> list[int]:
    """One group: up to three positives, the rest mostly from the first sixty, one at random; no document twice."""
    out = rng.sample(positives, min(3, len(positives)))
    top = [i for i in order[:12] if i not in out]
    out += rng.sample(top, min(6, len(top)))
    deep = [i for i in order[12:60] if i not in out]
    out += rng.sample(deep, min(max(0, size - 1 - len(out)), len(deep)))
    rest = [i for i in order if i not in out]
    return out + rng.sample(rest, min(max(0, size - len(out)), len(rest)))


def mixed(dense: list[int], lexical: list[int]) -> list[int]:
    """The base model's order, with BM25's first ten let in after its first twenty."""
    early = dense[:20]
    let_in = [i for i in lexical[:10] if i not in early]
    return early + let_in + [i for i in dense[20:] if i not in let_in]


def groups_of(sources: list[Source], vectors: tuple[Tensor, Tensor], *, measured: bool) -> Groups:
    """Groups to train on; or with ``measured`` all candidates of the queries that are held out."""
    rng = random.Random(SEED)
    width = MEASURED if measured else GROUP
    query, document, there, label, judged, level, names, bm25, ideals = [], [], [], [], [], [], [], [], []
    for source in sources:
        asked = [i for i, q in enumerate(source.queries) if q.held_out == measured]
        stored = vectors[1][source.first_document : source.first_document + len(source.documents)].float()
        for start in range(0, len(asked), 1024):
            part = asked[start : start + 1024]
            places = torch.tensor(part, device=DEVICE) + source.first_query
            similarity = vectors[0][places].float() @ stored.T
            best = similarity.topk(min(200, similarity.shape[1]), dim=1).indices.tolist()
            for i, dense in zip(part, best, strict=True):
                q = source.queries[i]
                order = mixed(dense, list(q.bm25))
                positives = [place for place, grade in q.grades.items() if grade > 0]
                for _ in range(1 if measured else GROUPS_A_QUERY.get(source.name, 1)):
                    group = order[:width] if measured else chosen(rng, order, positives)
                    if len(group) < 2:
                        continue
                    floor = 0.7 * min(q.bm25.values()) if len(q.bm25) >= 40 else 0.0
                    empty = width - len(group)
                    query.append(source.first_query + i)
                    document.append([source.first_document + d for d in group] + [0] * empty)
                    there.append([True] * len(group) + [False] * empty)
                    label.append([q.grades.get(d, 0) for d in group] + [0] * empty)
                    bm25.append([q.bm25.get(d, floor) for d in group] + [0.0] * empty)
                    judged.append(bool(q.grades))
                    level.append(source.name in LEVEL)
                    names.append(source.name)
                    ideals.append((sorted(q.grades.values(), reverse=True) + [0] * 10)[:10])

    out = Groups(
        torch.tensor(query),
        torch.tensor(document),
        torch.tensor(there),
        torch.tensor(label).float(),
        torch.tensor(judged),
        torch.tensor(level),
        names,
    )
    out.features["bm25"] = torch.tensor(bm25)
    out.ideal = torch.tensor(ideals).float()
    return out


def part_of(groups: Groups, kept: list[bool]) -> Groups:
    """Some of the groups."""
    rows = torch.nonzero(torch.tensor(kept)).flatten()
    return Groups(
        groups.query[rows],
        groups.document[rows],
        groups.there[rows],
        groups.label[rows],
        groups.judged[rows],
        groups.level[rows],
        [name for name, keep in zip(groups.source, kept, strict=True) if keep],
        {name: values[rows] for name, values in groups.features.items()},
        None if groups.ideal is None else groups.ideal[rows],
    )


def add_similarities(groups: Groups, name: str, vectors: tuple[Tensor, Tensor]) -> None:
    parts = []
    q, d = groups.pairs()
    for start in range(0, len(q), 200_000):
        a = vectors[0][q[start : start + 200_000].to(DEVICE)]
        b = vectors[1][d[start : start + 200_000].to(DEVICE)]
        parts.append((a.float() * b.float()).sum(1).cpu())
    groups.put(name, torch.cat(parts))


def ndcg(groups: Groups, scores: Tensor) -> dict[str, float]:
    """nDCG@10 by source, over the candidates."""
    assert groups.ideal is not None
    order = scores.masked_fill(~groups.there, -torch.inf).argsort(dim=1, descending=True)[:, :10]
    discount = 1 / torch.log2(torch.arange(2, 12).float())
    gains = (groups.label.gather(1, order) * discount[: order.shape[1]]).sum(1)
    ideal = (groups.ideal * discount).sum(1)
    each = (gains / ideal.clamp(min=1e-9)).tolist()
    by_source: dict[str, list[float]] = {}
    for name, value, best in zip(groups.source, each, ideal.tolist(), strict=True):
        if best > 0:
            by_source.setdefault(name, []).append(value)
    return {name: round(float(np.mean(values)), 4) for name, values in by_source.items()}


def fit_conditional_logit(groups: Groups, features: list[str]) -> dict[str, float]:
    """Weights w that maximise the likelihood of the judged documents under softmax(w . features) in each group.

    Every source weighs the same, however many queries it has.
    """
    y = (groups.label > 0).double() * groups.there
    some = (y.sum(1) > 0) & (y.sum(1) < groups.there.sum(1))
    x = torch.stack([groups.features[f].double() for f in features], 2)[some]
    y, there = y[some], groups.there[some]
    y = y / y.sum(1, keepdim=True)
    names = [name for name, kept in zip(groups.source, some.tolist(), strict=True) if kept]
    share = torch.tensor([1 / names.count(name) for name in names], dtype=torch.double)
    scale = x.std((0, 1)).clamp(min=1e-6)
    w = torch.zeros(len(features), dtype=torch.double, requires_grad=True)
    optimiser = torch.optim.LBFGS([w], max_iter=300, line_search_fn="strong_wolfe")

    def closure() -> Tensor:
        optimiser.zero_grad()
        odds = (x / scale @ w).masked_fill(~there, -1e9)
        loss = -(y * torch.log_softmax(odds, 1)).sum(1) @ share / share.sum()
        loss.backward()
        return loss

    optimiser.step(closure)
    return {f: round(float(v), 4) for f, v in zip(features, (w / scale).tolist(), strict=True)}


def weighted(groups: Groups, weights: dict[str, float]) -> Tensor:
    return sum((w * groups.features[f] for f, w in weights.items()), torch.zeros_like(groups.label))

"""Which examples make a batch: none in which a text that answers a query stands as wrong for it.

In a batch every text is a negative of every other query. So all known answers of a query, not the one beside it alone,
keep out of its batch. A negative that several examples share does no harm.
"""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence
from typing import Any

from datasets import Dataset
from sentence_transformers.base.sampler import DefaultBatchSampler


class Apart(DefaultBatchSampler):
    """Full batches by ``batches_apart`` over the columns query, positive, negative_1 …, in another order each epoch.

    Every epoch has as many as the first: the trainer reckons with it. Where another order gives fewer, some examples
    come twice; where it gives more, some are left out.
    """

    def __init__(self, dataset: Dataset, batch_size: int, drop_last: bool, **others: Any) -> None:
        super().__init__(dataset, batch_size, drop_last, **others)
        self.rows = list(zip(*(dataset[name] for name in dataset.column_names), strict=True))
        self.number = len(batches_apart(self.rows, self.batch_size, self.seed))

    def __iter__(self) -> Iterator[list[int]]:
        left = self.number
        for seed in (self.seed + self.epoch, self.seed):
            planned = batches_apart(self.rows, self.batch_size, seed)[:left]
            yield from planned
            left -= len(planned)
            if not left:
                return

    def __len__(self) -> int:
        return self.number


def batches_apart(rows: Sequence[Sequence[str]], size: int, seed: int) -> list[list[int]]:
    """Full batches of row numbers, no row twice.

    Args:
        rows: Query, positive and negatives of each example.
        size: Rows a batch. What is left when no full one can be made is left out.
        seed: Of the order.
    """
    answers: dict[str, set[str]] = {}
    for query, positive, *_ in rows:
        answers.setdefault(query, set()).add(positive)
    left = list(range(len(rows)))
    random.Random(seed).shuffle(left)
    batches: list[list[int]] = []
    while len(left) >= size:
        batch: list[int] = []
        later: list[int] = []
        queries: set[str] = set()
        texts: set[str] = set()
        known: set[str] = set()  # all that answers one of the queries
        for place, row in enumerate(left):
            query, *own = rows[row]
            if query in queries or not known.isdisjoint(own) or not answers[query].isdisjoint(texts):
                later.append(row)
                continue
            batch.append(row)
            queries.add(query)
            texts.update(own)
            known |= answers[query]
            if len(batch) == size:
                left = later + left[place + 1 :]
                break
        else:
            break
        batches.append(batch)
    return batches

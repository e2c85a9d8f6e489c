"""Which examples make a batch: none whose answer is also the answer, or the question, of another.

In a batch every text is a negative of every other query, so a text that answers two of them would be taught to be
wrong. A negative that several examples share does no harm.
"""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence
from typing import Any

from datasets import Dataset
from sentence_transformers.base.sampler import DefaultBatchSampler


class Apart(DefaultBatchSampler):
    """Full batches by ``batches_apart`` over the columns query, positive, negative_1 …, in another order each epoch."""

    def __init__(self, dataset: Dataset, batch_size: int, drop_last: bool, **others: Any) -> None:
        super().__init__(dataset, batch_size, drop_last, **others)
        self.rows = list(zip(*(dataset[name] for name in dataset.column_names), strict=True))
        self._planned: tuple[int, list[list[int]]] | None = None

    def _batches(self) -> list[list[int]]:
        if self._planned is None or self._planned[0] != self.epoch:
            self._planned = self.epoch, batches_apart(self.rows, self.batch_size, self.seed + self.epoch)
        return self._planned[1]

    def __iter__(self) -> Iterator[list[int]]:
        return iter(self._batches())

    def __len__(self) -> int:
        return len(self._batches())


def batches_apart(rows: Sequence[Sequence[str]], size: int, seed: int) -> list[list[int]]:
    """Full batches of row numbers, no row twice.

    Args:
        rows: Query, positive and negatives of each example.
        size: Rows a batch. What is left when no full one can be made is left out.
        seed: Of the order.
    """
    left = list(range(len(rows)))
    random.Random(seed).shuffle(left)
    batches: list[list[int]] = []
    while len(left) >= size:
        batch: list[int] = []
        later: list[int] = []
        queries: set[str] = set()
        positives: set[str] = set()
        negatives: set[str] = set()
        for place, row in enumerate(left):
            query, positive, *others = rows[row]
            if query in queries or positive in positives or positive in negatives or not positives.isdisjoint(others):
                later.append(row)
                continue
            batch.append(row)
            queries.add(query)
            positives.add(positive)
            negatives.update(others)
            if len(batch) == size:
                left = later + left[place + 1 :]
                break
        else:
            break
        batches.append(batch)
    return batches

"""Token-budgeted batches: texts of like length go together, so that little of the work is padding."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import closing

import numpy as np
import numpy.typing as npt

from bicross.encoders.engines.openvino import Batch, OpenVinoEngine
from bicross.encoders.tokenising import Tokenised

#: Tokens in one batch, padding included. Larger batches leave the caches of a CPU, smaller ones starve its cores.
TOKEN_BUDGET = 2048

#: Texts that are tokenised at a time: bounds the memory of long work, leaves enough to sort by length.
WINDOW = 4096


def plan_batches(lengths: Sequence[int], budget: int = TOKEN_BUDGET) -> list[list[int]]:
    """Positions grouped so that ``len(batch) * longest in it <= budget`` (a longer text goes alone); longest first."""
    batches: list[list[int]] = []
    for position in sorted(range(len(lengths)), key=lambda i: (-lengths[i], i)):
        # sorted: the first of a batch is its longest
        if batches and lengths[batches[-1][0]] * (len(batches[-1]) + 1) <= budget:
            batches[-1].append(position)
        else:
            batches.append([position])
    return batches


def padded(items: Sequence[Tokenised], pad_id: int) -> Batch:
    """The arrays of one batch, padded on the right to its longest text."""
    shape = (len(items), max(len(item) for item in items))
    ids, mask, types = np.full(shape, pad_id, np.int64), np.zeros(shape, np.int64), np.zeros(shape, np.int64)
    for row, item in enumerate(items):
        ids[row, : len(item)] = item.ids
        mask[row, : len(item)] = 1
        types[row, : len(item)] = item.types
    return {"input_ids": ids, "attention_mask": mask, "token_type_ids": types}


def run_in_batches(
    engine: OpenVinoEngine,
    items: Sequence[Tokenised],
    pad_id: int,
    advance: Callable[[int], None] = lambda count: None,
) -> npt.NDArray[np.float32]:
    """Run every item through the engine; rows come back in the order of ``items``.

    Args:
        engine: Gives one row per item.
        items: At least one.
        pad_id: Token id of padding.
        advance: Called with the number of items done after each batch.
    """
    plan = plan_batches([len(item) for item in items])
    batches: Iterator[Batch] = (padded([items[i] for i in positions], pad_id) for positions in plan)
    rows: npt.NDArray[np.float32] | None = None
    with closing(engine.run(batches)) as outputs:  # whatever happens here, the engine gets its requests back
        for positions, output in zip(plan, outputs, strict=True):
            if rows is None:
                rows = np.empty((len(items), *output.shape[1:]), np.float32)
            rows[positions] = output
            advance(len(positions))
    assert rows is not None  # items is not empty
    return rows

"""The arithmetic of comparing sentences: what each encoder has to do, before it does it."""

from __future__ import annotations

from dataclasses import dataclass

from bicross.errors import UsageError


@dataclass(frozen=True)
class PairPlan:
    """Work to compare every sentence with every other.

    Attributes:
        sentences: n.
        encodings: Forward passes of a bi-encoder: n. Comparing the vectors is then arithmetic.
        pairs: Forward passes of a cross-encoder: n (n - 1) / 2.
    """

    sentences: int
    encodings: int
    pairs: int


def plan_pairs(sentences: int) -> PairPlan:
    """What comparing ``sentences`` sentences with each other costs.

    >>> plan_pairs(4)
    PairPlan(sentences=4, encodings=4, pairs=6)

    Raises:
        UsageError: The number is negative.
    """
    if sentences < 0:
        raise UsageError(f"{sentences} sentences; the number cannot be negative")
    return PairPlan(sentences, sentences, sentences * (sentences - 1) // 2)

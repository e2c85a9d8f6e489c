"""The arithmetic of comparing sentences: what each encoder has to do, before it does it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from bicross.errors import UsageError
from bicross.planning.numbers import duration
from bicross.planning.profile import MachineProfile


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


@dataclass(frozen=True)
class AllPairsPlan:
    """What comparing every sentence with every other takes on a machine.

    Attributes:
        work: Encodings and pairs.
        encode_s: Bi-encoder: seconds for the embeddings.
        compare_s: Seconds for the products of all embeddings.
        score_s: Cross-encoder alone: seconds for all pairs.
        neighbours: Of each sentence, how many of the nearest are candidates.
        candidates: Pairs that are left for the cross-encoder, at most.
        both_s: Both: embeddings, products, and the cross-encoder's verdict on the candidates.
        use, why: What to do.
    """

    work: PairPlan
    encode_s: float
    compare_s: float
    score_s: float
    neighbours: int
    candidates: int
    both_s: float
    use: Literal["cross-encoder", "both"]
    why: str


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


def plan_all_pairs(
    profile: MachineProfile, sentences: int, tokens: Sequence[float], neighbours: int, precision: str = "auto"
) -> AllPairsPlan:
    """What comparing every sentence with every other takes on a machine, each way.

    Args:
        profile: The machine.
        sentences: n.
        tokens: Of a sample of the sentences, without special tokens.
        neighbours: Candidates a sentence, at least 1.
        precision: Of both encoders.
    """
    speeds, work = profile.at(precision), plan_pairs(sentences)
    encode_s = work.encodings * speeds.encode.mean(min(t, profile.chunk_tokens) + profile.text_special for t in tokens)
    # each sentence of the sample beside another one of it
    partners = [*tokens[1:], tokens[0]]
    joined = [min(a + b + profile.pair_special, profile.pair_tokens) for a, b in zip(tokens, partners, strict=True)]
    pair_s = speeds.score.mean(joined)
    compare_s, score_s = work.pairs * profile.dot, work.pairs * pair_s
    candidates = min(sentences * neighbours, work.pairs)
    both_s = encode_s + compare_s + candidates * pair_s
    if score_s <= both_s:
        why = f"so few that the cross-encoder reads all {work.pairs:,} pairs in {duration(score_s)}; nothing is missed"
        return AllPairsPlan(work, encode_s, compare_s, score_s, neighbours, candidates, both_s, "cross-encoder", why)
    why = (
        f"the cross-encoder alone would read {work.pairs:,} pairs, {duration(score_s)}; the bi-encoder's "
        f"{work.encodings:,} encodings leave it {candidates:,} at most, in all {duration(both_s)}"
    )
    return AllPairsPlan(work, encode_s, compare_s, score_s, neighbours, candidates, both_s, "both", why)

"""What comes out: pairs, clusters, and what finding them took."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class TextPair:
    """Two texts that say the same; ``a < b`` as strings.

    Attributes:
        a, b: Ids.
        score: What pairs are ordered by; on the scale of the verdict.
        probability: Between 0 and 1, from the score; None where cosines alone decide. 1 for equal texts.
        cosine: Of the bi-encoder's embeddings; 1 for equal texts.
        logit: Mean of the cross-encoder's logits for (a, b) and (b, a); None where it was not asked: for equal texts,
            and where cosines alone decide.
    """

    a: str
    b: str
    score: float
    probability: float | None
    cosine: float
    logit: float | None


@dataclass(frozen=True)
class Cluster:
    """Texts that found pairs link, directly or over others.

    Attributes:
        representative: The member whose mean cosine with all of them is highest; the first id among equals.
        members: All ids, the representative too, in order of id.
    """

    representative: str
    members: tuple[str, ...]


@dataclass(frozen=True)
class Step:
    """What a step took. ``items`` are texts, cosines, readings, or pairs listed."""

    name: str
    items: int
    seconds: float


@dataclass(frozen=True)
class PairReport:
    """The pairs of some texts.

    Attributes:
        pairs: Best first; equal scores in order of ids.
        clusters: Largest first; then in order of the representative's id.
        verdict: What decided: ``joined`` (logits and cosine by fitted numbers), ``relevance`` (the mean logit of a
            cross-encoder without such numbers for this bi-encoder), or ``cosine``.
        threshold: The lowest probability, or cosine, of a pair; None when only ``top`` limits them.
        texts: Texts with something in them.
        distinct: Different ones among them.
        empty: Ids of documents without text, which are left out.
        unlisted_copies: Copies of a text beyond the first hundred: each is paired only with the first copy.
        exist: Pairs of texts that exist, n (n - 1) / 2.
        floor: The lowest cosine of a candidate.
        candidates: Pairs of distinct texts above the floor, and among the nearest neighbours of one of both texts.
        scored: Candidates that the cross-encoder read, in one direction or both.
        readings: Pairs that it read, a direction each. The second direction is left out where nothing that it could say
            would bring the pair over the threshold.
        out_of_reach: Candidates that were not read, for the same reason.
        unread: Candidates that were not read because the budget was spent, or the work was stopped.
        truncated_texts: Distinct texts that the bi-encoder did not read to their end.
        truncated_pairs: Pairs that the cross-encoder did not read to their end.
        stopped: Whether Ctrl-C ended the reading; the pairs are those that were found by then.
        steps: What each step took.
    """

    pairs: tuple[TextPair, ...]
    clusters: tuple[Cluster, ...]
    verdict: str
    threshold: float | None
    texts: int
    distinct: int
    empty: tuple[str, ...]
    unlisted_copies: int
    exist: int
    floor: float
    candidates: int
    scored: int
    readings: int
    out_of_reach: int
    unread: int
    truncated_texts: int
    truncated_pairs: int
    stopped: bool
    steps: tuple[Step, ...]

"""The second stage: the cross-encoder reads candidates in retrieval order, as far as it pays or time allows."""

from __future__ import annotations

from collections.abc import Callable
from time import perf_counter

import numpy as np

from bicross.encoders import CrossEncoder
from bicross.encoders.cross_encoder import Scored
from bicross.index import Candidate
from bicross.search.hit import Reading, Stopped
from bicross.search.pace import Clock, busiest
from bicross.search.stopping import STEP, Stopping, last_of_top
from bicross.search.two_stages import Floats, TwoStages

#: Whether the rest can hardly change anything, of the logits so far.
Settled = Callable[[Floats], bool]


def read_candidates(
    query: str,
    candidates: list[Candidate],
    cross_encoder: CrossEncoder,
    *,
    first: int = 0,
    settled: Settled | None = None,
    clock: Clock | None = None,
    beyond: Stopped | None = None,
) -> tuple[Scored, Reading]:
    """Score candidates in batches, in their order.

    Args:
        query: Not empty.
        candidates: Best first.
        cross_encoder: With one label.
        first: Candidates in the first batch.
        settled: Asked after each batch whether to stop; None reads on.
        clock: Stops when its time is up, perhaps before the first batch; None reads on.
        beyond: Why nothing is to be read; None reads.

    Returns:
        Logits of the first candidates, as many as were read, and how far that is.
    """
    pairs = [(query, c.chunk.embedded_text) for c in candidates]
    lengths = characters(pairs, cross_encoder)
    logits: list[float] = []
    lost: list[int] = []
    tokens = 0

    def so_far(stopped: Stopped) -> tuple[Scored, Reading]:
        scored = Scored(np.array(logits, np.float32), tokens, np.array(lost, np.int64))
        return scored, Reading(len(logits), len(candidates), stopped)

    if beyond:
        return so_far(beyond)
    while (read := len(logits)) < len(candidates):
        if settled and read and settled(np.array(logits, np.float64)):
            return so_far("settled")
        size = len(candidates) - read if settled is None else STEP if read else first
        if clock:
            size = clock.fits(lengths[read : read + size])
            if not size:
                return so_far("budget")
        before = perf_counter()
        scored = cross_encoder.score(pairs[read : read + size], show_progress=False)
        if clock:
            clock.pace.saw(busiest(lengths[read : read + size], cross_encoder.streams), 1e3 * (perf_counter() - before))
        logits += scored.logits.tolist()
        lost += scored.lost.tolist()
        tokens += scored.tokens
    return so_far("all")


def characters(pairs: list[tuple[str, str]], cross_encoder: CrossEncoder) -> list[int]:
    """What there is to read in each pair; what is beyond the model's limit is cut and costs nothing."""
    most = 6 * cross_encoder.max_tokens
    return [min(len(query) + len(text), most) for query, text in pairs]


def settled_by(stopping: Stopping, numbers: TwoStages, candidates: list[Candidate], top_k: int) -> Settled:
    """The learnt stop, for these candidates."""
    evidence = np.array([c.score for c in candidates], np.float64)
    documents = [c.chunk.document_id for c in candidates]

    def settled(logits: Floats) -> bool:
        read = len(logits)
        last = last_of_top(numbers.final(logits, evidence[:read]), documents[:read], top_k)
        if last is None:
            return False
        features = stopping.features(logits, evidence, last, numbers.logit, numbers.evidence)
        return bool(stopping.chance_of_change(features) < stopping.below)

    return settled


def first_batch(candidates: list[Candidate], top_k: int) -> int:
    """So many candidates that they hold ``top_k`` documents, and a few more."""
    seen: set[str] = set()
    for place, candidate in enumerate(candidates, start=1):
        seen.add(candidate.chunk.document_id)
        if len(seen) == top_k:
            return min(place + STEP // 2, len(candidates))
    return len(candidates)

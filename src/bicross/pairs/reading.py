"""The cross-encoder reads candidates in both directions, the most similar first, and no more than it must."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from bicross.encoders import CrossEncoder
from bicross.encoders.progress import progress
from bicross.pairs.verdict import Verdict

#: Candidates that are read between two looks at the best pairs so far.
AT_ONCE = 1024


@dataclass(frozen=True)
class Candidates:
    """Pairs of texts by position: int32 (pairs,) each, and their cosines: float32 (pairs,), falling."""

    left: npt.NDArray[np.int32]
    right: npt.NDArray[np.int32]
    cosines: npt.NDArray[np.float32]

    def __len__(self) -> int:
        return len(self.left)


@dataclass(frozen=True)
class Reading:
    """What the cross-encoder said.

    Attributes:
        logits: float64, (candidates,): means of both directions; NaN where one was not read.
        scored: Candidates read in one direction or both.
        readings: Pairs and directions.
        out_of_reach: Candidates not read, because no logits could have brought them over the bar.
        truncated: Candidates that were not read to their end.
        stopped: Whether Ctrl-C ended the reading.
    """

    logits: npt.NDArray[np.float64]
    scored: int
    readings: int
    out_of_reach: int
    truncated: int
    stopped: bool


def read_both_ways(
    texts: Sequence[str],
    candidates: Candidates,
    cross_encoder: CrossEncoder,
    verdict: Verdict,
    bar: float,
    top: int | None,
    show_progress: bool | None,
) -> Reading:
    """Read candidates until none that is left can reach the bar, or the score of the ``top``-th best pair so far.

    That is the stopping rule of the threshold algorithm (Fagin, Lotem and Naor 2003): cosines fall, and a logit has a
    highest value. For the same reason the second direction of a pair is only read while the verdict is open.

    Ctrl-C ends the reading, and what was read counts.
    """
    logits = np.full(len(candidates), np.nan)
    best = np.empty(0)
    readings = scored = truncated = out_of_reach = 0
    stopped = False

    def read(positions: npt.NDArray[np.int64], first: npt.NDArray[np.int32], second: npt.NDArray[np.int32]) -> None:
        nonlocal readings
        pairs = [(texts[i], texts[j]) for i, j in zip(first[positions], second[positions], strict=True)]
        said = cross_encoder.score(pairs, show_progress=False)
        readings += len(pairs)
        forward[positions - start] += said.logits
        lost[positions - start] |= said.truncated

    with progress("Reading pairs", len(candidates), show_progress) as advance:
        try:
            for start in range(0, len(candidates), AT_ONCE):
                here = np.arange(start, min(start + AT_ONCE, len(candidates)))
                forward, lost = np.zeros(len(here)), np.zeros(len(here), np.bool_)
                cosines = candidates.cosines[here]
                reachable = here[verdict.scores(verdict.highest_logit, cosines) >= bar]
                read(reachable, candidates.left, candidates.right)
                highest = (forward + verdict.highest_logit) / 2
                still_open = reachable[verdict.scores(highest, cosines)[reachable - start] >= bar]
                read(still_open, candidates.right, candidates.left)
                logits[still_open] = forward[still_open - start] / 2
                scored += len(reachable)
                truncated += int(lost.sum())
                if top is not None:
                    scores = verdict.scores(logits[still_open], candidates.cosines[still_open])
                    best = np.sort(np.concatenate([best, scores]))[-top:]
                    bar = max(bar, best[0]) if len(best) == top else bar
                advance(len(here))
                if len(reachable) < len(here):
                    out_of_reach = len(candidates) - scored
                    break
        except KeyboardInterrupt:
            stopped = True
    return Reading(logits, scored, readings, out_of_reach, truncated, stopped)

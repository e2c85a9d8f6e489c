"""What a corpus and its searches take on a machine, and which of the two encoders to use."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

from bicross.planning.growth import BUILDING, DIMENSION, NO_GRAPH, TOKENS, graph_cost, search_growth
from bicross.planning.numbers import duration
from bicross.planning.profile import MachineProfile, Speeds
from bicross.planning.reading import pairs_read
from bicross.planning.workload import Workload

Use = Literal["bi-encoder", "cross-encoder", "both", "neither"]

#: With fewer candidates than a page of hits the second stage has nothing to choose from.
FEWEST = 10

#: The most candidates that one search may ask for.
MOST = 1_000_000

_DAY = 86_400


@dataclass(frozen=True)
class IndexPlan:
    """Making the index.

    Attributes:
        encodings: Chunks that the bi-encoder embeds.
        tokens: What it reads for that, special tokens included.
        read_s, encode_s, store_s, graph_s, start_s: Seconds to read the files (where a sample told), embed, chunk and
            store, build the graph, and open the models.
        disk: Bytes.
        memory: Bytes at the peak.
    """

    encodings: int
    tokens: int
    read_s: float
    encode_s: float
    store_s: float
    graph_s: float
    start_s: float
    disk: int
    memory: int

    @property
    def seconds(self) -> float:
        """All of it, one after the other."""
        return self.read_s + self.encode_s + self.store_s + self.graph_s + self.start_s


@dataclass(frozen=True)
class Way:
    """One way to answer a query.

    Attributes:
        use: Which encoders.
        pairs: The most that the cross-encoder reads for a query.
        pairs_read: In the mean: it stops where the rest can hardly change the first ten hits.
        latency_s: Of one query on an idle machine, the most.
        mean_s: In the mean.
        fits: Within the latency asked for, whatever the query.
        pairs_per_day: For all queries, by the mean.
        machines: So that the queries of the busiest time are answered one after the other, by the mean.
    """

    use: Use
    pairs: int
    pairs_read: float
    latency_s: float
    mean_s: float
    fits: bool
    pairs_per_day: int
    machines: int


@dataclass(frozen=True)
class SearchPlan:
    """Answering queries.

    Attributes:
        embed_s, retrieve_s, pair_s: Seconds of a query's embedding, of the first stage with ``FEWEST`` chunks, and of a
            pair when there are many.
        most_candidates: The largest number with which a search of both stages stays within the latency; 0 when none.
        memory: Bytes of a process that searches, with what it reads often of the index.
        ways: Bi-encoder alone, both, cross-encoder alone.
        use, why: What to do.
    """

    embed_s: float
    retrieve_s: float
    pair_s: float
    most_candidates: int
    memory: int
    ways: tuple[Way, ...]
    use: Use
    why: str


def plan_index(profile: MachineProfile, work: Workload, precision: str = "auto") -> IndexPlan:
    """What indexing takes."""
    speeds, chunks = profile.at(precision), work.chunks
    read = [t + profile.text_special for t in work.chunk_tokens]
    disk = profile.empty + math.ceil(chunks * profile.disk.mean(work.chunk_tokens))
    building = BUILDING if chunks > NO_GRAPH else 1.0
    return IndexPlan(
        encodings=chunks,
        tokens=math.ceil(chunks * (sum(read) / len(read))),
        read_s=work.documents * work.read_s,
        encode_s=chunks * speeds.encode.mean(read),
        store_s=chunks * profile.store.mean(work.chunk_tokens),
        graph_s=graph_cost(chunks) * profile.store.at(TOKENS) * profile.dimension / DIMENSION,
        start_s=profile.start,
        disk=disk,
        memory=profile.memory + math.ceil(building * disk),
    )


def plan_search(
    profile: MachineProfile,
    work: Workload,
    *,
    queries_per_day: int,
    latency_s: float,
    candidates: int,
    peak: float,
    precision: str = "auto",
    settles: bool = False,
    first_stage_s: float | None = None,
    waiting_s: float = 0.0,
) -> SearchPlan:
    """What answering queries takes.

    Args:
        profile: The machine.
        work: The corpus.
        queries_per_day: How many.
        latency_s: What one query may take.
        candidates: What the first stage hands to the second, if so many fit.
        peak: How many times the mean the busiest time has.
        precision: Of both encoders.
        settles: Whether the cross-encoder stops reading when the rest can hardly change the first ten hits, as those
            that come with bicross do; else all candidates are read.
        first_stage_s: Seconds of the first stage where it is not this machine that has the index.
        waiting_s: What of it this machine waits, and can work for other queries.
    """
    speeds, chunks = profile.at(precision), work.chunks
    uses: tuple[Use, ...] = ("bi-encoder", "both", "cross-encoder")

    def retrieve_s(found: int) -> float:
        return _retrieve_s(profile, chunks, found) if first_stage_s is None else first_stage_s

    seconds = {use: _seconds(profile, work, speeds, use, settles, retrieve_s) for use in uses}
    most = _most(seconds["both"], latency_s, min(chunks, MOST))

    def way(use: Use, pairs: int) -> Way:
        read = pairs_read(pairs) if settles and use == "both" else float(pairs)
        taken, mean = seconds[use](pairs), seconds[use](read)
        busy = mean - (0.0 if use == "cross-encoder" else waiting_s)
        machines = max(1, math.ceil(queries_per_day * peak * busy / _DAY))
        return Way(use, pairs, read, taken, mean, taken <= latency_s, math.ceil(queries_per_day * read), machines)

    wanted = min(candidates, chunks)
    two = min(wanted, most) if most >= min(FEWEST, wanted) else wanted
    ways = (way("bi-encoder", 0), way("both", two), way("cross-encoder", chunks))
    use, why = _advice(ways, latency_s, most, chunks)
    # vectors, codes and links of a chunk; its text is read for hits alone
    hot = profile.disk.at(0) if first_stage_s is None else 0.0
    return SearchPlan(
        embed_s=_embed_s(profile, work, speeds),
        retrieve_s=retrieve_s(FEWEST),
        pair_s=speeds.score.mean(_pair_lengths(profile, work)),
        most_candidates=most,
        memory=profile.memory + math.ceil(chunks * hot),
        ways=ways,
        use=use,
        why=why,
    )


def rerank_s(pair_s: float, pairs: int, cores: int) -> float:
    """Seconds to score the pairs of one query, shared out evenly: what the busiest core has counts.

    Args:
        pair_s: Seconds a pair when all cores are busy.
        pairs: How many.
        cores: How many work.
    """
    return pair_s * cores * math.ceil(pairs / cores)


def _seconds(
    profile: MachineProfile,
    work: Workload,
    speeds: Speeds,
    use: Use,
    settles: bool,
    retrieve_s: Callable[[int], float],
) -> Callable[[float], float]:
    """Seconds of one query by the number of pairs."""
    lengths = _pair_lengths(profile, work)
    pair_s, step_s = speeds.score.mean(lengths), speeds.step.mean(lengths)
    embed = 0.0 if use == "cross-encoder" else _embed_s(profile, work, speeds)

    def seconds(pairs: float) -> float:
        found = 0.0 if use == "cross-encoder" else retrieve_s(max(math.ceil(pairs), FEWEST))
        in_steps = settles and use == "both"
        read = pairs * step_s if in_steps else rerank_s(pair_s, math.ceil(pairs), profile.cores)
        return embed + found + read

    return seconds


def _embed_s(profile: MachineProfile, work: Workload, speeds: Speeds) -> float:
    return speeds.query.at(work.query_tokens + profile.text_special)


def _retrieve_s(profile: MachineProfile, chunks: int, found: int) -> float:
    return profile.retrieve.at(found) * search_growth(chunks, profile.indexed)


def _pair_lengths(profile: MachineProfile, work: Workload) -> list[float]:
    around = work.query_tokens + profile.pair_special
    return [min(tokens + around, profile.pair_tokens) for tokens in work.chunk_tokens]


def _most(seconds: Callable[[float], float], limit: float, highest: int) -> int:
    """A number of pairs that fits the limit while one more does not; 0 when none does, ``highest`` when all do."""
    if seconds(highest) <= limit:
        return highest
    low, high = 0, highest  # high does not fit
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (middle, high) if seconds(middle) <= limit else (low, middle)
    return low


def _advice(ways: tuple[Way, ...], latency_s: float, most: int, chunks: int) -> tuple[Use, str]:
    bi, both, cross = ways
    limit = duration(latency_s)
    all_pairs = f"reading all {chunks:,} chunks for each query takes the cross-encoder {duration(cross.latency_s)}"
    if cross.fits and (cross.pairs <= both.pairs or cross.machines <= both.machines):
        return "cross-encoder", f"{all_pairs}, within {limit}: nothing can be missed, and no index is needed"
    if cross.fits:
        all_pairs += f" and {cross.machines:,} machines"
    if both.fits and both.pairs:
        return "both", (
            f"{all_pairs}; the bi-encoder leaves it {both.pairs}, and a query takes {duration(both.latency_s)} of "
            f"{limit} (up to {most:,} candidates fit)"
        )
    if bi.fits:
        return "bi-encoder", (
            f"{all_pairs}, and with {both.pairs} candidates both take {duration(both.latency_s)}: more than {limit}; "
            f"{most} candidates fit, too few to choose from; the bi-encoder alone takes {duration(bi.latency_s)}"
        )
    return "neither", (
        f"embedding a query and finding chunks takes {duration(bi.latency_s)}, more than {limit}, before anything is "
        "reranked; allow more time, or take a faster machine or a smaller model"
    )

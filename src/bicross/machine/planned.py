"""A plan for this machine: measure it, look at a sample, do the arithmetic."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from bicross.encoders import BiEncoder
from bicross.encoders.loading import DEFAULT_BI_ENCODER, DEFAULT_CROSS_ENCODER
from bicross.errors import UsageError
from bicross.machine.cache import machine_profile
from bicross.machine.sampling import sample_documents
from bicross.planning import (
    AllPairsPlan,
    ClusterPlan,
    IndexPlan,
    MachineProfile,
    Nodes,
    SearchPlan,
    Workload,
    assumed,
    plan_all_pairs,
    plan_cluster,
    plan_index,
    plan_search,
    whole_number,
)
from bicross.planning.cluster import MEASURED
from bicross.planning.growth import NO_GRAPH
from bicross.planning.numbers import positive
from bicross.planning.workload import TOKENS_PER_WORD

#: Words that are assumed where no sample is given: of a document, and of a sentence to be compared with others.
WORDS, SENTENCE_WORDS = 200, 20


@dataclass(frozen=True)
class Plan:
    """What a job takes on this machine.

    Attributes:
        profile: The machine.
        work: The corpus; None where only pairs are planned.
        index, search: Making the index and answering queries, likewise.
        cluster: An index on a cluster in place of this machine, which answers queries then; None where that was not
            asked.
        all_pairs: Comparing sentences with each other; None where that was not asked.
        assumptions: What the numbers rest on, a sentence each.
    """

    profile: MachineProfile
    work: Workload | None
    index: IndexPlan | None
    search: SearchPlan | None
    all_pairs: AllPairsPlan | None
    assumptions: tuple[str, ...]
    cluster: ClusterPlan | None = None

    def as_dict(self) -> dict[str, Any]:
        """Plain values, for JSON; chunk lengths as their mean."""
        values = asdict(self)
        if self.work and self.index:
            tokens = {"chunk_tokens": self.work.tokens_per_chunk, "chunks": self.work.chunks}
            values["work"] |= tokens
            values["index"] |= {"seconds": self.index.seconds, "hours": self.index.seconds / 3600}
        return values


def plan(
    documents: int | str | None = None,
    *,
    queries_per_day: int | str = 10_000,
    latency_ms: float = 200.0,
    all_pairs: int | str | None = None,
    sample: str | Path | Sequence[str | Path] | None = None,
    words: float | None = None,
    query_tokens: float = 10.0,
    candidates: int | str = 50,
    neighbours: int | str = 10,
    peak: float = 4.0,
    precision: str = "auto",
    bi_encoder: str | Path = DEFAULT_BI_ENCODER,
    cross_encoder: str | Path = DEFAULT_CROSS_ENCODER,
    remeasure: bool = False,
    cluster: Nodes | None = None,
    profile: MachineProfile | None = None,
    note: Callable[[str], None] = lambda line: None,
) -> Plan:
    """Predict what indexing, searching, or comparing all pairs takes on this machine, before doing it.

    Args:
        documents: How many there will be (numbers may be written ``"1e6"`` or ``"100k"``); by default those of
            ``sample``, where all of it could be read in a few seconds.
        queries_per_day: How many.
        latency_ms: What one query may take.
        all_pairs: So many sentences to compare with each other.
        sample: Files or folders with documents like those to come; some hundreds are chunked as ``bicross index`` does.
        words: Of a document (200) or, for pairs alone, of a sentence (20), where there is no sample.
        query_tokens: Of a usual query, without special tokens.
        candidates: That the first stage hands to the second, if so many fit the latency.
        neighbours: Candidates of each sentence when all pairs are compared.
        peak: How many times the mean number of queries the busiest time has.
        precision: ``auto``, ``f32``, ``bf16`` or ``int8``, of both encoders.
        bi_encoder: Name or folder.
        cross_encoder: Name or folder.
        remeasure: Measure the machine again.
        cluster: The nodes of a cluster that is to have the index.
        profile: In place of measuring: that of another machine.
        note: Called with a line while the machine is measured.

    Raises:
        UsageError: A number is no number, not whole, or below its least; nothing is asked for; see ``measure``.
    """
    wanted = None if documents is None else whole_number(documents, "documents")
    pairs_of = None if all_pairs is None else whole_number(all_pairs, "all pairs")
    queries, limit = whole_number(queries_per_day, "queries per day"), positive(latency_ms, "latency") / 1e3
    chosen, near = whole_number(candidates, "candidates"), whole_number(neighbours, "neighbours")
    factor, asked_tokens = positive(peak, "peak", 1), positive(query_tokens, "query tokens", 1)
    length = None if words is None else positive(words, "words")
    if wanted is None and pairs_of is None and sample is None:
        raise UsageError("nothing to plan: give a number of documents, a sample of them, or all pairs")
    if sample is not None and length is not None:
        raise UsageError("give either a sample or a number of words; the sample has its own")
    if profile is None:
        profile = machine_profile(bi_encoder, cross_encoder, remeasure=remeasure, note=note)
    profile.at(precision)
    assumptions = _machine(profile, precision)
    work = None
    if sample is not None:
        tokeniser = BiEncoder(bi_encoder)
        paths = [sample] if isinstance(sample, str | Path) else list(sample)
        seen = sample_documents(paths, profile.chunk_tokens, tokeniser.token_spans)
        if wanted is None and pairs_of is None and seen.all_of_them is None:
            raise UsageError(f"{paths[0]}: too many documents to count in a moment; give their number, too")
        wanted = wanted or (seen.all_of_them if pairs_of is None else None)
        work = Workload(wanted or seen.documents, seen.documents, seen.chunk_tokens, asked_tokens, seen.read_s)
        assumptions.append(
            f"lengths: {seen.documents:,} documents of the sample give {len(seen.chunk_tokens):,} chunks of "
            f"{work.tokens_per_chunk:.0f} tokens in the mean"
        )
    elif wanted is not None:
        work = assumed(wanted, length or WORDS, asked_tokens, profile.chunk_tokens)
        assumptions.append(
            f"lengths: {length or WORDS:g} words a document, {TOKENS_PER_WORD} tokens a word; a sample of your "
            "documents tells better"
        )
    compared = None
    if pairs_of is not None:
        per_sentence = SENTENCE_WORDS if length is None else length
        tokens = work.chunk_tokens if sample is not None and work else (max(1.0, per_sentence * TOKENS_PER_WORD),)
        compared = plan_all_pairs(profile, pairs_of, tokens, near, precision)
        if sample is None:
            assumptions.append(f"sentences of {per_sentence:g} words, {TOKENS_PER_WORD} tokens a word")
        assumptions.append(f"pairs by both: the {near} nearest of each sentence are candidates")
    if work is None or wanted is None:
        if cluster is not None:
            raise UsageError("a cluster is planned for documents: give their number, or a sample of them")
        return Plan(profile, None, None, None, compared, tuple(assumptions))
    on_nodes = None
    if cluster is not None:
        on_nodes = plan_cluster(
            profile, work, cluster, queries_per_day=queries, latency_s=limit, peak=factor, precision=precision
        )
    search = plan_search(
        profile,
        work,
        queries_per_day=queries,
        latency_s=limit,
        candidates=chosen,
        peak=factor,
        precision=precision,
        settles=(settles := _settles(profile)),
        first_stage_s=on_nodes.first_stage_s if on_nodes else None,
        waiting_s=on_nodes.waiting_s if on_nodes else 0.0,
    )
    if settles:
        assumptions.append(
            "the cross-encoder stops reading when the rest can hardly enter the first ten: the mean of collections "
            "elsewhere is planned with, and the latency holds for a query of which it reads everything"
        )
    assumptions.append(
        f"queries of {asked_tokens:g} tokens, answered one after the other, {factor:g} times as many in the busiest "
        "time as in the mean"
    )
    if on_nodes:
        assumptions.append(
            "nodes: bytes, memory and processor time of a Qdrant node that was measured elsewhere, with up to "
            f"{MEASURED:,} chunks on it, extrapolated; docs/scale.md says how far off that was"
        )
        if not all(on_nodes.nodes_for.values()):
            assumptions.append(
                "where no number of nodes suffices: each query asks every node, so that more of them do not help; "
                "allow more time, or share the queries among clusters"
            )
    elif work.chunks > profile.indexed:
        graph = "; the graph's cost and building memory likewise" if work.chunks > NO_GRAPH else ""
        assumptions.append(
            f"search was measured among {profile.indexed:,} chunks and is extrapolated to {work.chunks:,} along what "
            f"an index of a million took elsewhere{graph}"
        )
    indexing = plan_index(profile, work, precision)
    return Plan(profile, work, indexing, search, compared, tuple(assumptions), on_nodes)


def _settles(profile: MachineProfile) -> bool:
    """Whether these are the models that ``planning.reading`` knows."""
    return (profile.bi_encoder, profile.cross_encoder) == (DEFAULT_BI_ENCODER, DEFAULT_CROSS_ENCODER)


def _machine(profile: MachineProfile, precision: str) -> list[str]:
    kind = profile.precision if precision == "auto" else precision
    lines = [
        f"machine: {profile.machine}, {profile.cores} cores, {kind}; {profile.bi_encoder} and {profile.cross_encoder}"
    ]
    if profile.spread > 0.25 or profile.load > profile.cores / 2:
        lines.append(
            f"it was busy while it was measured (rounds differed by {profile.spread:.0%}, load {profile.load:.1f}): "
            "measure again when it is quiet"
        )
    return lines

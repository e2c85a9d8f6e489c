"""``bicross plan``"""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from bicross.cli.options import BiEncoderName, CrossEncoderName

if TYPE_CHECKING:
    from rich.console import Console
    from rich.table import Table

    from bicross.machine import Plan
    from bicross.planning import AllPairsPlan, ClusterPlan, IndexPlan, MachineProfile, SearchPlan, Workload


def plan(
    documents: Annotated[
        str | None, typer.Option("--documents", help="How many: 1000000, 1e6, 1M (default: those of --sample).")
    ] = None,
    queries_per_day: Annotated[str, typer.Option("--queries-per-day", help="How many.")] = "10000",
    latency_ms: Annotated[float, typer.Option("--latency-ms", help="What one query may take.")] = 200.0,
    all_pairs: Annotated[
        str | None, typer.Option("--all-pairs", help="So many sentences, each to be compared with every other.")
    ] = None,
    sample: Annotated[
        list[str] | None,
        typer.Option("--sample", help="File or folder with documents like yours; some hundreds are read; repeatable."),
    ] = None,
    words: Annotated[
        float | None, typer.Option("--words", help="Of a document (200) or a sentence (20), without --sample.")
    ] = None,
    query_tokens: Annotated[float, typer.Option("--query-tokens", help="Of a usual query.")] = 10.0,
    candidates: Annotated[
        str, typer.Option("--candidates", help="Chunks that the cross-encoder reads, if so many fit.")
    ] = "50",
    neighbours: Annotated[
        str, typer.Option("--neighbours", help="Candidates of each sentence, with --all-pairs.")
    ] = "10",
    peak: Annotated[
        float, typer.Option("--peak", help="Queries of the busiest time, as a multiple of the mean.")
    ] = 4.0,
    precision: Annotated[str, typer.Option("--precision", help="auto, f32, bf16 or int8.")] = "auto",
    model: BiEncoderName = None,
    cross_encoder: CrossEncoderName = None,
    cluster: Annotated[bool, typer.Option("--cluster", help="The index lies on a Qdrant cluster.")] = False,
    node_cores: Annotated[int, typer.Option("--node-cores", help="Of a node of the cluster.")] = 16,
    node_memory: Annotated[str, typer.Option("--node-memory", help="Of a node of the cluster.")] = "64GB",
    node_disk: Annotated[str, typer.Option("--node-disk", help="Of a node of the cluster.")] = "1TB",
    replicas: Annotated[int, typer.Option("--replicas", help="Copies of each chunk.")] = 2,
    quantisation: Annotated[str, typer.Option("--quantisation", help="none, int8 or binary.")] = "int8",
    within_hours: Annotated[
        float, typer.Option("--within-hours", help="Hours within which all is to be embedded.")
    ] = 24.0,
    chunks_per_second: Annotated[
        float | None,
        typer.Option("--chunks-per-second", help="That a machine reads, embeds and stores, for example with a GPU."),
    ] = None,
    node_price: Annotated[float, typer.Option("--node-price", help="Of a node, an hour.")] = 0.0,
    machine_price: Annotated[
        float, typer.Option("--machine-price", help="Of a machine that embeds or serves, an hour.")
    ] = 0.0,
    remeasure: Annotated[bool, typer.Option("--remeasure", help="Measure this machine again.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object.")] = False,
) -> None:
    """Predict hours, disk, memory and machines from what this machine was measured to do, and say which encoder to use.

    The machine is measured once, in about a minute, and the result kept.
    """
    from rich.console import Console

    from bicross.encoders.loading import DEFAULT_BI_ENCODER, DEFAULT_CROSS_ENCODER
    from bicross.errors import UsageError
    from bicross.machine import plan
    from bicross.planning import Nodes
    from bicross.planning.numbers import size_of

    nodes = Nodes(
        cores=node_cores,
        memory=size_of(node_memory, "node memory"),
        disk=size_of(node_disk, "node disk"),
        replicas=replicas,
        codes=quantisation,  # type: ignore[arg-type] # which checks it
        within_s=3600 * within_hours,
        chunks_per_s=chunks_per_second,
        node_price=node_price,
        machine_price=machine_price,
    )
    if not cluster and nodes != Nodes():
        raise UsageError("nodes, copies, hours and prices are of an index on a cluster; add --cluster")
    made = plan(
        documents,
        queries_per_day=queries_per_day,
        latency_ms=latency_ms,
        all_pairs=all_pairs,
        sample=[Path(path) for path in sample] if sample else None,
        words=words,
        query_tokens=query_tokens,
        candidates=candidates,
        neighbours=neighbours,
        peak=peak,
        precision=precision,
        bi_encoder=model or DEFAULT_BI_ENCODER,
        cross_encoder=cross_encoder or DEFAULT_CROSS_ENCODER,
        cluster=nodes if cluster else None,
        remeasure=remeasure,
        note=lambda line: typer.echo(f"bicross: {line}", err=True),
    )
    if as_json:
        typer.echo(json.dumps(made.as_dict(), ensure_ascii=False))
        return
    console = Console()
    if not console.is_terminal:
        console = Console(width=120, color_system=None, highlight=False)
    _print(made, console)


def _print(made: Plan, console: Console) -> None:
    console.print(_speeds(made.profile))
    if made.work and made.index and made.search:
        if made.cluster:
            console.print(_cluster(made.work, made.cluster, made.search))
        else:
            console.print(_index(made.work, made.index))
        console.print(_ways(made.search))
        console.print(f"Use: [bold]{made.search.use}[/bold] – {made.search.why}.", soft_wrap=True)
    if made.all_pairs:
        console.print(_all_pairs(made.all_pairs))
        console.print(f"Use: [bold]{made.all_pairs.use}[/bold] – {made.all_pairs.why}.", soft_wrap=True)
    for line in made.assumptions:
        console.print(f"  {line}", style="dim", soft_wrap=True, markup=False)


def _speeds(profile: MachineProfile) -> Table:
    table = _table("This machine", "precision", "tokens", "texts/s", "pairs/s")
    for precision, speeds in profile.speeds.items():
        for tokens in (32, 64, 128, 256, 512):
            texts = tokens <= profile.chunk_tokens + profile.text_special
            if texts or tokens <= profile.pair_tokens:
                pairs = f"{1 / speeds.score.at(tokens):,.0f}" if tokens <= profile.pair_tokens else ""
                table.add_row(precision, f"{tokens}", f"{1 / speeds.encode.at(tokens):,.0f}" if texts else "", pairs)
    return table


def _index(work: Workload, index: IndexPlan) -> Table:
    from bicross.planning.numbers import duration, size

    table = _table("Indexing", "", "")
    for name, value in (
        ("documents", f"{work.documents:,}"),
        ("encodings (chunks)", f"{index.encodings:,}"),
        ("tokens", f"{index.tokens:,}"),
        ("time", duration(index.seconds)),
        ("  embedding", duration(index.encode_s)),
        ("  reading, chunking, storing", duration(index.read_s + index.store_s)),
        ("  graph", duration(index.graph_s)),
        ("disk", size(index.disk)),
        ("memory while indexing", size(index.memory)),
    ):
        table.add_row(name, value)
    return table


def _cluster(work: Workload, planned: ClusterPlan, search: SearchPlan) -> Table:
    from bicross.planning.numbers import duration, size

    asked = planned.asked
    servers = next((way.machines for way in search.ways if way.use == search.use), 0)
    copies = f"{asked.replicas} {'copies' if asked.replicas > 1 else 'copy'}"
    a_node = f"{asked.cores} cores, {size(asked.memory)}, {size(asked.disk)} of disk"
    short = "" if all(planned.nodes_for.values()) else ", not enough"
    rows = [
        ("documents", f"{work.documents:,}"),
        ("encodings (chunks)", f"{work.chunks:,}"),
        (f"nodes of {a_node}", f"{planned.nodes:,}{short}"),
        *((f"  for {what}", f"{number:,}" if number else "none suffice") for what, number in planned.nodes_for.items()),
        (f"disk, {copies}", size(planned.disk)),
        (f"memory, {copies}, {asked.codes}", size(planned.memory)),
        ("first stage of a query", duration(planned.first_stage_s)),
        ("  processor time, all nodes", duration(planned.query_core_s)),
        ("network in the busiest time, a second", size(planned.asked_per_s)),
        ("network to store it", size(planned.sent)),
        ("storing and graphs, all cores of all nodes", duration(planned.store_s)),
        ("embedding, on one machine", duration(planned.embed_s)),
        (f"machines to embed within {duration(asked.within_s)}", f"{planned.embedders:,}"),
        ("machines that serve", f"{servers:,}" if servers else "none: see below"),
    ]
    if asked.node_price or asked.machine_price:
        rows.append(("price of embedding", f"{planned.price_once:,.0f}"))
        rows.append(("price a month", f"{planned.price_month(servers):,.0f}"))
    table = _table("On a cluster", "", "")
    for name, value in rows:
        table.add_row(name, value)
    return table


def _ways(search: SearchPlan) -> Table:
    from bicross.planning.numbers import duration, size

    table = _table(
        "A query", "with", "pairs, at most", "mean", "time, at most", "mean", "fits", "pairs a day", "machines"
    )
    for way in search.ways:
        fits = "yes" if way.fits else "no"
        pairs, times = (f"{way.pairs:,}", f"{way.pairs_read:,.0f}"), (duration(way.latency_s), duration(way.mean_s))
        table.add_row(str(way.use), *pairs, *times, fits, f"{way.pairs_per_day:,}", f"{way.machines:,}")
    table.caption = (
        f"embedding {duration(search.embed_s)}, first stage {duration(search.retrieve_s)}, a pair "
        f"{duration(search.pair_s)}; up to {search.most_candidates:,} candidates fit; memory {size(search.memory)}"
    )
    return table


def _all_pairs(planned: AllPairsPlan) -> Table:
    from bicross.planning.numbers import duration

    work = planned.work
    table = _table(f"{work.sentences:,} sentences, each with every other", "with", "encodings", "pairs read", "time")
    alone = duration(planned.encode_s + planned.compare_s)
    table.add_row("bi-encoder: n", f"{work.encodings:,}", "0", alone)
    table.add_row("cross-encoder: n(n−1)/2", "0", f"{work.pairs:,}", duration(planned.score_s))
    table.add_row("both", f"{work.encodings:,}", f"{planned.candidates:,}", duration(planned.both_s))
    return table


def _table(title: str, *columns: str) -> Table:
    from rich.table import Table

    table = Table(*columns, title=title, title_justify="left", caption_justify="left", show_header=any(columns))
    for column in table.columns[1:]:
        column.justify = "right"
    return table

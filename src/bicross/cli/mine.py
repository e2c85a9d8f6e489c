"""``bicross mine``"""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from bicross.cli.options import CrossEncoderName, Device, IndexPlace

if TYPE_CHECKING:
    from bicross.mining import MiningTally


def mine(
    index: IndexPlace,
    queries: Annotated[Path, typer.Option("--queries", help="Queries: .jsonl (_id, text), or .tsv (id, text).")],
    qrels: Annotated[Path, typer.Option("--qrels", help="Judgements, in the format of BEIR or TREC.")],
    into: Annotated[Path, typer.Option("--into", help="JSON lines: query, positive, negatives, and their ids.")],
    negatives: Annotated[int, typer.Option("--negatives", help="Of each positive, at most.")] = 5,
    first: Annotated[int, typer.Option("--first", help="Look at documents from this rank on.")] = 1,
    last: Annotated[int, typer.Option("--last", help="Up to this rank.")] = 100,
    margin: Annotated[
        float, typer.Option("--margin", help="A negative is at most so near, as a share of the positive.")
    ] = 0.95,
    max_relevance: Annotated[
        float,
        typer.Option(
            "--max-relevance",
            help="Drop what the cross-encoder holds this relevant, or as the positive; 1: no filter.",
        ),
    ] = 0.5,
    limit: Annotated[int | None, typer.Option("--limit", help="Only the first so many judged queries.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print the report as JSON.")] = False,
    cross_encoder: CrossEncoderName = None,
    device: Device = "cpu",
) -> None:
    """Find hard negatives for judged queries: near the answer, and not an answer."""
    from bicross.encoders import CrossEncoder
    from bicross.encoders.progress import progress
    from bicross.evaluation.collection import check_documents
    from bicross.evaluation.judged import judged_queries, read_queries
    from bicross.mining import MiningRules, MiningTally
    from bicross.mining import mine as mined
    from bicross.opening import default_cross_encoder, open
    from bicross.writing import written

    rules = MiningRules(first, last, negatives, margin, max_relevance)
    judged = judged_queries(queries, qrels, limit)
    wanted, tally = set(judged.ids), MiningTally()
    with open(index, device=device) as opened:
        for note in [*judged.notes, *check_documents(opened, judged.qrels, qrels)]:
            typer.echo(f"bicross: {note}", err=True)
        name = cross_encoder or default_cross_encoder(index)
        model = CrossEncoder(name, device=device) if max_relevance < 1 else None
        with written(into) as out, progress("Mining", len(wanted), None) as advance:
            asked = ((query_id, text) for query_id, text in read_queries(queries) if query_id in wanted)
            done = 0
            for example in mined(opened, asked, judged.qrels, tally, rules, model):
                out.write(json.dumps(asdict(example), ensure_ascii=False) + "\n")
                advance(tally.queries - done)
                done = tally.queries
    if as_json:
        typer.echo(json.dumps(asdict(tally)))
    else:
        _print(tally, into)


def _print(tally: MiningTally, into: Path) -> None:
    typer.echo(
        f"{into}: {tally.examples:,} examples with {tally.negatives:,} hard negatives, of {tally.queries:,} queries"
    )
    for reason, count in sorted(tally.dropped.items()):
        typer.echo(f"dropped: {count:,} {reason}")
    if tally.missing:
        typer.echo(f"left out: {tally.missing:,} relevant documents that are not in the index")
    if tally.none_left:
        typer.echo(f"left out: {tally.none_left:,} relevant documents for which no negative passed")

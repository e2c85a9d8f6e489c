"""``bicross calibrate``"""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from bicross.cli.options import CrossEncoderName, Device, IndexPlace

if TYPE_CHECKING:
    from bicross.calibrating import Calibrated


def calibrate(
    index: IndexPlace,
    queries: Annotated[Path, typer.Option("--queries", help="Queries: .jsonl (_id, text), or .tsv (id, text).")],
    qrels: Annotated[Path, typer.Option("--qrels", help="Judgements, in the format of BEIR or TREC.")],
    mode: Annotated[
        Literal["hybrid", "dense"], typer.Option("--mode", help="The searches to fit: those of this mode.")
    ] = "hybrid",
    limit: Annotated[int | None, typer.Option("--limit", help="Only the first so many judged queries.")] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Say what it would be worth; write nothing.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print everything as JSON.")] = False,
    cross_encoder: CrossEncoderName = None,
    device: Device = "cpu",
    precision: Annotated[
        str, typer.Option("--precision", help="Of the cross-encoder: auto, f32, bf16 or int8.")
    ] = "auto",
) -> None:
    """Fit both stages to an index and its judged queries: final score, relevance, when to stop reading."""
    from bicross.calibrating import calibrate, keep
    from bicross.encoders import CrossEncoder
    from bicross.encoders.progress import progress
    from bicross.evaluation.judged import judged_queries, read_queries
    from bicross.opening import default_cross_encoder, open

    judged = judged_queries(queries, qrels, limit)
    for note in judged.notes:
        typer.echo(f"bicross: {note}", err=True)
    wanted = set(judged.ids)
    asked = [(query_id, text) for query_id, text in read_queries(queries) if query_id in wanted]
    with open(index, device=device) as opened:
        model = CrossEncoder(cross_encoder or default_cross_encoder(index), device=device, precision=precision)
        with progress("Reading queries", len(asked), None) as advance:
            fitted = calibrate(opened, model, asked, judged.qrels, mode=mode, advance=advance)
        if not dry_run:
            keep(opened, fitted)
    if as_json:
        from bicross.search.two_stages import as_json as plain

        record = {**asdict(fitted), "numbers": plain(fitted.numbers), "written": not dry_run}
        typer.echo(json.dumps(record, ensure_ascii=False))
    else:
        _print(fitted, index, written=not dry_run)


def _print(fitted: Calibrated, index: str, *, written: bool) -> None:
    from rich.console import Console
    from rich.table import Table

    table = Table("", "before", "after")
    for column in table.columns[1:]:
        column.justify = "right"
    names = {
        "ndcg": "nDCG@10",
        "log_loss": "log loss of the relevance",
        "calibration_error": "expected calibration error",
        "top_calibration_error": "the same, of the ten best",
        "read": "candidates that are read",
    }
    table.add_row("nDCG@10 of the first stage", f"{fitted.first_before:.4f}", f"{fitted.first_after:.4f}")
    for name, shown in names.items():
        values = [getattr(worth, name) for worth in (fitted.before, fitted.after)]
        table.add_row(shown, *(f"{value:.0%}" if name == "read" else f"{value:.4f}" for value in values))
    Console().print(table)
    numbers = fitted.numbers
    if fitted.first_stage:
        weighed = ", ".join(f"{name} {value:g}" for name, value in vars(fitted.first_stage).items())
        typer.echo(f"first stage: {weighed}")
    else:
        typer.echo("first stage: as it was, no better one was found")
    typer.echo(f"final = {numbers.logit:.4g} × cross_encoder + {numbers.evidence:.4g} × first stage")
    typer.echo(f"relevance: {type(numbers.calibration).__name__}, better by log loss on held-out queries")
    typer.echo(
        f"fitted on {fitted.queries} queries, {fitted.pairs} pairs; "
        "after: each query with numbers that were fitted without it, in 5 folds"
    )
    typer.echo(f"written to {index}" if written else "nothing was written")

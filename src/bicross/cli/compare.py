"""``bicross compare``"""

from __future__ import annotations

import json
from typing import Annotated

import typer

from bicross.cli.options import CrossEncoderName, Device


def compare(
    query: Annotated[str, typer.Argument(help="What to look for.")],
    index: Annotated[str, typer.Option("--index", help="Folder of the index, or its address on a cluster.")],
    top_k: Annotated[int, typer.Option("--top-k", "-k", help="Documents of each way.")] = 10,
    candidates: Annotated[
        int, typer.Option("--candidates", help="Chunks that the cross-encoder reads in two stages; at least --top-k.")
    ] = 50,
    filter: Annotated[
        str | None,
        typer.Option("--filter", help="Only documents with such metadata: 'year >= 2020 and lang == \"en\"'."),
    ] = None,
    every_document: Annotated[
        bool | None,
        typer.Option(
            "--every-document/--no-every-document",
            help="The cross-encoder alone reads every chunk, however long it takes; or never, and the cost is a "
            "forecast (default: it does where it takes ten seconds at most).",
        ),
    ] = None,
    cross_encoder: CrossEncoderName = None,
    device: Device = "cpu",
    precision: Annotated[
        str, typer.Option("--precision", help="Of the cross-encoder: auto, f32, bf16 or int8.")
    ] = "auto",
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object.")] = False,
) -> None:
    """Ask the same query by words, by each encoder and by both, side by side, with what each way costs."""
    from bicross.cli.side_by_side import print_comparison
    from bicross.encoders import CrossEncoder
    from bicross.errors import UsageError
    from bicross.opening import default_cross_encoder, open
    from bicross.search import Searcher
    from bicross.search import compare as compared

    if not query.strip():
        raise UsageError("the query is empty")
    with open(index, device=device) as opened:
        judge = CrossEncoder(cross_encoder or default_cross_encoder(index), device=device, precision=precision)
        comparison = compared(
            Searcher(opened, judge),
            query,
            top_k=top_k,
            candidates=candidates,
            filter=filter,
            every_document=every_document,
        )
    if as_json:
        typer.echo(json.dumps(comparison.as_dict(), ensure_ascii=False))
    else:
        print_comparison(comparison)

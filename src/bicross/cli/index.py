"""``bicross index``"""

from __future__ import annotations

import sys
from pathlib import Path
from time import perf_counter
from typing import Annotated

import typer


def index(
    paths: Annotated[list[Path], typer.Argument(help="Files (.txt, .md, .jsonl, .jsonl.gz) and folders of them.")],
    into: Annotated[Path, typer.Option("--into", help="Folder of the index; made when it is not there.")],
    model: Annotated[str | None, typer.Option("--model", help="Bi-encoder: name or folder.")] = None,
    chunk_tokens: Annotated[
        int | None, typer.Option("--chunk-tokens", help="The most tokens in a chunk [default: what the model reads].")
    ] = None,
    device: Annotated[str, typer.Option("--device", help="cpu, cuda, cuda:1 …")] = "cpu",
    precision: Annotated[
        str | None, typer.Option("--precision", help="auto, f32, bf16 or int8 [default: as the index was made].")
    ] = None,
) -> None:
    """Read documents, chunk and embed them, and store them in an index.

    Run it again to go on after an interruption or to add more: what is stored already is not embedded again.
    """
    from rich.console import Console

    from bicross.documents import read_documents
    from bicross.errors import UsageError
    from bicross.opening import open_or_create

    for path in paths:
        if not path.exists():
            raise UsageError(f"{path}: no such file or folder")
    started, safe = perf_counter(), 0
    console = Console(stderr=True)
    with open_or_create(into, model, chunk_tokens=chunk_tokens, device=device, precision=precision) as opened:
        try:
            with console.status("Indexing …") as status:

                def committed(documents: int) -> None:
                    nonlocal safe
                    safe += documents
                    status.update(f"Indexing … {safe} documents stored")

                report = opened.add(read_documents(paths), committed=committed)
        except KeyboardInterrupt:
            typer.echo(
                f"bicross: stopped; {safe} documents of this run are stored and can be searched; "
                "run the same command again to go on",
                err=True,
            )
            sys.exit(130)
        count = opened.count()
    if report.empty:
        typer.echo(f"left out, because they have no text: {_few(report.empty)}", err=True)
    cut = f"; {report.truncated} chunks longer than the model reads" if report.truncated else ""
    typer.echo(
        f"{report.new} new, {report.changed} changed, {report.unchanged} unchanged documents; "
        f"{report.chunks} chunks, {report.tokens} tokens embedded in {perf_counter() - started:.1f} s{cut}\n"
        f"{into}: {count.documents} documents in {count.chunks} chunks"
    )


def _few(ids: tuple[str, ...]) -> str:
    return ", ".join(ids[:10]) + (f" and {len(ids) - 10} more" if len(ids) > 10 else "")

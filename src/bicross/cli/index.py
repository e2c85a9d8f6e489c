"""``bicross index``"""

from __future__ import annotations

import signal
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from time import perf_counter
from typing import TYPE_CHECKING, Annotated, Any

import typer

from bicross.cli.options import (
    BiEncoderName,
    Device,
    IdField,
    OnDisk,
    Quantised,
    Replicas,
    Shards,
    TextField,
    TitleField,
    layout_of,
)

if TYPE_CHECKING:
    from types import FrameType

    from bicross.index import RefreshReport


def index(
    paths: Annotated[list[str], typer.Argument(help="Files, folders and globs; - reads standard input.")],
    into: Annotated[
        str,
        typer.Option(
            "--into", help="Folder of the index, or qdrant://HOST:6333/NAME on a cluster; made when it is not there."
        ),
    ],
    prune: Annotated[
        bool, typer.Option("--prune", help="Remove documents whose files (below PATHS) or lines are gone.")
    ] = False,
    strict: Annotated[bool, typer.Option("--strict", help="Stop at the first file that cannot be read.")] = False,
    ignore: Annotated[
        list[str] | None, typer.Option("--ignore", help="Pattern of files to pass over, as in .gitignore; repeatable.")
    ] = None,
    id_field: IdField = None,
    text_field: TextField = None,
    title_field: TitleField = None,
    metadata_field: Annotated[
        list[str] | None,
        typer.Option(
            "--metadata-field", help="Field to keep, NAME or NAME:text|int|float|bool; repeatable (default: all)."
        ),
    ] = None,
    model: BiEncoderName = None,
    chunk_tokens: Annotated[
        int | None, typer.Option("--chunk-tokens", help="The most tokens in a chunk (default: what the model reads).")
    ] = None,
    overlap: Annotated[
        int | None, typer.Option("--overlap", help="Tokens that a chunk repeats of the one before (default: 0).")
    ] = None,
    language: Annotated[
        str | None,
        typer.Option("--language", help="Of lexical search: en, de, fr … or none (default: en); Chinese in any."),
    ] = None,
    device: Device = "cpu",
    precision: Annotated[
        str | None, typer.Option("--precision", help="auto, f32, bf16 or int8 (default: as the index was made).")
    ] = None,
    ray: Annotated[
        str | None,
        typer.Option(
            "--ray",
            metavar="ADDRESS",
            help="Embed on the machines of a Ray cluster into an index on a cluster: auto, local, ray://HOST:10001.",
        ),
    ] = None,
    shards: Shards = None,
    replicas: Replicas = None,
    quantisation: Quantised = None,
    on_disk: OnDisk = None,
) -> None:
    """Read documents, chunk and embed them, and store them in an index.

    Run it again to go on after an interruption or when files have changed: only what is new or different is embedded.
    A file that cannot be read does not stop the run; it is listed at the end, and the exit code is 1.
    """
    from rich.console import Console

    from bicross.documents import Fields, read_documents
    from bicross.errors import UsageError
    from bicross.index import refresh
    from bicross.index.cluster.address import is_address
    from bicross.opening import open_or_create

    fields = Fields(id_field, tuple(text_field or ()), title_field, tuple(metadata_field) if metadata_field else None)
    read_documents(
        paths, fields=fields, ignore=ignore or ()
    )  # says what is wrong with the paths before a model is loaded
    if ray is not None and not is_address(into):
        raise UsageError(f"--ray embeds on many machines, which need an index on a cluster; {into} is a folder")
    if ray is not None:
        from bicross.spreading import connect

        connect(ray)  # before anything of gRPC is open
    started, safe = perf_counter(), 0
    index = open_or_create(
        into,
        model,
        chunk_tokens=chunk_tokens,
        overlap=overlap,
        language=language,
        device=device,
        precision=precision,
        layout=layout_of(shards, replicas, quantisation, on_disk),
    )
    with index as opened:
        with Console(stderr=True).status("Indexing …") as status, _stop_at_ctrl_c() as stop:

            def committed(documents: int) -> None:
                nonlocal safe
                safe += documents
                status.update(f"Indexing … {safe} documents stored")

            given: dict[str, Any] = {"fields": fields, "ignore": ignore or (), "prune": prune, "strict": strict}
            if ray is not None:
                from bicross.spreading import refresh_on_ray

                given |= {"ray_address": ray, "device": device, "precision": precision}
                report = refresh_on_ray(opened, paths, **given, committed=committed, stop=stop)
            else:
                report = refresh(
                    opened,
                    paths,
                    **given,
                    committed=committed,
                    stop=stop,
                    building=lambda chunks: typer.echo(f"building the graph of {chunks:,} chunks …", err=True),
                )
        count = opened.count()
    _print(report, perf_counter() - started)
    typer.echo(f"{into}: {count.documents} documents in {count.chunks} chunks")
    if report.stopped:
        typer.echo(
            f"bicross: stopped; {safe} documents of this run are stored and can be searched; "
            "run the same command again to go on",
            err=True,
        )
        sys.exit(130)
    if report.failed:
        sys.exit(1)


@contextmanager
def _stop_at_ctrl_c() -> Iterator[Callable[[], bool]]:
    """The first Ctrl-C asks for a stop after the batch; the second one interrupts at once, which loses the batch."""
    asked = False

    def ask(number: int, frame: FrameType | None) -> None:
        nonlocal asked
        asked = True
        signal.signal(signal.SIGINT, before)
        typer.echo("bicross: finishing the batch …", err=True)

    before = signal.signal(signal.SIGINT, ask)
    try:
        yield lambda: asked
    finally:
        signal.signal(signal.SIGINT, before)


def _print(report: RefreshReport, seconds: float) -> None:
    added = report.added
    if added.emptied:
        typer.echo(f"left out, because they have no text: {_few(added.empty, added.emptied)}", err=True)
    for failure in report.failures:
        typer.echo(f"failed: {failure.where}: {failure.reason}", err=True)
    if report.failed > len(report.failures):
        typer.echo(f"failed: {report.failed - len(report.failures)} more", err=True)
    cut = f"; {added.truncated} chunks longer than the model reads" if added.truncated else ""
    typer.echo(
        f"{added.new} new, {added.changed} changed, {added.unchanged} unchanged, {report.removed} removed, "
        f"{report.failed} failed documents; {added.chunks} chunks, {added.tokens} tokens embedded "
        f"in {seconds:.1f} s{cut}"
    )


def _few(ids: tuple[str, ...], number: int) -> str:
    from bicross.cli.output import on_one_line

    return ", ".join(map(on_one_line, ids[:10])) + (f" and {number - 10} more" if number > 10 else "")

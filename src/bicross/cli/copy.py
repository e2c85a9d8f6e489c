"""``bicross copy``"""

from __future__ import annotations

from typing import Annotated

import typer

from bicross.cli.options import Device, IndexPlace, OnDisk, Quantised, Replicas, Shards, layout_of


def copy(
    index: IndexPlace,
    to: Annotated[str, typer.Argument(help="Folder or address of the copy; made when it is not there.")],
    shards: Shards = None,
    replicas: Replicas = None,
    quantisation: Quantised = None,
    on_disk: OnDisk = None,
    device: Device = "cpu",
) -> None:
    """Bring an index to another place, from a folder to a cluster or back; nothing is embedded again.

    All of it is read back and compared with checksums. Type it again to go on after an interruption.
    """
    from rich.console import Console

    from bicross.index.copying import copy
    from bicross.opening import open, open_copy

    with (
        open(index, device=device) as source,
        open_copy(source, to, layout=layout_of(shards, replicas, quantisation, on_disk)) as target,
        Console(stderr=True).status("Copying …") as status,
    ):
        safe = read = 0

        def copied(documents: int) -> None:
            nonlocal safe
            safe += documents
            status.update(f"Copying … {safe:,} documents stored")

        def verified(documents: int) -> None:
            nonlocal read
            read += documents
            status.update(f"Reading back … {read:,} documents are the same")

        done = copy(source, target, copied=copied, verified=verified)
    typer.echo(
        f"{to}: {done.documents} documents in {done.chunks} chunks, read back and the same as in {index}; "
        f"{done.copied} copied, {done.documents - done.copied} there already, none embedded again"
    )
    if done.others:
        typer.echo(f"{to} holds {done.others} documents that {index} has not")

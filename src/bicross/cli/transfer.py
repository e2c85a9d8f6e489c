"""``bicross export`` and ``bicross import``"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from bicross.cli.options import IndexPlace


def export(
    index: IndexPlace,
    to: Annotated[Path, typer.Option("--to", help="The file to write: .parquet or .jsonl.")],
) -> None:
    """Write every chunk with its vector into one file."""
    from bicross.index import export
    from bicross.index.transfer import check_suffix
    from bicross.opening import open

    check_suffix(to)
    with open(index) as opened:
        number = export(opened, to)
    typer.echo(f"{to}: {number} chunks with their vectors")


def import_(
    file: Annotated[Path, typer.Argument(help="A file that bicross export wrote.")],
    into: Annotated[
        str, typer.Option("--into", help="Folder of the index, or its address; made when it is not there.")
    ],
) -> None:
    """Bring an exported file into an index; nothing is embedded again."""
    from bicross.opening import import_export

    number = import_export(file, into)
    typer.echo(f"{into}: {number} documents stored from {file}, none embedded again")

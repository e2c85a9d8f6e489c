"""``bicross delete``"""

from __future__ import annotations

import sys
from typing import Annotated

import typer

from bicross.cli.options import IndexPlace


def delete(
    index: IndexPlace,
    document_ids: Annotated[list[str], typer.Argument(help="Ids of the documents.")],
) -> None:
    """Delete documents from an index; they are found no more, neither by meaning nor by words."""
    from bicross.documents.document import short
    from bicross.opening import open

    with open(index) as opened:
        wanted = list(dict.fromkeys(document_ids))
        unknown = opened.delete(wanted)
        count = opened.count()
    typer.echo(f"{len(wanted) - len(unknown)} deleted; {index}: {count.documents} documents in {count.chunks} chunks")
    for document_id in unknown:
        typer.echo(f"bicross: {index}: no document with the id {short(document_id)}", err=True)
    if unknown:
        sys.exit(1)

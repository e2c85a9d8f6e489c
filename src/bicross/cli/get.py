"""``bicross get``"""

from __future__ import annotations

import json
from typing import Annotated

import typer

from bicross.cli.options import IndexPlace


def get(
    index: IndexPlace,
    document_id: Annotated[str, typer.Argument(help="Id of the document.")],
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object a line and chunk.")] = False,
) -> None:
    """Show the stored chunks of a document."""
    from bicross.cli.output import on_one_line
    from bicross.documents.document import short
    from bicross.errors import DocumentError
    from bicross.opening import open

    with open(index) as opened:
        chunks = opened.get(document_id)
    if not chunks:
        raise DocumentError(f"{index}: no document with the id {short(document_id)}")
    for found in chunks:
        chunk = found.chunk
        if as_json:
            record = {**vars(chunk), "truncated": found.truncated, "metadata": found.metadata}
            typer.echo(json.dumps(record, ensure_ascii=False))
        else:
            page = f"  page {chunk.page}" if chunk.page else ""
            typer.echo(f"{on_one_line(chunk.id)} [{chunk.start}:{chunk.end}]{page}  {chunk.title}\n{chunk.text}\n")

"""``bicross info``"""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer


def info(
    index: Annotated[Path, typer.Argument(help="Folder of the index.")],
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object.")] = False,
) -> None:
    """Say what an index holds and what it was made with."""
    from bicross.opening import open

    with open(index) as opened:
        count, size, manifest = opened.count(), opened.bytes_on_disk(), opened.manifest
    facts = {"path": str(index), "documents": count.documents, "chunks": count.chunks, "bytes": size}
    if as_json:
        typer.echo(json.dumps({**facts, **asdict(manifest)}))
        return
    fingerprint = manifest.fingerprint
    lines = {**facts, "format": manifest.format, "model": manifest.model, **fingerprint.encoder}
    lines |= {"chunk_tokens": fingerprint.chunk_tokens, "dtype": fingerprint.dtype}
    for name, value in lines.items():
        typer.echo(f"{name.replace('_', ' '):<16} {value}")

"""``bicross quantise``"""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer


def quantise(
    model: Annotated[str, typer.Argument(help="Bi-encoder or cross-encoder: name or folder.")],
    documents: Annotated[
        list[Path] | None,
        typer.Argument(help="Documents like those it will read (default: docstrings of the running Python)."),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object.")] = False,
) -> None:
    """Make the int8 version of a model, calibrated on documents, and say how near it comes to f32.

    Then --precision int8 uses it. Without this verb it is made, on the default texts, when int8 is first asked for.
    """
    from bicross.documents import read_documents
    from bicross.encoders import quantise

    texts = (document.text for document in read_documents(documents)) if documents else None
    made = quantise(model, texts)
    if as_json:
        typer.echo(json.dumps({**asdict(made), "file": str(made.file)}))
        return
    typer.echo(f"{made.file}: calibrated and measured on {made.texts} texts")
    for name, value in made.fidelity.items():
        typer.echo(f"{name.replace('_', ' '):<18} {value}")

"""Options that several verbs have, spelled once."""

from __future__ import annotations

from typing import Annotated

import typer

BiEncoderName = Annotated[str | None, typer.Option("--model", help="Bi-encoder: name or folder.")]
CrossEncoderName = Annotated[
    str | None, typer.Option("--cross-encoder", help="Name or folder (default: that of bicross adapt, else our own).")
]
Device = Annotated[str, typer.Option("--device", help="cpu, cuda, cuda:1 …")]
IdField = Annotated[str | None, typer.Option("--id-field", help="Field of records with the id (default: _id, id).")]
TextField = Annotated[
    list[str] | None,
    typer.Option("--text-field", help="Field with the text (default: text); repeat it to join several."),
]
TitleField = Annotated[str | None, typer.Option("--title-field", help="Field with the title (default: title).")]

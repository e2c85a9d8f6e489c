"""Options that several verbs have, spelled once."""

from __future__ import annotations

from typing import Annotated

import typer

from bicross.index.cluster.address import Layout, Quantisation

IndexPlace = Annotated[
    str, typer.Argument(help="Folder of the index; or its address on a cluster, qdrant://HOST:6333/NAME.")
]
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
Shards = Annotated[
    int | None, typer.Option("--shards", min=1, help="Of a new index on a cluster (default: two a node).")
]
Replicas = Annotated[
    int | None,
    typer.Option("--replicas", min=1, help="Copies of each shard on a cluster (default: two where there are nodes)."),
]
Quantised = Annotated[
    Quantisation | None,
    typer.Option("--quantisation", help="Codes in the memory of a cluster: none, int8 or binary (default: int8)."),
]
OnDisk = Annotated[
    bool | None,
    typer.Option("--on-disk/--in-memory", help="Where a cluster keeps the vectors themselves (default: on disk)."),
]


def layout_of(
    shards: int | None, replicas: int | None, quantisation: Quantisation | None, on_disk: bool | None
) -> Layout | None:
    """What the options of an index on a cluster say; None where none was given."""
    given = {"shards": shards, "replicas": replicas, "quantisation": quantisation, "on_disk": on_disk}
    said = {name: value for name, value in given.items() if value is not None}
    return Layout(**said) if said else None  # type: ignore[arg-type]

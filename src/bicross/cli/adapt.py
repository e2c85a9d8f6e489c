"""``bicross adapt``"""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer

from bicross.cli.options import Device, IndexPlace
from bicross.cli.train import AsJson, LearningRate, Precision, Seed, check_extra, say


def adapt(
    index: IndexPlace,
    teacher: Annotated[
        list[str] | None,
        typer.Option("--teacher", help="A stronger model of either kind that says what is relevant; repeat it."),
    ] = None,
    queries: Annotated[int, typer.Option("--queries", help="To make from the documents, at most.")] = 1000,
    base: Annotated[str | None, typer.Option("--base", help="Cross-encoder to start from (default: our own).")] = None,
    layers: Annotated[int, typer.Option("--layers", help="Keep so many of its layers; 0: all.")] = 0,
    epochs: Annotated[float, typer.Option("--epochs", help="How often each pair is seen, at most.")] = 1.0,
    learning_rate: LearningRate = 3e-5,
    max_tokens: Annotated[int, typer.Option("--max-tokens", help="Cut pairs at so many while learning.")] = 192,
    seed: Seed = 1,
    undo: Annotated[bool, typer.Option("--undo", help="Take the adapted cross-encoder out of the index.")] = False,
    precision: Precision = "auto",
    as_json: AsJson = False,
    device: Device = "cpu",
) -> None:
    """Fit the cross-encoder to the documents of an index, without judgements; needs the extra [train]."""
    from bicross.encoders.loading import DEFAULT_CROSS_ENCODER
    from bicross.errors import UsageError
    from bicross.index import read_manifest
    from bicross.index.cluster.address import is_address
    from bicross.opening import forget_adapted, open

    if is_address(index):
        raise UsageError(
            f"{index}: adapt keeps its model in the folder of an index; type: bicross copy {index} DIR, adapt that, "
            "and search with --cross-encoder DIR/cross-encoder"
        )
    if undo:
        read_manifest(Path(index))  # it is an index
        if not forget_adapted(index):
            raise UsageError(f"{index}: no cross-encoder was adapted to it")
        typer.echo(f"{index}: the adapted cross-encoder is gone; searches use {DEFAULT_CROSS_ENCODER} again")
        return
    check_extra()
    from bicross.training.adapting import adapt as adapted
    from bicross.training.cross_encoder import CrossEncoderTraining

    settings = CrossEncoderTraining(
        base=base or DEFAULT_CROSS_ENCODER,
        layers=layers,
        epochs=epochs,
        learning_rate=learning_rate,
        max_tokens=max_tokens,
        precision=precision,
        seed=seed,
    )
    with open(index, device=device) as opened:
        done = adapted(opened, teacher or (), queries=queries, settings=settings, device=device, say=say)
    if as_json:
        typer.echo(json.dumps(asdict(done)))
        return
    trained = done.training
    typer.echo(f"learnt from {trained.pairs:,} pairs of {done.queries:,} queries of the documents' own")
    typer.echo(f"nDCG@10 on queries held out of these: {trained.before:.4f} before, {trained.after:.4f} after")
    if done.folder:
        typer.echo(f"{done.folder}: searches of the index use it from now on; bicross adapt --undo takes it out")
    else:
        typer.echo(f"That is no gain: it was not kept, and {index} is as it was.")
    if not teacher:
        typer.echo("no stronger teacher was named with --teacher: it learnt from itself and the bi-encoder")

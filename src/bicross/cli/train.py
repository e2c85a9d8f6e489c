"""``bicross train``"""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer

from bicross.cli.options import Device
from bicross.errors import UsageError

train = typer.Typer(no_args_is_help=True, help="Train a model on your own data; needs the extra [train].")

Into = Annotated[Path, typer.Option("--into", help="New folder for the model, or that of a run that was stopped.")]
Split = Annotated[str, typer.Option("--split", help="Of a BEIR folder: learn from qrels/SPLIT.tsv.")]
DevPath = Annotated[
    Path | None,
    typer.Option("--dev", help="What it is measured on: BEIR folder or file [default: a tenth of the queries]."),
]
DevSplit = Annotated[str, typer.Option("--dev-split", help="Of a BEIR folder named with --dev.")]
DropOverlap = Annotated[bool, typer.Option("--drop-overlap", help="Leave out of training what the dev split asks too.")]
Precision = Annotated[str, typer.Option("--precision", help="auto (bf16 where the machine has it), f32 or bf16.")]
AsJson = Annotated[bool, typer.Option("--json", help="Print the result as JSON.")]


@train.command("bi-encoder")
def bi_encoder(
    examples: Annotated[
        Path, typer.Argument(help=".jsonl, .tsv or .csv with query, positive, negatives; or a BEIR folder.")
    ],
    into: Into,
    base: Annotated[str | None, typer.Option("--base", help="Model to start from: name or folder.")] = None,
    split: Split = "train",
    dev: DevPath = None,
    dev_split: DevSplit = "dev",
    epochs: Annotated[float, typer.Option("--epochs", help="How often each example is seen, at most.")] = 1.0,
    batch: Annotated[int, typer.Option("--batch", help="Examples a step; more are held by GradCache.")] = 64,
    learning_rate: Annotated[float, typer.Option("--learning-rate", help="At its highest.")] = 2e-5,
    max_tokens: Annotated[int, typer.Option("--max-tokens", help="Cut texts at so many.")] = 256,
    negatives: Annotated[int, typer.Option("--negatives", help="Hard negatives of each example, at most.")] = 1,
    one_way: Annotated[bool, typer.Option("--one-way", help="Only from query to text, not back too.")] = False,
    matryoshka: Annotated[
        list[int] | None, typer.Option("--matryoshka", help="Be good at so many numbers too; may be repeated.")
    ] = None,
    patience: Annotated[int, typer.Option("--patience", help="Stop after so many measures without a gain.")] = 3,
    every: Annotated[int, typer.Option("--every", help="Steps between measures; 0: a tenth of all.")] = 0,
    drop_overlap: DropOverlap = False,
    precision: Precision = "auto",
    seed: Annotated[int, typer.Option("--seed", help="Of the order of the examples.")] = 1,
    as_json: AsJson = False,
    device: Device = "cpu",
) -> None:
    """Teach a bi-encoder by contrast: what answers a query comes nearer to it than all else."""
    _check_extra()
    from bicross.encoders.loading import DEFAULT_BI_ENCODER
    from bicross.training.bi_encoder import BiEncoderTraining, train_bi_encoder
    from bicross.training.dev import hold_out, read_dev
    from bicross.training.examples import read_examples, without_overlap

    settings = BiEncoderTraining(
        base=base or DEFAULT_BI_ENCODER,
        epochs=epochs,
        batch=batch,
        learning_rate=learning_rate,
        max_tokens=max_tokens,
        negatives=negatives,
        one_way=one_way,
        dimensions=tuple(matryoshka or ()),
        patience=patience,
        every=every,
        precision=precision,
        seed=seed,
    )
    settings.check()
    read = read_examples(examples, split)
    if dev is None:
        learnt, measured = hold_out(read, seed)
    else:
        measured = read_dev(dev, dev_split, seed)
        learnt = without_overlap(read, measured.queries.values(), measured.name, allowed=drop_overlap)
        if len(learnt) < len(read):
            _say(f"{len(read) - len(learnt)} examples left out: {measured.name} asks their queries too")
    trained = train_bi_encoder(learnt, measured, into, settings, device=device, say=_say)
    if as_json:
        typer.echo(json.dumps({"folder": str(into), **asdict(trained)}))
        return
    early = ", stopped early" if trained.stopped_early else ""
    typer.echo(f"{into}: step {trained.step} of {trained.steps}{early}, {trained.examples:,} examples")
    typer.echo(f"nDCG@10 on {measured.name}: {trained.before:.4f} before, {trained.after:.4f} after")
    if trained.after <= trained.before:
        typer.echo(f"That is no gain: {settings.base} serves this data as well.")


def _say(line: str) -> None:
    typer.echo(f"bicross: {line}", err=True)


def _check_extra() -> None:
    try:
        import datasets  # noqa: F401
        import sentence_transformers  # noqa: F401
    except ImportError as error:
        raise UsageError(f"training needs {error.name}; type: pip install 'bicross[train]'") from None
    import logging

    from datasets.utils.logging import disable_progress_bar
    from transformers.utils import logging as of_transformers

    # what these libraries have to say is for those who write trainers
    for name in ("sentence_transformers", "transformers", "datasets", "accelerate"):
        logging.getLogger(name).setLevel(logging.ERROR)
    of_transformers.disable_progress_bar()
    disable_progress_bar()

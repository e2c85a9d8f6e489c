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
LearningRate = Annotated[float, typer.Option("--learning-rate", help="At its highest.")]
Patience = Annotated[int, typer.Option("--patience", help="Stop after so many measures without a gain.")]
Every = Annotated[int, typer.Option("--every", help="Steps between measures; 0: a fifth of all.")]
Seed = Annotated[int, typer.Option("--seed", help="Of what is chosen, and of the order.")]
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
    learning_rate: LearningRate = 2e-5,
    max_tokens: Annotated[int, typer.Option("--max-tokens", help="Cut texts at so many.")] = 256,
    negatives: Annotated[int, typer.Option("--negatives", help="Hard negatives of each example, at most.")] = 1,
    one_way: Annotated[bool, typer.Option("--one-way", help="Only from query to text, not back too.")] = False,
    matryoshka: Annotated[
        list[int] | None, typer.Option("--matryoshka", help="Be good at so many numbers too; may be repeated.")
    ] = None,
    patience: Patience = 2,
    every: Every = 0,
    drop_overlap: DropOverlap = False,
    precision: Precision = "auto",
    seed: Seed = 1,
    as_json: AsJson = False,
    device: Device = "cpu",
) -> None:
    """Teach a bi-encoder by contrast: what answers a query comes nearer to it than all else."""
    check_extra()
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
            say(f"{len(read) - len(learnt)} examples left out: {measured.name} asks their queries too")
    trained = train_bi_encoder(learnt, measured, into, settings, device=device, say=say)
    if as_json:
        typer.echo(json.dumps({"folder": str(into), **asdict(trained)}))
        return
    early = ", stopped early" if trained.stopped_early else ""
    typer.echo(f"{into}: step {trained.step} of {trained.steps}{early}, {trained.examples:,} examples")
    typer.echo(f"nDCG@10 on {measured.name}: {trained.before:.4f} before, {trained.after:.4f} after")
    if trained.after <= trained.before:
        typer.echo(f"That is no gain: {settings.base} serves this data as well.")


@train.command("cross-encoder")
def cross_encoder(
    pairs: Annotated[
        Path,
        typer.Argument(help=".jsonl, .tsv or .csv with query, document, label; what bicross mine writes; BEIR folder."),
    ],
    into: Into,
    base: Annotated[str | None, typer.Option("--base", help="Cross-encoder, or bi-encoder for a new head.")] = None,
    teacher: Annotated[
        list[str] | None,
        typer.Option("--teacher", help="Learn the scores of this model, of either kind; more: their mean."),
    ] = None,
    loss: Annotated[
        str,
        typer.Option("--loss", help="binary, graded, lambda, ranknet, softmax, margin-mse or mse [default: it fits]."),
    ] = "",
    layers: Annotated[int, typer.Option("--layers", help="Keep so many of the base's; 0: all.")] = 0,
    split: Split = "train",
    dev: DevPath = None,
    dev_split: DevSplit = "dev",
    epochs: Annotated[float, typer.Option("--epochs", help="How often each pair is seen, at most.")] = 1.0,
    batch: Annotated[int, typer.Option("--batch", help="Pairs a step.")] = 64,
    group: Annotated[int, typer.Option("--group", help="Documents of a query compared at once, at most.")] = 8,
    learning_rate: LearningRate = 3e-5,
    max_tokens: Annotated[int, typer.Option("--max-tokens", help="Cut pairs at so many.")] = 256,
    patience: Patience = 2,
    every: Every = 0,
    drop_overlap: DropOverlap = False,
    precision: Precision = "auto",
    seed: Seed = 1,
    as_json: AsJson = False,
    device: Device = "cpu",
) -> None:
    """Teach a cross-encoder which documents answer a query, by judgements, by a stronger model, or by both."""
    check_extra()
    from bicross.encoders.loading import DEFAULT_CROSS_ENCODER
    from bicross.training.cross_encoder import CrossEncoderTraining, train_cross_encoder
    from bicross.training.dev import HELD_OUT, MOST_QUERIES
    from bicross.training.examples import without_overlap
    from bicross.training.groups import read_groups, split_groups
    from bicross.training.running import check_folder, check_machine
    from bicross.training.teachers import scored_by

    settings = CrossEncoderTraining(
        base=base or DEFAULT_CROSS_ENCODER,
        loss=loss,
        layers=layers,
        epochs=epochs,
        batch=batch,
        group=group,
        learning_rate=learning_rate,
        max_tokens=max_tokens,
        patience=patience,
        every=every,
        precision=precision,
        seed=seed,
    )
    settings.check()
    check_machine(settings, device)
    check_folder(into)
    read = read_groups(pairs, split, taught=bool(teacher))
    if dev is None:
        learnt, measured = split_groups(read, HELD_OUT, MOST_QUERIES, seed)
    else:
        measured = read_groups(dev, dev_split, taught=bool(teacher))[:MOST_QUERIES]
        learnt = without_overlap(read, [group.query for group in measured], str(dev), allowed=drop_overlap)
        if len(learnt) < len(read):
            say(f"{len(read) - len(learnt)} queries left out: {dev} asks them too")
    if teacher:
        say(f"{' and '.join(teacher)} read {sum(len(g.documents) for g in (*learnt, *measured)):,} pairs")
        both = scored_by(teacher, [*learnt, *measured], device=device, max_tokens=max_tokens)
        learnt, measured = both[: len(learnt)], both[len(learnt) :]
    trained = train_cross_encoder(learnt, measured, into, settings, device=device, say=say)
    if as_json:
        typer.echo(json.dumps({"folder": str(into), **asdict(trained)}))
        return
    early = ", stopped early" if trained.stopped_early else ""
    typer.echo(f"{into}: loss {trained.loss}, step {trained.step} of {trained.steps}{early}, {trained.pairs:,} pairs")
    typer.echo(f"nDCG@10 on {len(measured)} held-out queries: {trained.before:.4f} before, {trained.after:.4f} after")
    for name, row in trained.precisions.items():
        typer.echo(f"{name}: nDCG@10 {row['ndcg']:.4f}, correlation with f32 {row['correlation']:.4f}")
    if not trained.calibrated:
        typer.echo("relevance was not fitted: too few held-out queries are judged; bicross calibrate INDEX fits it")
    if trained.after <= trained.before:
        typer.echo(f"That is no gain: {settings.base} serves this data as well.")


def say(line: str) -> None:
    typer.echo(f"bicross: {line}", err=True)


def check_extra() -> None:
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

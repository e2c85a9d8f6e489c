"""The command line: which verbs there are, and how errors reach the user."""

from __future__ import annotations

import sys
from typing import Annotated

import typer

import bicross
from bicross.cli import (
    adapt,
    calibrate,
    check,
    compare,
    copy,
    delete,
    evaluate,
    get,
    index,
    info,
    mcp,
    mine,
    models,
    pairs,
    plan,
    quantise,
    score,
    search,
    serve,
    train,
    transfer,
)
from bicross.errors import BicrossError, UsageError

app = typer.Typer(
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
    help="Two-stage semantic search: a bi-encoder finds candidates, a cross-encoder puts the best on top.",
)
app.command("index")(index.index)
app.command("search")(search.search)
app.command("serve")(serve.serve)
app.command("mcp")(mcp.mcp)
app.command("compare")(compare.compare)
app.command("get")(get.get)
app.command("delete")(delete.delete)
app.command("info")(info.info)
app.command("check")(check.check)
app.command("export")(transfer.export)
app.command("import")(transfer.import_)
app.command("copy")(copy.copy)
app.command("evaluate")(evaluate.evaluate)
app.command("calibrate")(calibrate.calibrate)
app.command("mine")(mine.mine)
app.add_typer(train.train, name="train")
app.command("adapt")(adapt.adapt)
app.command("score")(score.score)
app.command("plan")(plan.plan)
app.command("pairs")(pairs.pairs)
app.command("models")(models.models)
app.command("quantise")(quantise.quantise)


def _version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"bicross {bicross.__version__}")
        raise typer.Exit


@app.callback()
def options(
    debug: Annotated[bool, typer.Option("--debug", help="Show the traceback of an error.")] = False,
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version and stop.")
    ] = False,
) -> None:
    """Options before the verb."""


def main() -> None:
    """Run the command; exit code 0, 1 (failed), 2 (wrong usage) or 130 (stopped with Ctrl-C)."""
    try:
        app(standalone_mode=True)
    except BicrossError as error:
        if "--debug" in sys.argv:
            raise
        typer.echo(f"bicross: {error}", err=True)
        sys.exit(2 if isinstance(error, UsageError) else 1)
    except Exception as error:
        if "--debug" in sys.argv:
            raise
        reason = " ".join(str(error).split())
        typer.echo(f"bicross: {type(error).__name__}: {reason}; see the traceback with: bicross --debug …", err=True)
        sys.exit(1)

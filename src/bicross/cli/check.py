"""``bicross check``"""

from __future__ import annotations

import json
import sys
from dataclasses import asdict
from typing import Annotated

import typer

from bicross.cli.options import IndexPlace


def check(
    index: IndexPlace,
    repair: Annotated[bool, typer.Option("--repair", help="Put right what is wrong.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object.")] = False,
) -> None:
    """Verify counts and checksums, and the words against the vectors; exit code 1 when something is wrong."""
    from rich.console import Console

    from bicross.cli.output import on_one_line
    from bicross.index import check
    from bicross.opening import open

    looked_at = 0
    with open(index) as opened, Console(stderr=True).status("Checking …") as status:

        def checked(documents: int) -> None:
            nonlocal looked_at
            looked_at += documents
            if looked_at % 1000 == 0:
                status.update(f"Checking … {looked_at} documents")

        report = check(opened, repair=repair, checked=checked)
    if as_json:
        typer.echo(json.dumps(asdict(report), ensure_ascii=False))
    else:
        for problem in report.problems:
            typer.echo(problem)
        if report.found > len(report.problems):
            typer.echo(f"{report.found - len(report.problems)} more problems")
        repaired = f", {report.repaired} put right" if repair else ""
        typer.echo(f"{report.documents} documents, {report.chunks} chunks: {report.found} problems{repaired}")
        if report.lost:
            lost = ", ".join(map(on_one_line, report.lost[:20]))
            typer.echo(f"removed, because their text was damaged; index them again: {lost}")
        elif report.found and not repair:
            typer.echo(f"to put them right type: bicross check {index} --repair")
    if not report.whole:
        sys.exit(1)

"""One page of HTML that holds everything: tables, plots, the worst queries. It fetches nothing."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from bicross.evaluation.outcome import Evaluation, summary
from bicross.evaluation.plots import gains_and_losses, quality_against_latency
from bicross.evaluation.runs import write_run


def html_report(evaluation: Evaluation) -> str:
    """The page. Texts, ids and names are escaped."""
    from jinja2 import Environment, PackageLoader, StrictUndefined
    from markupsafe import Markup

    environment = Environment(
        loader=PackageLoader("bicross.evaluation", "."),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    return environment.get_template("report.html.jinja").render(
        evaluation=evaluation,
        systems=[summary(system) for system in evaluation.systems],
        latency=Markup(quality_against_latency(evaluation)),
        sections=[_section(evaluation, number) for number in range(len(evaluation.systems))],
    )


def _section(evaluation: Evaluation, number: int) -> dict[str, Any]:
    """What the page says of one system alone."""
    from markupsafe import Markup

    system, measure = evaluation.systems[number], evaluation.measures[0]
    bars = ""
    if system.name != evaluation.baseline:
        differences = system.values[measure] - evaluation.system(evaluation.baseline).values[measure]
        bars = gains_and_losses(differences, f"{measure} gained", number)
    return {
        "name": system.name,
        "bars": Markup(bars),
        "worst": [query for query in evaluation.worst if query.system == system.name],
    }


def write_json(evaluation: Evaluation, path: Path) -> None:
    """Everything, with every value of every query; the file is there whole or not at all."""
    _write(path, json.dumps(evaluation.as_dict(), ensure_ascii=False, indent=1) + "\n")


def write_html(evaluation: Evaluation, path: Path) -> None:
    """The page; the file is there whole or not at all."""
    _write(path, html_report(evaluation))


def write_runs(evaluation: Evaluation, folder: Path) -> list[Path]:
    """A TREC run file of each system, ``SYSTEM.trec``; the folder is made.

    Raises:
        DocumentError: An id cannot stand in such a file.
    """
    folder.mkdir(parents=True, exist_ok=True)
    paths = []
    for system in evaluation.systems:
        paths.append(folder / f"{system.name.replace('/', '_')}.trec")
        write_run(paths[-1], system.run, system.name)
    return paths


def _write(path: Path, text: str) -> None:
    new = path.with_name(f"{path.name}.new")
    new.write_text(text, encoding="utf-8")
    new.replace(path)

"""``bicross evaluate``"""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from bicross.cli.options import BiEncoderName, CrossEncoderName, Device

if TYPE_CHECKING:
    from rich.table import Table

    from bicross.evaluation import Evaluation


def evaluate(
    collection: Annotated[
        str | None, typer.Argument(help="BEIR folder, or folder or address of an index; none for run files alone.")
    ] = None,
    split: Annotated[str, typer.Option("--split", help="Judgements of a BEIR folder: qrels/SPLIT.tsv.")] = "test",
    queries: Annotated[
        Path | None, typer.Option("--queries", help="Queries: .jsonl (_id, text), or .tsv (id, text).")
    ] = None,
    qrels: Annotated[Path | None, typer.Option("--qrels", help="Judgements, in the format of BEIR or TREC.")] = None,
    index: Annotated[
        str | None, typer.Option("--index", help="Keep the index of a BEIR folder here, or use the one that is there.")
    ] = None,
    system: Annotated[
        list[str] | None,
        typer.Option(
            "--system",
            help="dense, lexical, hybrid, rrf, rerank@N, adaptive@N, cross-encoder@N; repeatable "
            "(default: dense lexical hybrid rerank@50; none with --run).",
        ),
    ] = None,
    run: Annotated[
        list[str] | None, typer.Option("--run", help="TREC run file of any system, FILE or NAME=FILE; repeatable.")
    ] = None,
    measure: Annotated[
        list[str] | None,
        typer.Option("--measure", help="Name in ir_measures; repeatable (default: nDCG@10 RR@10 R@100 AP@100 P@5)."),
    ] = None,
    baseline: Annotated[
        str | None, typer.Option("--baseline", help="System that the others are compared with (default: the first).")
    ] = None,
    test: Annotated[
        Literal["randomisation", "t-test"], typer.Option("--test", help="Paired test, corrected by Holm.")
    ] = "randomisation",
    limit: Annotated[int | None, typer.Option("--limit", help="Only the first so many queries.")] = None,
    json_file: Annotated[
        Path | None, typer.Option("--json", help="Write everything, each query too, as JSON; - prints it.")
    ] = None,
    html: Annotated[Path | None, typer.Option("--html", help="Write a report with plots, one file.")] = None,
    runs: Annotated[Path | None, typer.Option("--runs", help="Folder for a TREC run file of each system.")] = None,
    model: BiEncoderName = None,
    cross_encoder: CrossEncoderName = None,
    filter: Annotated[str | None, typer.Option("--filter", help="Only documents with such metadata.")] = None,
    device: Device = "cpu",
    precision: Annotated[
        str, typer.Option("--precision", help="Of the cross-encoder: auto, f32, bf16 or int8.")
    ] = "auto",
) -> None:
    """Measure systems on judged queries: quality with its certainty, beside cost."""
    from rich.console import Console

    from bicross.errors import UsageError
    from bicross.evaluation import evaluate
    from bicross.evaluation.measuring import DEFAULT_MEASURES
    from bicross.evaluation.report import write_html, write_json, write_runs

    to_stdout = str(json_file) == "-"
    for option, file in (("--json", None if to_stdout else json_file), ("--html", html)):
        if file is not None and (file.is_dir() or not file.absolute().parent.is_dir()):
            raise UsageError(f"{option} {file}: cannot be written; name a file in a folder that is there")
    if runs is not None and runs.exists() and not runs.is_dir():
        raise UsageError(f"--runs {runs}: there is a file of that name; name a folder")
    with Console(stderr=True).status("Evaluating …") as status:
        evaluation = evaluate(
            collection,
            split=split,
            queries=queries,
            qrels=qrels,
            index=index,
            systems=system or None,
            runs=_named_runs(run or []),
            measures=measure or DEFAULT_MEASURES,
            baseline=baseline,
            test=test,
            limit=limit,
            model=model,
            cross_encoder=cross_encoder,
            filter=filter,
            device=device,
            precision=precision,
            progress=status.update,
        )
    for note in evaluation.notes:
        typer.echo(f"note: {note}", err=True)
    if to_stdout:
        typer.echo(json.dumps(evaluation.as_dict(), ensure_ascii=False, indent=1))
    else:
        _print(evaluation)
    if json_file is not None and not to_stdout:
        write_json(evaluation, json_file)
    if html is not None:
        write_html(evaluation, html)
    if runs is not None:
        write_runs(evaluation, runs)


def _named_runs(given: list[str]) -> dict[str, Path]:
    """Run files by name: the one before ``=``, else that of the file without its endings."""
    from bicross.errors import UsageError

    named: dict[str, Path] = {}
    for text in given:
        name, equals, file = text.partition("=")
        path = Path(file if equals and not Path(text).exists() else text)
        if path == Path(text):
            name = Path(path.name.removesuffix(".gz")).stem
        if name in named:
            raise UsageError(f"two run files are called {name!r}; name one with --run NAME=FILE")
        named[name] = path
    return named


def _print(evaluation: Evaluation) -> None:
    from rich.console import Console

    console = Console()
    if not console.is_terminal:
        console = Console(width=250, color_system=None, highlight=False)
    console.print(f"{evaluation.collection}: {len(evaluation.queries)} queries; means, 95 % intervals", markup=False)
    console.print(_systems(evaluation))
    if evaluation.comparisons:
        console.print(
            f"beside {evaluation.baseline}, paired {evaluation.test}{'' if evaluation.test == 't-test' else ' test'}",
            markup=False,
        )
        console.print(_comparisons(evaluation))


def _systems(evaluation: Evaluation) -> Table:
    from rich.table import Table
    from rich.text import Text

    from bicross.evaluation.outcome import summary

    table = Table("system", *evaluation.measures, "judged@10", "pairs", "tokens", "ms median", "ms p95")
    for column in table.columns[1:]:
        column.justify = "right"
    best = {name: max(system.means[name].mean for system in evaluation.systems) for name in evaluation.measures}
    for system in evaluation.systems:
        row = [Text(system.name)]
        for name, value in system.means.items():
            row.append(
                Text(f"{value.mean:.4f}", style="bold" if value.mean == best[name] else "").append(
                    f" {value.low:.3f}–{value.high:.3f}", style="dim not bold"
                )
            )
        told = summary(system)
        row.append(Text("–" if told["judged@10"] is None else f"{100 * told['judged@10']:.1f} %"))
        for name, form in (("pairs", ".1f"), ("tokens", ".0f"), ("ms_median", ".1f"), ("ms_p95", ".1f")):
            row.append(Text(format(told["cost"][name], form) if told["cost"] else "–"))
        table.add_row(*row)
    return table


def _comparisons(evaluation: Evaluation) -> Table:
    from rich.table import Table
    from rich.text import Text

    table = Table("system", "measure", "difference", "95 % interval", "better", "equal", "worse", "p", "p (Holm)")
    for column in table.columns[2:]:
        column.justify = "right"
    for found in evaluation.comparisons:
        difference = found.difference
        table.add_row(
            Text(found.system),
            found.measure,
            f"{difference.mean:+.4f}",
            f"{difference.low:+.4f} to {difference.high:+.4f}",
            *(str(number) for number in (found.better, found.equal, found.worse)),
            f"{found.p:.4f}",
            Text(f"{found.p_holm:.4f}", style="bold" if found.p_holm < 0.05 else ""),
        )
    return table

"""How results look on a terminal."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from rich.console import Console
from rich.table import Table
from rich.text import Text

from bicross.documents.document import short

if TYPE_CHECKING:
    from bicross.index.retrieval import Weighing
    from bicross.search import Hit, SearchResult


def console_for_results() -> Console:
    """The terminal; or, for piped output, wide and plain."""
    console = Console(highlight=False)
    return console if console.is_terminal else Console(width=200, color_system=None, highlight=False, soft_wrap=True)


def print_result(result: SearchResult, explain: bool) -> None:
    """The hits of one query; piped output is plain and keeps each hit's text on one line."""
    console = console_for_results()
    if not result.hits:
        console.print("Nothing found.")
    for place, hit in enumerate(result.hits, start=1):
        console.print(_headline(place, hit), soft_wrap=True)
        console.print(Text(f"    {excerpt(hit.text, 240)}", style="dim"), soft_wrap=not console.is_terminal)
        if explain:
            console.print(Text(f"    {_stages(hit)}", style="cyan"), soft_wrap=True)
            if result.weights and "final" in hit.scores:
                console.print(Text(f"    {_terms(hit, result.weights)}", style="cyan"), soft_wrap=True)
    if explain:
        if result.weighing and result.hits:
            console.print(_weighing(result.weighing), soft_wrap=True)
        console.print(cost_table(result))
    if result.reading and (explain or result.reading.stopped in ("budget", "too long", "code", "language")):
        console.print(f"The cross-encoder {result.reading}.", soft_wrap=True)


def _headline(place: int, hit: Hit) -> Text:
    line = Text(f"{place:>2}. ")
    line.append(on_one_line(hit.document_id), style="bold")
    if hit.title:
        line.append(f"  {excerpt(hit.title, 100)}")
    shown = f"{hit.score:.4f}" if hit.relevance is None else f"{hit.score:.4f}, relevance {hit.relevance:.2f}"
    line.append(f"  ({shown})", style="green")
    if hit.truncated:
        line.append("  [not read to its end]", style="yellow")
    return line


def _stages(hit: Hit) -> str:
    parts = [f"{stage} {s.score:.4f} (rank {s.rank})" for stage, s in hit.scores.items()]
    page = f", page {hit.page}" if hit.page else ""
    return f"{on_one_line(hit.chunk_id)} [{hit.start}:{hit.end}{page}]  " + ", ".join(parts)


def _terms(hit: Hit, weights: Mapping[str, float]) -> str:
    """The final score as the sum that it is."""
    terms = (f"{weight:.4g} × {stage} {hit.scores[stage].score:.4f}" for stage, weight in weights.items())
    return f"final {hit.score:.4f} = {' + '.join(terms)}"


def _weighing(by: Weighing) -> str:
    words, seen = by.lexical_weight, by.traits
    parts = f"fused = {1 - words:.3f} * dense + {words:.3f} * lexical / {by.lexical_best:.4f}"
    if not by.lexical_best:
        parts = "fused = dense (no word of the query was found)"
    gaps = f"dense gap {seen.dense_gap:.2f}, lexical gap {seen.lexical_gap:.2f}, spelled {seen.spelled:.2f}"
    return f"{parts}  (fitted; {gaps})"


def on_one_line(name: str) -> str:
    """An id as it is, or, where it would break the line or fill the screen, as messages show it."""
    return name if name.isprintable() and len(name) <= 200 else short(name, 200)


def cost_table(result: SearchResult) -> Table:
    """Milliseconds, tokens and items of each stage."""
    table = Table("stage", "items", "tokens", "ms", title=None)
    for column in table.columns[1:]:
        column.justify = "right"
    for stage in result.stages:
        table.add_row(stage.stage, str(stage.items), str(stage.tokens), f"{stage.milliseconds:.1f}")
    return table


def excerpt(text: str, length: int) -> str:
    """The beginning of a text on one line."""
    line = " ".join(text.split())
    return line if len(line) <= length else line[: length - 1].rstrip() + "…"

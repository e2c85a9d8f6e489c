"""How a comparison looks on a terminal: a column a way, or a list a way where there is no room for columns."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rich.console import Console
from rich.table import Table
from rich.text import Text

from bicross.cli.output import console_for_results, excerpt, on_one_line

if TYPE_CHECKING:
    from bicross.search import Hit
    from bicross.search.comparing import Comparison, Way

_TITLES = {
    "lexical": "words (BM25)",
    "dense": "bi-encoder",
    "hybrid": "both fused",
    "two_stages": "two stages",
    "cross_encoder": "cross-encoder alone",
}

#: The ways of the first stage, short: where a document stood that a cross-encoder judged.
_BEFORE = {"lexical": "words", "dense": "bi-encoder", "hybrid": "fused"}

#: A terminal with fewer columns gets lists.
_NARROW = 100


def print_comparison(comparison: Comparison) -> None:
    """Both tables, and what their signs mean."""
    console = console_for_results()
    if console.width < _NARROW:
        _print_lists(comparison, console)
    else:
        console.print(_table(comparison, console.width))
    notes = [
        "▲ ▼ places up or down against both fused; + not among the candidates; ● shown by no other way; – not so deep",
        "ahead: texts to embed once, before the first query",
    ]
    alone = comparison.way("cross_encoder").cost
    if not alone.measured:
        speed = 1e3 * alone.pairs / alone.milliseconds if alone.milliseconds else 0
        notes.append(f"≈ a forecast: {alone.pairs:,} pairs at {speed:.0f} a second; --every-document scores them")
    console.print(notes[0], style="dim")
    console.print(_costs(comparison))
    for note in notes[1:]:
        console.print(note, style="dim")


def _table(comparison: Comparison, width: int) -> Table:
    """A row a rank."""
    ways = [way for way in comparison.ways if way.cost.measured]
    column = (width - 6 - 3 * len(ways)) // len(ways)
    table = Table("", *(_TITLES[way.name] for way in ways), show_lines=True)
    for rank in range(max(len(way.hits) for way in ways)):
        cells = [_cell(comparison, way, way.hits[rank], column) if rank < len(way.hits) else Text("–") for way in ways]
        table.add_row(str(rank + 1), *cells)
    return table


def _cell(comparison: Comparison, way: Way, hit: Hit, width: int) -> Text:
    cell = _mark(comparison, way, hit)
    name = Text(on_one_line(hit.document_id), style="bold")
    over = name.cell_len - (width - cell.cell_len)
    # the names of files differ at their ends
    cell.append_text(Text("…", style="bold") + name[over + 1 :] if over > 0 else name)
    said = Text(excerpt(hit.title or hit.text, 2 * width), style="dim")
    said.truncate(7 * width // 4, overflow="ellipsis")  # two lines
    return Text("\n").join([cell, said, *_before(comparison, way, hit)])


def _before(comparison: Comparison, way: Way, hit: Hit) -> list[Text]:
    """Where a document stood that a cross-encoder judged: by words, by the bi-encoder, by both."""
    if way.name in _BEFORE:
        return []
    ranks = ((short, other.rank(hit.document_id)) for other in comparison.ways if (short := _BEFORE.get(other.name)))
    return [Text(" ".join(f"{short} {rank or '–'}" for short, rank in ranks), style="cyan")]


def _mark(comparison: Comparison, way: Way, hit: Hit) -> Text:
    """How far the cross-encoder moved a document, and whether no other way shows it."""
    mark = Text()
    if way.name not in _BEFORE:
        moved = comparison.moved(way, hit.document_id)
        if moved is None:
            mark.append("+ ", style="yellow")
        elif moved:
            mark.append(f"▲{moved} " if moved > 0 else f"▼{-moved} ", style="green" if moved > 0 else "red")
    if hit.document_id in comparison.only(way):
        mark.append("● ", style="yellow")
    return mark


def _print_lists(comparison: Comparison, console: Console) -> None:
    for way in comparison.ways:
        if not way.cost.measured:
            continue
        console.print(Text(_TITLES[way.name], style="bold underline"))
        for rank, hit in enumerate(way.hits, start=1):
            line = Text(f"{rank:>3}. ").append_text(_mark(comparison, way, hit))
            line.append(on_one_line(hit.document_id), style="bold")
            line.append(f"  {excerpt(hit.title or hit.text, console.width)}", style="dim")
            line.truncate(console.width, overflow="ellipsis")
            console.print(line)
        if not way.hits:
            console.print("  –")
        console.print()


def _costs(comparison: Comparison) -> Table:
    """What each way took for this query over this index."""
    table = Table(f"{comparison.chunks:,} chunks", "ms", "tokens", "encodings", "pairs", "ahead")
    for column in table.columns[1:]:
        column.justify = "right"
    for way in comparison.ways:
        cost = way.cost
        about, digits = ("", 1) if cost.measured else ("≈ ", 0)
        counts = (f"{number:,}" for number in (cost.encodings, cost.pairs, cost.ahead))
        table.add_row(_TITLES[way.name], f"{about}{cost.milliseconds:,.{digits}f}", f"{about}{cost.tokens:,}", *counts)
    return table

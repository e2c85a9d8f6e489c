"""Index the documentation of the running Python and ask it questions, in two stages.

Run: ``make demo``. It needs nothing but an installed bicross: the documents are the docstrings of the standard library.
"""

from __future__ import annotations

import importlib
import inspect
import os
import sys
import warnings
from collections.abc import Iterator
from pathlib import Path
from time import perf_counter
from types import ModuleType

from rich.console import Console
from rich.table import Table

from bicross import CrossEncoder, Document, Searcher
from bicross.opening import open_or_create

INDEX = Path(".demo") / f"python-{sys.version_info.major}.{sys.version_info.minor}"
CANDIDATES = 50
SHOWN = 5
WHAT = {"embed query": "text", "retrieve dense": "chunks", "retrieve lexical": "chunks", "rerank": "pairs"}
QUESTIONS = [
    "how do I parse a date from a string?",
    "split a path into directory and file name",
    "run a shell command and read what it prints",
    "make a copy of an object with everything inside it",
    "count how often each word occurs in a list",
    "wait until several threads have finished",
    "read the rows of a spreadsheet saved as text with commas",
    "remember the results of a function so that it is not computed twice",
    "create a temporary folder that is deleted afterwards",
    "check whether a string contains only digits",
    "compress data before sending it",
]

# Importing these opens windows, a browser or prints; none documents anything that people ask for.
NOT_IMPORTED = {"antigravity", "this", "idlelib", "turtle", "turtledemo", "tkinter", "lib2to3", "ensurepip", "test"}
# What people know under another name: os.stat, os.path.join.
HOMES = {"os": {"os", "posix", "nt"}}
KNOWN_AS = {os.path.__name__: "os.path"}
NOT_SHOWN = {"posix", "nt", "posixpath", "ntpath"} - KNOWN_AS.keys()


def python_documentation() -> Iterator[Document]:
    """One document for each public module, class, function and method that has a docstring worth reading."""
    seen: set[tuple[str, str]] = set()
    for name in sorted(sys.stdlib_module_names - NOT_IMPORTED - NOT_SHOWN):
        if name.startswith("_"):
            continue
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # modules that will go away say so
                found = list(members(importlib.import_module(name)))
        except (ImportError, OSError, AttributeError):  # made for another platform
            continue
        for where, thing in found:
            text = inspect.getdoc(thing) or ""
            if len(text) >= 40 and (where.rpartition(".")[2], text) not in seen:
                seen.add((where.rpartition(".")[2], text))
                yield Document(where, text, title=where)


def members(module: ModuleType) -> Iterator[tuple[str, object]]:
    """(dotted name, object) of a module, of what it defines, and of the methods of its classes."""
    known_as = KNOWN_AS.get(module.__name__, module.__name__)
    yield known_as, module
    for name, thing in sorted(vars(module).items()):
        if name.startswith("_") or inspect.ismodule(thing) or not callable(thing):
            continue
        home = (getattr(thing, "__module__", None) or module.__name__).lstrip("_").partition(".")[0]
        if home not in HOMES.get(module.__name__, {module.__name__.partition(".")[0], "builtins"}):
            continue
        yield f"{known_as}.{name}", thing
        if inspect.isclass(thing):
            for method, function in sorted(vars(thing).items()):
                if not method.startswith("_") and (callable(function) or isinstance(function, property)):
                    yield f"{known_as}.{name}.{method}", getattr(thing, method, function)


def main() -> None:
    console = Console() if sys.stdout.isatty() else Console(width=140, color_system=None)
    documents = list(python_documentation())
    console.print(f"[bold]{len(documents)} documents[/]: the docstrings of Python {sys.version.split()[0]}\n")
    started = perf_counter()
    with open_or_create(INDEX) as index:
        report = index.add(documents)
        console.print(
            f"{report.new + report.changed} documents embedded, {report.unchanged} there already: "
            f"{report.chunks} chunks, {report.tokens} tokens, {perf_counter() - started:.1f} s\n"
        )
        searcher = Searcher(index, CrossEncoder())
        searcher.search("warm up")
        for question in QUESTIONS:
            show(console, searcher, question)
    command = os.path.relpath(Path(sys.executable).with_name("bicross"))
    console.print("[bold]Three things to try next:[/]")
    console.print(f'  {command} search {INDEX} "sort a dictionary by its values" --explain', soft_wrap=True)
    console.print(f"  {command} index README.md docs --into my-index", soft_wrap=True)
    console.print(f'  {command} search my-index "which files can it read?"', soft_wrap=True)


def show(console: Console, searcher: Searcher, question: str) -> None:
    """Both orders side by side, what moved, and what each stage cost."""
    result = searcher.search(question, top_k=SHOWN, candidates=CANDIDATES)
    table = Table("", "first stage", "both stages", "moved", "relevance", title=question, title_justify="left")
    for place, (before, hit) in enumerate(zip(result.retrieved[:SHOWN], result.hits[:SHOWN], strict=False), start=1):
        climbed = result.retrieved.index(hit.document_id) + 1 - place
        moved = f"up {climbed}" if climbed > 0 else f"down {-climbed}" if climbed < 0 else ""
        table.add_row(str(place), before, hit.document_id, moved, f"{hit.relevance:.2f}")
    console.print(table)
    costs = [f"{s.stage}: {s.milliseconds:.0f} ms, {s.items} {WHAT[s.stage]}, {s.tokens} tokens" for s in result.stages]
    console.print("  " + "   ".join(costs) + "\n", style="dim")


if __name__ == "__main__":
    main()

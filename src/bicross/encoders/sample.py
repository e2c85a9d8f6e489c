"""Text to calibrate on when a user gives none: the docstrings of the running Python's standard library."""

from __future__ import annotations

import ast
import sysconfig
from collections.abc import Iterator
from pathlib import Path

#: In characters; shorter ones say next to nothing.
_SHORTEST = 40


def sample_texts(count: int) -> list[str]:
    """Up to ``count`` docstrings, from a line to several pages, spread evenly over the library; the same every time."""
    found = sorted(set(_docstrings()))
    found.sort(key=lambda text: (len(text), text))  # every n-th of these has every length
    step = max(1, len(found) // count)
    return found[::step][:count]


def _docstrings() -> Iterator[str]:
    for file in sorted(Path(sysconfig.get_path("stdlib")).glob("*.py")):
        try:
            tree = ast.parse(file.read_text(encoding="utf-8"))
        except (SyntaxError, ValueError, OSError):
            continue
        for node in ast.walk(tree):
            if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef):
                text = ast.get_docstring(node) or ""
                if len(text) >= _SHORTEST:
                    yield text

"""A progress bar for long work, on a terminal only."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager

#: Fewer items than this finish before a bar could be read.
_WORTH_A_BAR = 512


@contextmanager
def progress(label: str, total: int | None, show: bool | None) -> Iterator[Callable[[int], None]]:
    """Yield ``advance(count)``. ``show=None`` means: when standard error is a terminal and there is much to do,
    or nobody knows how much (``total`` is None).
    """
    if show is None:
        show = (total is None or total >= _WORTH_A_BAR) and sys.stderr.isatty()
    if not show:
        yield lambda count: None
        return
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task(label, total=total)
        yield lambda count: bar.advance(task, count)

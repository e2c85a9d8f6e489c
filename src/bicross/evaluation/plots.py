"""Plots as SVG that stands inside a page and takes the page's colours."""

from __future__ import annotations

import io
import re
import warnings
from typing import TYPE_CHECKING

import numpy as np

from bicross.evaluation.outcome import Evaluation, Values

if TYPE_CHECKING:
    from matplotlib.figure import Figure

# matplotlib wants colours by number; in the page these become the colour of the text and those of gain and loss
_INK, _GAIN, _LOSS = "#010203", "#010204", "#010205"
_PAGE = {_INK: "currentColor", _GAIN: "var(--gain)", _LOSS: "var(--loss)"}


def quality_against_latency(evaluation: Evaluation) -> str:
    """Each system's first measure, with its interval, over the median milliseconds of a query; "" without costs."""
    from matplotlib.figure import Figure

    timed = [system for system in evaluation.systems if system.cost is not None]
    if not timed:
        return ""
    measure = evaluation.measures[0]
    figure = Figure(figsize=(8, 4.2))
    axes = figure.add_subplot()
    for system in timed:
        assert system.cost is not None
        mean, median = system.means[measure], float(np.median(system.cost.milliseconds))
        reach = [[max(0.0, mean.mean - mean.low)], [max(0.0, mean.high - mean.mean)]]
        axes.errorbar(median, mean.mean, yerr=reach, fmt="o", capsize=3, color=_INK, ecolor=_INK)
        axes.annotate(
            system.name,
            (median, mean.mean),
            xytext=(7, 5),
            textcoords="offset points",
            color=_INK,
            parse_math=False,
        )
    axes.set_xscale("log")
    axes.margins(x=0.2)
    axes.set_xlabel("milliseconds a query (median, logarithmic)")
    axes.set_ylabel(measure)
    axes.grid(alpha=0.2)
    return _svg(figure, "latency", f"{measure} of each system against milliseconds a query")


def gains_and_losses(differences: Values, label: str, number: int) -> str:
    """Bars of each query's difference, the greatest gain first."""
    from matplotlib.figure import Figure

    ordered = np.sort(differences)[::-1]
    figure = Figure(figsize=(8, 2.6))
    axes = figure.add_subplot()
    axes.stairs(np.maximum(ordered, 0), fill=True, color=_GAIN)  # one shape, however many queries
    axes.stairs(np.minimum(ordered, 0), fill=True, color=_LOSS)
    axes.axhline(0, color=_INK, linewidth=0.8)
    axes.set_xlim(0, len(ordered))
    axes.set_xlabel("queries, by difference")
    axes.set_ylabel(label, parse_math=False)
    return _svg(figure, f"gains{number}", label)


def _svg(figure: Figure, salt: str, title: str) -> str:
    """The figure as an element of a page; ``salt`` keeps the ids of several apart and the same from run to run."""
    from markupsafe import escape
    from matplotlib import rc_context

    for axes in figure.axes:
        axes.tick_params(which="both", colors=_INK)
        axes.set_facecolor("none")
        axes.xaxis.label.set_color(_INK)
        axes.yaxis.label.set_color(_INK)
        for spine in axes.spines.values():
            spine.set_color(_INK)
    text = io.StringIO()
    nothing = dict.fromkeys(("Date", "Creator", "Format", "Type"))
    settings = {"svg.fonttype": "none", "svg.hashsalt": salt, "font.family": "sans-serif"}
    with rc_context(settings), warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # the page's fonts have the letters that matplotlib's have not
        figure.savefig(text, format="svg", transparent=True, bbox_inches="tight", metadata=nothing)
    svg = text.getvalue()
    svg = re.sub(r' xmlns(:\w+)?="[^"]*"', "", svg[svg.index("<svg") :])  # a page needs no namespaces
    for colour, name in _PAGE.items():
        svg = svg.replace(colour, name)
    return svg.replace("<svg ", f'<svg role="img" aria-label="{escape(title)}" ', 1)

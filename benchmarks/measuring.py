"""What the speed benchmarks share: taking turns, the machine's ceiling, texts, tables and the plot."""

from __future__ import annotations

import json
import os
import statistics
import sys
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from time import perf_counter

import numpy as np
import torch

from bicross.encoders.families import Architecture, architecture
from bicross.encoders.folder import read_config

sys.path.insert(0, str(Path(__file__).parent.parent / "examples"))
from demo import python_documentation

RESULTS = Path(__file__).parent / "results"
PLOT = RESULTS / "speed.png"


@dataclass(frozen=True)
class Row:
    """One system: medians over the rounds. ``ratio`` is to sentence-transformers' default in the same run."""

    system: str
    precision: str
    texts_per_s: float
    tokens_per_s: float
    ratio: float
    fidelity: float


def technical_texts(count: int) -> list[str]:
    """Docstrings of the running Python that are longer than a few lines, spread evenly over the library."""
    texts = [d.text for d in python_documentation() if len(d.text) >= 400]
    return texts[:: max(1, len(texts) // count)][:count]


def alternate(sides: Sequence[Callable[[], object]], rounds: int) -> list[float]:
    """Median seconds of each side; each round runs all of them in turn, the first round is not counted."""
    seconds: list[list[float]] = [[] for _ in sides]
    for run in range(rounds + 1):
        for side, work in zip(seconds, sides, strict=True):
            started = perf_counter()
            work()
            if run:
                side.append(perf_counter() - started)
    return [statistics.median(side) for side in seconds]


def gemm_ceiling(kind: torch.dtype = torch.bfloat16) -> float:
    """The most operations a second that a large matrix product reaches on this machine, in GFLOP/s."""
    left, right = torch.randn(4096, 1024, dtype=kind), torch.randn(1024, 1024, dtype=kind)
    seconds = []
    for _ in range(20):
        started = perf_counter()
        torch.nn.functional.linear(left, right)
        seconds.append(perf_counter() - started)
    return 2 * 4096 * 1024 * 1024 / min(seconds) / 1e9


def operations(shape: Architecture, inner: int, lengths: Sequence[int], first_token_only: bool) -> float:
    """GFLOP that a model needs for texts of these lengths; a multiplication and an addition are two.

    With ``first_token_only`` the last layer computes keys and values of all tokens, and the rest of one.
    """
    tokens = float(np.sum(lengths))
    squares = float(np.sum(np.square(np.asarray(lengths, dtype=np.float64))))
    whole = 2 * tokens * (4 * shape.hidden**2 + 2 * shape.hidden * inner) + 4 * squares * shape.hidden
    last = whole
    if first_token_only:
        last = 2 * tokens * 2 * shape.hidden**2 + 2 * len(lengths) * (2 * shape.hidden**2 + 2 * shape.hidden * inner)
        last += 4 * tokens * shape.hidden
    return (whole * (shape.layers - 1) + last) / 1e9


def about_run(
    model: Path, precision: str, lengths: Sequence[int], rounds: int, seconds: float, gflops: float, *, pairs: bool
) -> dict[str, object]:
    """How a benchmark was run, and how near bicross came to the machine's ceiling.

    Args:
        model: The folder.
        precision: The one that bicross chose for itself.
        lengths: Tokens of each text or pair.
        rounds: How often each system ran.
        seconds: The median of bicross in that precision.
        gflops: The ceiling.
        pairs: Whether the model is a cross-encoder.
    """
    config = read_config(model)
    needed = operations(architecture(config, str(model)), config["intermediate_size"], lengths, pairs)
    return {
        "texts": len(lengths),
        "tokens_per_text": round(float(np.mean(lengths)), 1),
        "rounds": rounds,
        "cores": os.cpu_count(),
        "bf16_gemm_gflops": round(gflops),
        "share_of_bf16_gemm": round(needed / seconds / gflops, 3),
        "share_is_of": f"bicross {precision}",
    }


def report(file: str, what: str, about: dict[str, object], rows: Sequence[Row]) -> None:
    """Print the table, write the JSON, draw the plot anew from all that has been measured."""
    print(f"\n{what}: {json.dumps(about)}")
    print(f"{'system':<32}{'precision':>10}{'texts/s':>10}{'tokens/s':>11}{'ratio':>8}{'fidelity':>11}")
    for row in rows:
        print(
            f"{row.system:<32}{row.precision:>10}{row.texts_per_s:>10}{row.tokens_per_s:>11}{row.ratio:>8}"
            f"{row.fidelity:>11}"
        )
    RESULTS.mkdir(exist_ok=True)
    (RESULTS / f"{file}.json").write_text(json.dumps([asdict(row) for row in rows], indent=1) + "\n")
    (RESULTS / f"{file}-about.json").write_text(json.dumps(about, indent=1) + "\n")
    draw()


def draw() -> None:
    """Throughput against fidelity, a panel for each benchmark that has been run."""
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    panels = {"encode": "Embedding documents", "rerank": "Scoring pairs of one query"}
    measured = {name: RESULTS / f"{name}.json" for name in panels if (RESULTS / f"{name}.json").is_file()}
    figure, axes = plt.subplots(1, len(measured), figsize=(5.6 * len(measured), 4.2), squeeze=False, dpi=150)
    for axis, (name, file) in zip(axes[0], measured.items(), strict=True):
        rows = sorted((Row(**stored) for stored in json.loads(file.read_text())), key=lambda row: row.ratio)
        gap = 0.05 * rows[-1].ratio  # between labels that stand above each other
        highest: dict[int, float] = {}
        for row in rows:
            ours = row.system == "bicross"
            x = max(1 - row.fidelity, 1e-6)
            colour = "#0b6e4f" if ours else "#8a8f98"
            axis.scatter(x, row.ratio, s=60 if ours else 34, color=colour, zorder=3)
            label = f"{row.system.replace('sentence-transformers', 's-t')} {row.precision}"
            column = round(float(np.log10(x)))
            height = max(row.ratio, highest.get(column, -gap) + gap)
            highest[column] = height
            axis.annotate(
                label, (x, height), xytext=(7, 0), textcoords="offset points", fontsize=7.5, color=colour, va="center",
                fontweight="bold" if ours else "normal",
            )  # fmt: skip
        axis.set_xscale("log")
        axis.invert_xaxis()  # better answers to the right
        axis.set_ylim(0, rows[-1].ratio * 1.08)
        axis.margins(x=0.28)
        axis.set_title(panels[name], fontsize=10)
        axis.set_xlabel("1 − fidelity to float32 (log; right is nearer)", fontsize=8)
        axis.set_ylabel("throughput, sentence-transformers = 1", fontsize=8)
        axis.tick_params(labelsize=7.5)
        axis.grid(alpha=0.25)
        for side in ("top", "right"):
            axis.spines[side].set_visible(False)
    figure.tight_layout()
    figure.savefig(PLOT)
    print(f"{PLOT.relative_to(Path.cwd()) if PLOT.is_relative_to(Path.cwd()) else PLOT}: drawn")

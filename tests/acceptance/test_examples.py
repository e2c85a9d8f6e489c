"""The programs in ``examples/`` run and say what they promise."""

from __future__ import annotations

import importlib.util
import io
import subprocess
import sys
from pathlib import Path

from rich.console import Console

import bicross
from bicross import BiEncoder, CrossEncoder, LocalIndex, Searcher

EXAMPLES = Path(__file__).parent.parent.parent / "examples"


def lines_of(name: str) -> list[str]:
    process = subprocess.run([sys.executable, EXAMPLES / name], capture_output=True, text=True, check=True)
    return process.stdout.splitlines()


def test_score_pairs() -> None:
    answer, museums = (float(line.split()[1]) for line in lines_of("score_pairs.py"))
    assert answer > museums + 2


def test_semantic_search_gives_25() -> None:
    lines = lines_of("semantic_search.py")
    assert len(lines) == 25
    scores = [float(line.split()[1]) for line in lines]
    assert scores == sorted(scores, reverse=True)


def test_two_stages() -> None:
    lines = lines_of("two_stages.py")
    assert "3,520,031" in lines[0]
    assert lines[-1].startswith("rerank")


def test_arithmetic() -> None:
    assert lines_of("arithmetic.py") == [
        "4 sentences: 4 encodings or 6 pairs",
        "100,000 sentences: 100,000 encodings or 4,999,950,000 pairs",
    ]


def test_the_demo_shows_both_orders_and_every_cost(
    tmp_path: Path, bi_encoder: BiEncoder, cross_encoder: CrossEncoder, cities: Path
) -> None:
    spec = importlib.util.spec_from_file_location("demo", EXAMPLES / "demo.py")
    demo = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(demo)
    console = Console(file=io.StringIO(), width=140)
    with LocalIndex.create(tmp_path / "index", bi_encoder) as index:
        index.add(bicross.read_documents([cities]))
        demo.show(console, Searcher(index, cross_encoder), "How many people live in Berlin?")
    shown = console.file.getvalue()
    for words in (
        "first stage",
        "both stages",
        "embed query",
        "retrieve dense",
        "retrieve lexical",
        "rerank",
        "berlin",
    ):
        assert words in shown

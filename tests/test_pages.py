"""What the documentation says is what was measured."""

from __future__ import annotations

import importlib.util
import json
import re
from pathlib import Path
from types import ModuleType

import pytest

ROOT = Path(__file__).parent.parent
PAGE = ROOT / "docs" / "which-encoder.md"
PLAN = ROOT / "docs" / "plan.md"
SECOND_STAGE = ROOT / "docs" / "second-stage.md"
TRAINING = ROOT / "docs" / "training.md"
MINING = ROOT / "docs" / "mining.md"
SERVER = ROOT / "docs" / "server.md"
SCALE = ROOT / "docs" / "scale.md"
CARD, FAST, RETRIEVER = (
    ROOT / "src" / "bicross" / "models" / name / "README.md"
    for name in ("bicross-reranker-minilm-l6", "bicross-reranker-minilm-l3", "bicross-retriever-minilm-l6")
)
READMES = [ROOT / "README.md", ROOT / "README.zh-CN.md"]
RESULTS = ROOT / "benchmarks" / "results"

#: What a page shows, where it is not the table of quality.
NAMES = {SECOND_STAGE: "second_stage", PLAN: "plan", TRAINING: "recipe_variants"}
NAMES |= {MINING: "mining", SERVER: "serve", SCALE: "scale_plan", FAST: "fast", RETRIEVER: "retriever"}


@pytest.fixture(scope="module")
def script() -> ModuleType:
    spec = importlib.util.spec_from_file_location("page", ROOT / "benchmarks" / "page.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def page() -> str:
    return PAGE.read_text(encoding="utf-8")


def shown(page: str, name: str) -> str:
    (text, *others) = re.findall(rf"<!--={name}-->(.*?)<!--/-->", page, flags=re.DOTALL)
    assert set(others) <= {text}
    return text.strip()


def cells(table: str) -> list[list[str]]:
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in table.splitlines()]


@pytest.mark.parametrize("file", [PAGE, *READMES, CARD, *NAMES], ids=lambda file: f"{file.parent.name}/{file.name}")
def test_a_page_is_as_the_script_fills_it(script: ModuleType, file: Path) -> None:
    text = file.read_text(encoding="utf-8")
    assert script.filled(text, script.stored_values()) == text
    assert f"<!--={NAMES.get(file, 'quality')}" in text


def test_every_mark_is_closed_and_none_begins_a_line_of_text(page: str) -> None:
    assert len(re.findall(r"<!--=\w+-->", page)) == page.count("<!--/-->") > 20
    for line in page.splitlines():  # what follows a comment at the beginning of a line is not read as Markdown
        assert re.fullmatch(r"<!--=\w+-->|<!--/-->|(?!<!--).*", line), line


def test_the_tables_have_the_numbers_of_the_files(script: ModuleType, page: str) -> None:
    """Read back without the code that wrote them."""
    measured = json.loads((RESULTS / "guide.json").read_text())
    _, _, *rows = cells(shown(page, "costs"))
    for row, cost in zip(rows, measured["ways"]["costs"].values(), strict=True):
        assert [float(cell.replace(",", "")) for cell in row[2:]] == pytest.approx(
            [cost["tokens"], cost["encodings"], cost["pairs"], cost["ahead"]], abs=0.5
        )
    _, _, *rows = cells(shown(page, "all_pairs"))
    for row, stored in zip(rows, measured["all_pairs"]["rows"], strict=True):
        n = stored["texts"]
        assert [int(cell.replace(",", "")) for cell in row[:2]] == [n, n * (n - 1) // 2]
    _, _, ndcg, _ = cells(shown(page, "everything"))
    assert [float(x) for x in ndcg[1:]] == pytest.approx(list(measured["everything"]["nDCG@10"].values()), abs=0.00051)
    assert int(shown(page, "within")) == measured["crossover"]["within_a_second"]

    for file, name in ((PAGE, "quality"), (CARD, "quality"), (READMES[0], "quality"), (READMES[1], "quality_zh")):
        _, _, *rows = cells(shown(file.read_text(encoding="utf-8"), name))
        for row, stored in zip(rows, script.judged_sets(), strict=True):
            assert int(row[1].replace(",", "")) == stored["queries"]
            by_name = script.ndcg(stored)
            expected = [by_name[system] for system in script.JUDGED if system in by_name]
            assert [float(cell) for cell in row[2:-1]] == pytest.approx(expected, abs=0.00051)


def test_the_page_of_the_second_stage_has_the_numbers_of_the_files() -> None:
    text = SECOND_STAGE.read_text(encoding="utf-8")
    measured = {
        name: json.loads((RESULTS / f"{name}.json").read_text())
        for name in ("second-stage", "budget", "cascade", "legal")
    }
    _, _, *rows = cells(shown(text, "second_stage"))
    for row, stored in zip(rows, measured["second-stage"]["sets"], strict=True):
        expected = [stored[name] for name in ("first stage", "cross-encoder", "joined", "adaptive")]
        assert [float(cell) for cell in row[2:6]] == pytest.approx(expected, abs=0.00051)
        assert int(row[1]) == stored["queries"]
        assert float(row[7]) == pytest.approx(stored["ECE"], abs=0.00051)
    _, _, *rows = cells(shown(text, "budget"))
    for row, stored in zip(rows, measured["budget"]["budgets"], strict=True):
        assert [row[0], int(row[1])] == [f"{stored['budget_ms']} ms", stored["searches"]]
        assert float(row[2].rstrip(" %")) == pytest.approx(100 * stored["over by more than 10 %"], abs=0.051)
    _, _, *rows = cells(shown(text, "cascade"))
    for row, stored in zip(rows, measured["cascade"]["ways"], strict=True):
        assert [float(cell) for cell in row[1:]] == pytest.approx(
            [stored[name] for name in ("nDCG@10", "read by the quick one", "read by the other", "cost in pairs")],
            abs=0.51,
        )
    _, _, *rows = cells(shown(text, "legal"))
    for row, (name, stored) in zip(rows, measured["legal"]["systems"].items(), strict=True):
        assert row[0] == name
        assert [float(cell) for cell in row[1:4]] == pytest.approx(
            [stored[measure] for measure in ("nDCG@10", "AP", "R@100")], abs=0.00051
        )


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0.0042, "4.2 ms"), (1.26, "1.3 s"), (75, "75 s"), (150, "2.5 minutes"), (9000, "2.5 hours"), (9e7, "2.9 years")],
)
def test_durations_are_in_a_unit_that_people_think_in(script: ModuleType, seconds: float, text: str) -> None:
    assert script.duration(seconds) == text


def test_the_page_of_training_has_the_numbers_of_the_file() -> None:
    stored = json.loads((RESULTS / "train.json").read_text())["rows"]
    _, _, *rows = cells(shown((ROOT / "docs" / "training.md").read_text(encoding="utf-8"), "train_speed"))
    assert [row[0] for row in rows] == list(stored)
    for row in rows:
        measured = stored[row[0]]
        assert float(row[1]) == pytest.approx(measured["pairs_per_s"]["ours"], abs=0.051)
        assert float(row[3]) == pytest.approx(measured["ratio"], abs=0.0051)

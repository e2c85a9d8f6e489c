"""An index is adapted to its own documents, and its searches use what came of it."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

import bicross
from bicross import CrossEncoder, Document
from bicross.calibrating.storing import store
from bicross.cli.app import app
from bicross.encoders.loading import DEFAULT_CROSS_ENCODER, find_model, weights_sha256
from bicross.errors import UsageError
from bicross.opening import default_cross_encoder
from bicross.search.two_stages import read_two_stages
from bicross.training import adapting
from bicross.training.adapting import adapt
from bicross.training.cross_encoder import CrossEncoderTraining
from bicross.training.pseudo import pseudo_queries
from bicross.training.teachers import joined

PASSAGE = (
    "The pump of the north station moves forty litres of cold water each minute. It was built in spring and has run "
    "without a stop since then, although its seal had to be renewed twice."
)


@pytest.fixture(scope="module")
def manual(tmp_path_factory: pytest.TempPathFactory, functions: list[Document]) -> Path:
    folder = tmp_path_factory.mktemp("adapted") / "index"
    with bicross.create(folder) as index:
        index.add(
            [
                Document(d.id, f"{d.text}\nIt is a function of Python that the library describes.", d.id)
                for d in functions
            ]
        )
    return folder


def test_what_documents_suggest(tmp_path: Path) -> None:
    with bicross.create(tmp_path / "index") as index:
        index.add(
            [
                Document("titled", PASSAGE, "Cooling at the north station"),
                Document("repeated", f"Cooling at the south station. {PASSAGE}", "Cooling at the south station"),
                Document("bare", PASSAGE.replace("north", "west")),
                Document("headed", f"# How the seal is renewed\n\n{PASSAGE}"),
                Document("short", "Too short to ask about."),
            ]
        )
        asked = {query.document_id: query for query in pseudo_queries(index, 10, seed=2)}
        again = pseudo_queries(index, 10, seed=2)
    assert set(asked) == {"titled", "repeated", "bare", "headed"}
    assert list(asked.values()) == again
    for query in asked.values():
        assert query.text not in query.answer
        assert len(query.answer.split()) >= 15
    assert asked["bare"].text.startswith("The pump of the west station")
    assert asked["bare"].answer.startswith("It was built in spring")


def test_too_little_to_learn_from(tmp_path: Path) -> None:
    with bicross.create(tmp_path / "index") as index:
        index.add([Document("a", PASSAGE)])
        with pytest.raises(UsageError, match="its documents suggest 1 queries, and at least 50 are needed"):
            adapt(index)
        with pytest.raises(UsageError, match="queries is 10; it must be at least 50"):
            adapt(index, queries=10)


@pytest.mark.slow
def test_searches_use_what_was_adapted_until_it_is_taken_out(manual: Path) -> None:
    run = CliRunner()
    base = find_model(DEFAULT_CROSS_ENCODER)
    assert default_cross_encoder(manual) == DEFAULT_CROSS_ENCODER
    before = run.invoke(app, ["search", str(manual), "how do I sort a list", "--json"], catch_exceptions=False)
    # as if it had been calibrated for the base
    calibrated = replace(read_two_stages(base / "bicross.json")[0], cross_encoder_sha256=weights_sha256(base))
    store(manual / "fitted.json", calibrated)
    (manual / "cross-encoder.before").mkdir()  # a run was killed there
    (manual / "cross-encoder.before" / "config.json").write_text("{}")
    command = ["adapt", str(manual), "--queries", "80", "--layers", "2", "--max-tokens", "48", "--json"]
    command += ["--epochs", "4"]  # enough of them that it is a gain for certain
    result = run.invoke(app, [*command, "--learning-rate", "3e-4"], catch_exceptions=False)
    record = json.loads(result.stdout)
    assert record["queries"] == 72
    assert record["training"]["loss"] == "mse"
    adapted = default_cross_encoder(manual)
    assert adapted == manual / "cross-encoder" == Path(record["folder"])
    assert sorted(path.name for path in manual.glob("*") if path.is_dir()) == ["cross-encoder", "shard"]
    # the weights of both stages came along, those of the index too
    assert read_two_stages(Path(adapted) / "bicross.json") == read_two_stages(base / "bicross.json")
    now = replace(calibrated, cross_encoder_sha256=weights_sha256(Path(adapted)))
    assert now in read_two_stages(manual / "fitted.json")
    card = (Path(adapted) / "README.md").read_text()
    assert "# cross-encoder" in card and "bicross adapt" in card
    after = run.invoke(app, ["search", str(manual), "how do I sort a list", "--json"], catch_exceptions=False)
    assert after.exit_code == 0
    assert before.stdout != after.stdout
    assert run.invoke(app, ["check", str(manual)]).exit_code == 0
    assert "is gone" in run.invoke(app, ["adapt", str(manual), "--undo"]).stdout
    assert default_cross_encoder(manual) == DEFAULT_CROSS_ENCODER
    (manual / "fitted.json").unlink()
    undone = run.invoke(app, ["search", str(manual), "how do I sort a list", "--json"], catch_exceptions=False)
    assert undone.stdout == before.stdout
    assert run.invoke(app, ["adapt", str(manual), "--undo"]).exit_code != 0


def test_what_is_no_gain_is_not_kept(manual: Path) -> None:
    settings = CrossEncoderTraining(layers=1, max_tokens=48, learning_rate=1e-12, batch=16)
    with bicross.open(manual) as index:
        adapted = adapt(index, queries=60, settings=settings)
    assert adapted.folder == ""
    assert adapted.training.after <= adapted.training.before
    assert not (manual / "cross-encoder").exists() and not (manual / "adapting").exists()


def test_the_units_of_the_pupil_are_kept(manual: Path) -> None:
    """Its own word alone would leave it as it is, so the numbers that were fitted for it still hold."""
    with bicross.open(manual) as index:
        groups = adapting._groups(index, pseudo_queries(index, 60, seed=1), seed=1)
        own = CrossEncoder().predict([(g.query, d) for g in groups for d in g.documents]).astype(float)
        taught = adapting._in_its_own_units(groups, own, joined([own], groups), label_bonus=0.0)
    np.testing.assert_allclose([score for group in taught for score in group.scores or ()], own, atol=1e-6)

"""A cross-encoder learns by each loss, from labels and from teachers, and says what is wrong."""

from __future__ import annotations

import json
import random
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from sentence_transformers import CrossEncoder as TorchCrossEncoder
from typer.testing import CliRunner

from bicross import CrossEncoder
from bicross.cli.app import app
from bicross.encoders.calibration import Platt
from bicross.errors import DocumentError, TrainingError, UsageError
from bicross.training.cross_encoder import CrossEncoderTraining, chosen_loss, learn, order_quality, train_cross_encoder
from bicross.training.examples import Example, without_overlap
from bicross.training.groups import Group, in_pieces, read_groups, split_groups
from bicross.training.losses import LABEL_BONUS, LOSSES, wanted
from bicross.training.teachers import SPREAD, scored_by

QUICK = CrossEncoderTraining(
    epochs=12, batch=32, group=8, learning_rate=5e-3, max_tokens=24, patience=99, precision="f32"
)


@pytest.fixture(scope="session")
def judged(translated: list[Example]) -> list[Group]:
    """Of each query its translation (2), one that is half right (1), and others (0)."""
    rng = random.Random(5)
    groups = []
    for example in translated:
        first, second = example.positive.split()
        half = next(e.positive for e in translated if e.positive.startswith(first) and e.positive != example.positive)
        others = rng.sample([e.positive for e in translated if not {first, second} & set(e.positive.split())], 6)
        groups.append(Group(example.query, (example.positive, half, *others), (2.0, 1.0, *(0.0 for _ in others))))
    return groups


@pytest.fixture
def tiny(make_bert) -> str:
    return str(make_bert(hidden_dropout_prob=0.0, attention_probs_dropout_prob=0.0))


def _as_labelled(groups: list[Group], loss: str) -> list[Group]:
    if loss == "binary":
        return [replace(g, labels=tuple(float(label > 0) for label in g.labels or ())) for g in groups]
    if loss in ("margin-mse", "mse"):
        return [replace(g, scores=tuple(2 * label for label in g.labels or ()), labels=None) for g in groups]
    return groups


@pytest.mark.parametrize("loss", LOSSES)
def test_it_learns_by_each_loss_and_opens_everywhere(judged: list[Group], tiny: str, tmp_path: Path, loss: str) -> None:
    train, dev = split_groups(_as_labelled(judged, loss), 0.1, 100, seed=1)
    settings = replace(QUICK, base=tiny, loss=loss)
    trained = train_cross_encoder(train, dev, tmp_path / "out", settings)
    assert trained.after > trained.before + 0.15
    pairs = [("two five", "river garden"), ("two five", "bridge music"), ("one six", "apple horse winter")]
    ours = CrossEncoder(tmp_path / "out", precision="f32").predict(pairs)
    theirs = TorchCrossEncoder(str(tmp_path / "out"), device="cpu").predict(pairs, activation_fn=lambda x: x)
    np.testing.assert_allclose(ours, theirs, atol=1e-3)
    assert trained.calibrated is (loss not in ("margin-mse", "mse"))
    assert (CrossEncoder(tmp_path / "out").calibration != Platt()) is trained.calibrated
    card = (tmp_path / "out" / "README.md").read_text()
    assert f"{trained.after:.4f} after" in card and "apple" not in card


def test_from_a_file_with_a_teacher_and_fewer_layers(judged: list[Group], tiny: str, make_bert, tmp_path: Path) -> None:
    """By the command, with a pupil of one layer and two teachers; precision is compared on what was held out."""
    with (tmp_path / "pairs.jsonl").open("w") as out:
        for group in judged:
            for document, label in zip(group.documents, group.labels or (), strict=True):
                out.write(json.dumps({"query": group.query, "document": document, "label": label}) + "\n")
    teachers = [str(make_bert("reader", labels=1)), "all-MiniLM-L6-v2"]
    options = ["--layers", "1", "--epochs", "1", "--batch", "32", "--max-tokens", "24", "--precision", "f32", "--json"]
    result = CliRunner().invoke(
        app,
        ["train", "cross-encoder", str(tmp_path / "pairs.jsonl"), "--into", str(tmp_path / "out"), "--base", tiny]
        + [part for teacher in teachers for part in ("--teacher", teacher)]
        + options,
        catch_exceptions=False,
    )
    record = json.loads(result.stdout)
    assert record["loss"] == "margin-mse"
    assert record["pairs"] == 81 * 8
    assert record["precisions"]["int8"]["correlation"] > 0.9
    assert json.loads((tmp_path / "out" / "config.json").read_text())["num_hidden_layers"] == 1
    assert "all-MiniLM-L6-v2 read 720 pairs" in result.stderr


def test_teachers_speak_with_one_voice(judged: list[Group], make_bert) -> None:
    reader = str(make_bert("reader", labels=1))
    alone = scored_by(["all-MiniLM-L6-v2"], judged)
    together = scored_by(["all-MiniLM-L6-v2", reader], judged)
    for groups in (alone, together):
        assert all(abs(np.mean(group.scores or ())) < 1e-6 for group in groups)
    assert np.std([s for group in alone for s in group.scores or ()]) == pytest.approx(SPREAD, rel=1e-6)
    reading = scored_by([reader], judged)
    for one, other, both in zip(alone, reading, together, strict=True):
        np.testing.assert_allclose(np.add(one.scores, other.scores) / 2, both.scores, atol=1e-6)
    with pytest.raises(UsageError, match="the same score"):
        scored_by(["all-MiniLM-L6-v2"], [Group("one", ("apple",))])


def test_a_judgement_raises_what_the_teacher_says() -> None:
    assert wanted("margin-mse", [2.0, 0.0], [1.5, 1.0], 2.0) == [1.5 + LABEL_BONUS, 1.0]
    assert wanted("margin-mse", None, [1.5, 1.0], 1.0) == [1.5, 1.0]
    assert wanted("softmax", [1.0, 0.0], None, 2.0) == [LABEL_BONUS / 2, 0.0]
    assert wanted("graded", [2.0, 1.0], None, 2.0) == [1.0, 0.5]
    assert wanted("lambda", [2.0, 1.0], None, 2.0) == [2.0, 1.0]


def test_a_long_group_is_cut_and_each_piece_tells_apart() -> None:
    group = Group("q", tuple(f"d{i}" for i in range(30)), (1.0, 1.0, *(0.0 for _ in range(28))))
    pieces = in_pieces([group], 8, seed=1)
    assert all(len(piece.documents) <= 8 and piece.tells_apart for piece in pieces)
    assert {d for piece in pieces for d in piece.documents} == set(group.documents)
    for piece in pieces:
        for document, label in zip(piece.documents, piece.labels or (), strict=True):
            assert (label == 1.0) == (document in ("d0", "d1"))


def test_the_order_of_groups() -> None:
    groups = [Group("q", ("a", "b", "c"), (2.0, 0.0, 1.0)), Group("r", ("a", "b"), None, (-3.0, 4.0))]
    assert order_quality(groups, [3, 1, 2, 0, 1]) == pytest.approx(1.0)
    assert order_quality(groups, [3, 1, 2, 1, 0]) < 0.9


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("a.jsonl", '{"query": "q", "document": "", "label": 1}\n', "a.jsonl:1: the document is empty"),
        ("a.jsonl", '{"query": "q", "document": "d", "label": -1}\n', "a.jsonl:1: the label is -1; it must be 0"),
        ("a.jsonl", '{"query": "q", "document": "d"}\n', "a.jsonl:1: neither a label nor a score"),
        ("a.jsonl", '{"query": "q", "documents": ["d"], "labels": [1, 0]}\n', "1 documents, and not as many labels"),
        ("a.jsonl", '{"query": "q", "document": "d", "label": "good"}\n', "the label 'good' is no number"),
        ("a.csv", "query,document,label\nq,d,1\nq,d,0\n", "a.csv:3: 'd' is judged twice for 'q', in two ways"),
        ("a.tsv", "q\td\n", "a.tsv:1: 'q\\td': a row holds a query, a document and a label"),
        ("a.tsv", "q\td\tnan\n", "a.tsv:1: the label is no number"),
    ],
)  # fmt: skip
def test_a_line_that_is_wrong_is_named(tmp_path: Path, name: str, text: str, message: str) -> None:
    (tmp_path / name).write_text(text)
    with pytest.raises(DocumentError) as raised:
        read_groups(tmp_path / name)
    assert message in str(raised.value)


def test_labels_that_are_all_alike(tmp_path: Path) -> None:
    file = tmp_path / "a.tsv"
    file.write_text("q\td\t1\nq\te\t2\n")
    with pytest.raises(UsageError, match=r"all labels say relevant.*bicross mine"):
        read_groups(file)
    file.write_text("q\td\t0\n")
    with pytest.raises(UsageError, match="all labels say not relevant"):
        read_groups(file)


def test_what_is_mined_is_read(tmp_path: Path) -> None:
    (tmp_path / "m.jsonl").write_text(
        '{"query": "q", "positive": "a", "negatives": ["b", "c"]}\n'
        '{"query": "q", "positive": "d", "negatives": ["b"]}\n'
    )
    assert read_groups(tmp_path / "m.jsonl") == [Group("q", ("a", "b", "c", "d"), (1, 0, 0, 1))]


def test_a_folder_with_grades(tmp_path: Path) -> None:
    (tmp_path / "corpus.jsonl").write_text('{"_id": "d1", "title": "T", "text": "one"}\n{"_id": "d2", "text": "two"}\n')
    (tmp_path / "queries.jsonl").write_text('{"_id": "q1", "text": "first"}\n')
    (tmp_path / "qrels").mkdir()
    (tmp_path / "qrels" / "train.tsv").write_text("query-id\tcorpus-id\tscore\nq1\td1\t2\nq1\td2\t0\n")
    assert read_groups(tmp_path) == [Group("first", ("T\none", "two"), (2, 0))]


def test_a_teacher_needs_no_labels(tmp_path: Path) -> None:
    file = tmp_path / "a.jsonl"
    file.write_text('{"query": "q", "document": "d"}\n{"query": "q", "document": "e"}\n')
    with pytest.raises(DocumentError, match="neither a label nor a score"):
        read_groups(file)
    assert read_groups(file, taught=True) == [Group("q", ("d", "e"))]
    file.write_text('{"query": "q", "document": "d", "label": 1}\n')
    assert read_groups(file, taught=True) == [Group("q", ("d",), (1.0,))]


def test_spelling_does_not_carry_a_query_over() -> None:
    groups = [Group(q, ("a", "b"), (1, 0)) for q in ("What is it?", "what  is it?", "Who?", "Where?")]
    train, dev = split_groups(groups, 0.5, 10, seed=1)
    assert not {" ".join(g.query.lower().split()) for g in train} & {" ".join(g.query.lower().split()) for g in dev}


def test_which_loss_fits() -> None:
    binary, graded = Group("q", ("a", "b"), (1, 0)), Group("q", ("a", "b"), (3, 0))
    taught = Group("q", ("a", "b"), None, (0.3, 0.1))
    assert [chosen_loss("", [g])[0] for g in (binary, graded, taught)] == ["binary", "graded", "margin-mse"]
    for name, group, message in (
        ("margin-mse", binary, "learns from a teacher"),
        ("lambda", taught, "learns from labels"),
        ("binary", graded, "binary takes labels of 0 and 1, and there is 3"),
    ):
        with pytest.raises(UsageError, match=message):
            chosen_loss(name, [group])


def test_what_cannot_be(judged: list[Group], tiny: str, tmp_path: Path) -> None:
    train, dev = split_groups(judged, 0.1, 100, seed=1)
    for change, message in (
        ({"loss": "hinge"}, "the loss 'hinge' is unknown"),
        ({"batch": 5000}, "are fewer than a batch of 5000"),
        ({"group": 1}, "group is 1"),
        ({"layers": 3}, "layers is 3, and the base has 2"),
    ):
        with pytest.raises(UsageError, match=message):
            train_cross_encoder(train, dev, tmp_path / "out", replace(QUICK, base=tiny, **change))
    asked = [group.query for group in dev]
    with pytest.raises(UsageError, match="have a query of dev"):
        without_overlap(judged, asked, "dev", allowed=False)
    assert len(without_overlap(judged, asked, "dev", allowed=True)) == len(train)
    with pytest.raises(TrainingError, match="no number any more at step"):
        train_cross_encoder(train, dev, tmp_path / "nan", replace(QUICK, base=tiny, learning_rate=1e30, every=1))


def test_a_folder_of_our_own_is_begun_anew(judged: list[Group], tiny: str, tmp_path: Path) -> None:
    """What adapting an index left there with other settings, or finished and could not move, is in nobody's way."""
    train, dev = split_groups(judged, 0.1, 100, seed=1)
    settings = replace(QUICK, base=tiny, epochs=1)
    train_cross_encoder(train, dev, tmp_path / "out", settings)
    with pytest.raises(UsageError, match="trained to the end"):
        train_cross_encoder(train, dev, tmp_path / "out", settings)
    changed = replace(settings, batch=16)
    _, again = learn(train[1:], dev, tmp_path / "out", changed, device="cpu", say=lambda line: None, ours=True)
    assert again.pairs == 80 * 8

"""The recipe of the shipped cross-encoder runs, on a tiny model and made-up groups."""

from __future__ import annotations

import json
import pickle
import random
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.numpy import load_file
from sentence_transformers.cross_encoder import CrossEncoder as TorchCrossEncoder

from bicross import BiEncoder, CrossEncoder
from bicross.calibrating.judging import name_of
from bicross.calibrating.pools import ReadQuery
from bicross.encoders.calibration import calibration_of
from bicross.search.two_stages import before, read_two_stages
from bicross.training.examples import Example
from bicross.training.recipes import distil_bi_encoder, distil_reranker, train_reranker
from bicross.training.recipes.fit_reranker import fit, pack, ways
from bicross.training.recipes.prepare_reranker import GROUP_SIZE, Collection, bm25_matrix, choose, fit_conditional_logit
from bicross.training.recipes.train_reranker import logits_of


def test_a_group_has_its_positives_and_no_document_twice() -> None:
    rng = random.Random(1)
    for _ in range(100):
        order = rng.sample(range(200), 200)
        chosen = choose(rng, order, [3, 4, 5], judged=True)
        assert len(set(chosen)) == len(chosen) == GROUP_SIZE
        assert len({3, 4, 5} & set(chosen)) >= 2
    assert sorted(choose(rng, [0, 1, 2], [1], judged=True)) == [0, 1, 2]


def test_bm25_knows_nothing_of_a_query_without_words() -> None:
    scores = bm25_matrix(["cats sleep", "dogs run"], ["a dog running", "?"])
    assert scores[0, 1] > scores[0, 0]
    assert not scores[1].any()


def test_weights_are_recovered() -> None:
    generator = np.random.default_rng(3)
    pools = []
    for _ in range(600):
        x = generator.normal(size=(10, 2))
        odds = np.exp(2.0 * x[:, 0] - 1.0 * x[:, 1])
        label = np.zeros(10, int)
        label[generator.choice(10, p=odds / odds.sum())] = 1
        pools.append({"source": "s", "a": x[:, 0].tolist(), "b": x[:, 1].tolist(), "label": label.tolist()})
    assert fit_conditional_logit(pools, ["a", "b"]) == pytest.approx([2.0, -1.0], abs=0.3)


def test_a_bi_encoder_learns_the_similarities_of_others(
    translated: list[Example], meanings: dict[str, str], make_bert, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Two teachers know which words belong together; the pupil knows nothing at first."""
    generator = np.random.default_rng(6)
    words = {word: generator.normal(size=24) for word in (*meanings.values(), "snow")}
    words |= {word: words[meaning] for word, meaning in meanings.items()}

    def vector(text: str) -> np.ndarray:
        summed = sum(words[word] for word in text.split())
        return (summed / np.linalg.norm(summed)).astype(np.float16)

    positives = [example.positive for example in translated]
    with (tmp_path / "groups.jsonl").open("w") as lines:
        for place, example in enumerate(translated):
            documents = [example.positive, positives[place - 7], positives[place - 20], *example.negatives]
            lines.write(json.dumps({"query": example.query, "documents": documents, "label": [1, 0, 0, 0]}) + "\n")
    cache = {("query", e.query): vector(e.query) for e in translated}
    cache |= {("document", t): vector(t) for e in translated for t in (e.positive, *e.negatives)}
    for name in ("teacher-1", "teacher-2"):
        (tmp_path / f"{name}.pickle").write_bytes(pickle.dumps(cache))
    weights = {"teacher": {"teacher-1": 6.0, "teacher-2": 4.0, "dense": 1.0}, "offset": {"dense": 10.0}}
    (tmp_path / "weights.json").write_text(json.dumps(weights))
    options = ["--epochs", "20", "--learning-rate", "3e-3", "--batch", "16"]
    base = str(make_bert())
    arguments = ["distil", "--groups", str(tmp_path), "--base", base, "--out", str(tmp_path / "run"), *options]
    monkeypatch.setattr(sys, "argv", arguments)
    distil_bi_encoder.main()
    texts = sorted(set(positives))
    wanted = np.stack([vector(e.query) for e in translated]).astype(float) @ np.stack([vector(t) for t in texts]).T

    def alike(folder: Path | str) -> float:
        model = BiEncoder(folder, precision="f32")
        said = model.encode_query([e.query for e in translated]) @ model.encode_document(texts).T
        return float(np.corrcoef(said.ravel(), wanted.ravel())[0, 1])

    assert alike(tmp_path / "run" / "final") > max(alike(base), 0) + 0.4


def test_what_is_fitted_leaves_what_else_is_in_the_file(tmp_path: Path) -> None:
    generator = np.random.default_rng(4)
    queries = []
    for number in range(60):
        chunks = [f"d{i}#0" for i in range(40)]
        relevant = generator.random(40) < 0.1
        dense = dict(zip(chunks, (0.3 + 0.2 * relevant + 0.1 * generator.normal(size=40)).tolist(), strict=True))
        logits = dict(zip(chunks, (3 * relevant - 2 + generator.normal(size=40)).tolist(), strict=True))
        best = {chunk: dense[chunk] for chunk in sorted(chunks, key=lambda chunk: -dense[chunk])}
        grades = {f"d{i}": 1 for i in np.flatnonzero(relevant)}
        documents = {chunk: chunk.split("#")[0] for chunk in chunks}
        scores = {name_of(way): best for way in ways({"weights_sha256": "abc"})}
        queries.append(ReadQuery(str(number), documents, scores, logits, grades))
    file = tmp_path / "bicross.json"
    file.write_text('{"pairs": {"kept": true}, "two_stages": []}')
    fit(queries, {"weights_sha256": "abc"}, file)
    stored = json.loads(file.read_text())
    assert stored["pairs"] == {"kept": True}
    assert {n.before_sha256 for n in read_two_stages(file)} == {
        before({"weights_sha256": "abc"}, stage) for stage in ("rrf", "dense")
    }
    relevance = calibration_of(stored["calibration"])
    assert relevance([3.0])[0] > 0.5 > relevance([-3.0])[0]


def test_sources_are_chosen_up_to_their_limits() -> None:
    groups = [{"source": name, "n": i} for i, name in enumerate("aabbbc")]
    assert train_reranker.chosen(groups, []) == groups
    assert [g["n"] for g in train_reranker.chosen(groups, ["a:1", "b"])] == [0, 2, 3, 4]


def test_logits_come_in_the_order_of_the_pairs(make_bert: Callable[..., Path]) -> None:
    model = TorchCrossEncoder(str(make_bert(labels=1)), max_length=64, device="cpu")
    pairs = [("query", "word " * n) for n in (30, 1, 12, 5, 40, 2, 9)]
    with torch.inference_mode():
        found = logits_of(model.eval(), pairs, slice_pairs=3).numpy()
    np.testing.assert_allclose(found, model.predict(pairs, activation_fn=torch.nn.Identity()), atol=1e-4)


def test_training_learns_stops_and_goes_on(
    make_bert: Callable[..., Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    groups = [
        {
            "query": "yellow fruit" if i % 2 else "grey animal",
            "documents": ["a yellow banana", "a grey elephant"],
            "teacher": [4.0, 0.0] if i % 2 else [0.0, 4.0],
            "offset": [0.0, 0.0],
            "label": [1, 0] if i % 2 else [0, 1],
        }
        for i in range(160)
    ]
    (tmp_path / "groups.jsonl").write_text("\n".join(map(json.dumps, groups)))
    out = tmp_path / "run"
    arguments = ["--groups", str(tmp_path), "--base", str(make_bert("body")), "--out", str(out)]
    monkeypatch.setattr(sys, "argv", ["train", *arguments, "--learning-rate", "0.005", "--epochs", "6"])
    train_reranker.main()
    assert (out / "checkpoint-120").is_dir()
    pack(out / "final", tmp_path / "packed")
    model = CrossEncoder(tmp_path / "packed", precision="f32")
    pairs = [("yellow fruit", "a yellow banana"), ("yellow fruit", "a grey elephant")]
    right, wrong = model.predict(pairs)
    assert right > wrong + 1
    capfd.readouterr()
    train_reranker.main()  # everything is done: it goes on from the last checkpoint and has nothing left
    again = CrossEncoder(out / "final", precision="f32").predict(pairs)
    np.testing.assert_allclose(again, [right, wrong], atol=0.02)


def test_a_pupil_with_fewer_layers_learns_the_logits_of_its_teacher(
    make_bert: Callable[..., Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    teacher = make_bert("teacher", labels=1)
    fruit = {f"{i}": f"{kind} number {i} is sweet and ripe" for i, kind in enumerate(["apple", "pear", "plum"] * 8)}
    asked = Collection("scifact", fruit, {f"q{i}": f"a ripe {kind}" for i, kind in enumerate(["apple", "pear"] * 20)})
    monkeypatch.setattr(distil_reranker, "collections", lambda data, rng: ([asked], {}))
    monkeypatch.setattr(distil_reranker, "LAYERS", (1,))
    folders = [f"--{name}={tmp_path / name}" for name in ("data", "indexes", "work", "out")]
    (tmp_path / "indexes").mkdir()
    monkeypatch.setattr(sys, "argv", ["distil", *folders, f"--teacher={teacher}", "--epochs=1"])
    distil_reranker.main()
    groups = [json.loads(line) for line in (tmp_path / "work" / "scifact.jsonl").read_text().splitlines()]
    assert len(groups) == 40
    assert {len(group["documents"]) for group in groups} == {7, 8}  # the first query has none before it
    pairs = [(groups[0]["query"], text) for text in groups[0]["documents"]]
    told = CrossEncoder(teacher, max_tokens=distil_reranker.MAX_TOKENS).score(pairs, show_progress=False).logits
    np.testing.assert_allclose(groups[0]["logits"], told, atol=0.02)
    assert json.loads((tmp_path / "out" / "config.json").read_text())["num_hidden_layers"] == 1
    assert np.isfinite(CrossEncoder(tmp_path / "out").predict(pairs)).all()


def test_a_layer_that_is_kept_is_the_teachers(make_bert: Callable[..., Path], tmp_path: Path) -> None:
    teacher = make_bert("teacher", labels=1)
    distil_reranker.keep_layers(teacher, (1,), tmp_path / "kept")
    whole, kept = load_file(teacher / "model.safetensors"), load_file(tmp_path / "kept" / "model.safetensors")
    name = "attention.self.query.weight"
    assert (kept[f"bert.encoder.layer.0.{name}"] == whole[f"bert.encoder.layer.1.{name}"]).all()
    assert not any("layer.1." in key for key in kept)

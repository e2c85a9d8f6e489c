"""The recipes of the shipped models run: tiny models, made-up collections, the real steps."""

from __future__ import annotations

import csv
import gzip
import json
import random
import re
import shutil
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from bicross import BiEncoder, CrossEncoder
from bicross.calibrating.judging import name_of
from bicross.calibrating.pools import ReadQuery
from bicross.encoders.calibration import calibration_of
from bicross.search.two_stages import before, read_two_stages
from bicross.training.recipes import prepare, train
from bicross.training.recipes.fit_reranker import fit, pack, ways
from bicross.training.recipes.groups import GROUP, Groups, chosen, fit_conditional_logit, mixed, ndcg
from bicross.training.recipes.lessons import Lesson, Pace, listwise
from bicross.training.recipes.lessons import train as run_lesson
from bicross.training.recipes.reading import Query, Reader, Source, Texts, read_sources
from bicross.training.recipes.sources import MEASURED

KINDS = ["apple", "river", "stone", "window", "garden", "horse", "music", "paper", "winter", "bridge"]
SAYS = "It was seen in the field over many years by all who looked for it there and at home. " * 3


def write_collection(
    folder: Path, records: list[dict[str, str]], splits: dict[str, list[tuple[str, str, str]]]
) -> None:
    """A folder in BEIR layout; of each split the id and text of a query and the id of its document."""
    (folder / "qrels").mkdir(parents=True)
    with gzip.open(folder / "corpus.jsonl.gz", "wt") as lines:
        lines.writelines(json.dumps(r) + "\n" for r in records)
    with (folder / "queries.jsonl").open("w") as lines:
        lines.writelines(json.dumps({"_id": q, "text": t}) + "\n" for rows in splits.values() for q, t, _ in rows)
    for split, rows in splits.items():
        with (folder / "qrels" / f"{split}.tsv").open("w") as lines:
            csv.writer(lines, delimiter="\t").writerows(
                [("query-id", "corpus-id", "score"), *((q, d, 1) for q, _, d in rows)]
            )


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """All collections that the recipe reads, small."""
    data = tmp_path_factory.mktemp("data")
    papers = [
        {
            "_id": f"d{i}",
            "title": f"On the {a} and the {b}",
            "text": f"We studied the {a} beside the {b}. {SAYS}The {a} always came before the {b} in paper {i}.",
        }
        for i, (a, b) in enumerate((a, b) for a in KINDS for b in KINDS if a != b)
    ]
    asked = [(f"q{i}", f"which {r['title'][3:]} is it", r["_id"]) for i, r in enumerate(papers)]
    for name in ("scifact", "nfcorpus"):
        test = {"test" if name == "scifact" else "dev": asked[:4]}
        write_collection(data / "beir" / name, papers, {"train": asked[4:], **test})
    write_collection(
        data / "beir" / "wikiqa-tok", papers[:20], {"train": asked[:8], "dev": asked[8:12], "test": asked[12:16]}
    )
    for name in ("cranfield", "vaswani", "msmarco-v1-dl19-pool"):
        write_collection(data / "beir" / name, papers[:20], {"test": asked[:4]})
    code = [
        {
            "_id": f"f{i}",
            "title": "",
            "text": f'def {a}(x):\n    """Return the {a} of what is given."""\n    return x.{a}',
        }
        for i, a in enumerate(KINDS)
    ]
    write_collection(data / "beir" / "cosqa", code, {"test": [("q0", "the apple of it", "f0")]})
    (data / "corpora" / "en-mixed-100k").mkdir(parents=True)
    with gzip.open(data / "corpora" / "en-mixed-100k" / "corpus.jsonl.gz", "wt") as lines:
        # more papers than the claims take
        lines.writelines(json.dumps({**papers[i % 90], "_id": f"pl{i}"}) + "\n" for i in range(8050))
        lines.writelines(
            json.dumps({"_id": f"msmarco_{i}", "title": "", "text": f"The {a} is here."}) + "\n"
            for i, a in enumerate(KINDS)
        )
    (data / "train").mkdir()
    (data / "train" / "web_queries.tsv").write_text("".join(f"{i}\twhere is the {a}\n" for i, a in enumerate(KINDS)))
    with gzip.open(data / "train" / "medquad_qa_pairs.jsonl.gz", "wt") as lines:
        lines.writelines(
            json.dumps({"id": f"m{i}", "query": f"what is {a}", "pos": f"{a} is known to all"}) + "\n"
            for i, a in enumerate(KINDS)
        )
    return data


@pytest.fixture(scope="module")
def texts(data: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """What ``prepare`` writes: of what is learnt, and of what is measured."""
    folder = tmp_path_factory.mktemp("prepared")
    files = folder / "texts.jsonl.xz", folder / "measured.jsonl.xz"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("bicross.training.recipes.sources.HELD_OUT", {"scifact": 10, "nfcorpus": 10})
        for file, options in zip(files, (["--share", "0.002"], ["--measured"]), strict=True):
            patch.setattr(sys, "argv", ["prepare", "--data", str(data), "--out", str(file), *options])
            prepare.main()
    return files


def test_what_is_asked_is_not_told(texts: tuple[Path, Path]) -> None:
    sources = {source.name: source for source in read_sources([texts[0]])}
    assert len(sources) == 10
    for name in ("scifact", "nfcorpus"):
        assert sum(q.held_out for q in sources[name].queries) == 10
        assert len(sources[name].queries) == 86
    assert [q.held_out for q in sources["wikiqa-tok"].queries] == [False] * 8 + [True] * 4
    assert not any(q.grades for q in sources["web"].queries)
    for name in ("scifact-titles", "paper-titles", "claims", "code"):
        source = sources[name]
        assert source.queries
        for q in source.queries:
            (own,) = q.grades
            assert q.text not in source.documents[own]
    assert sources["claims"].documents[0].startswith("On the ")
    assert re.match(r"Return the \w+ of", sources["code"].queries[0].text)
    assert '"""' not in "".join(sources["code"].documents)
    lexical = sources["scifact"].queries[0].bm25
    assert max(lexical.values()) == 1
    assert {q.text for source in read_sources([texts[1]]) for q in source.queries if source.name == "scifact/test"} == {
        f"which the apple and the {b} is it" for b in ("river", "stone", "window", "garden")
    }


@pytest.mark.slow
def test_the_whole_recipe_runs_goes_on_and_its_models_open(
    texts: tuple[Path, Path], make_bert: Callable[..., Path], tmp_path: Path, monkeypatch: Any
) -> None:
    work = tmp_path / "work"
    wide = {"max_position_embeddings": 256}
    base, teacher = make_bert("base", **wide), make_bert("teacher", hidden_size=48, **wide)
    arguments = ["train", "--texts", str(texts[0]), "--measured", str(texts[1]), "--base", str(base)]
    arguments += ["--teacher", str(teacher), "--teacher", str(base), "--work", str(work), "--batch", "4"]
    arguments += ["--steps", "2", "3", "2", "2", "--tokens", "20000"]
    monkeypatch.setattr(sys, "argv", arguments)
    train.main()
    log = json.loads((work / "log.json").read_text())
    assert set(log["ndcg cross-encoder"]) == {"scifact", "nfcorpus", "wikiqa-tok"} | {
        f"{name}/{split}" for name, split in MEASURED
    }
    assert log["pairs fast"]["pairs"] == 2 * 4 * GROUP
    pair = [("which apple is it", "On the apple and the river")]
    for name, layers in (("cross-encoder", 2), ("fast", 1)):
        pack(work / name, tmp_path / name)
        assert json.loads((tmp_path / name / "config.json").read_text())["num_hidden_layers"] == layers
        assert np.isfinite(CrossEncoder(tmp_path / name).predict(pair)).all()
    vectors = BiEncoder(work / "bi-encoder").encode_query(["which apple"])
    assert np.linalg.norm(vectors) == pytest.approx(1, abs=0.01)
    shutil.rmtree(work / "fast")
    monkeypatch.setattr(sys, "argv", [*arguments, "--variants", "0.01"])
    train.main()  # only what is missing is done again
    again = json.loads((work / "log.json").read_text())
    assert again["ndcg cross-encoder"] == log["ndcg cross-encoder"]
    assert again["ndcg fast"] == log["ndcg fast"]
    assert sum(name.startswith("pairs variant") for name in again) == 10


@pytest.mark.parametrize("way", [{}, {"labels_only": True}, {"teachers_only": True}])
def test_a_cross_encoder_learns_what_is_wanted(make_bert: Callable[..., Path], way: dict[str, bool]) -> None:
    """The order that is wanted of documents which nobody judged is learnt from the teachers; else from the labels."""
    asked = [Query(kind, False, {}, {}) for kind in KINDS]
    source = Source("s", [f"the {kind}" for kind in KINDS], asked)
    count = len(KINDS)
    right = torch.eye(count)
    nobody = torch.zeros(count, count)
    groups = Groups(
        torch.arange(count),
        torch.arange(count).expand(count, count).clone(),
        torch.ones(count, count, dtype=torch.bool),
        nobody if way.get("teachers_only") else right,
        torch.ones(count, dtype=torch.bool),
        torch.zeros(count, dtype=torch.bool),
        ["s"] * count,
        ideal=torch.eye(10)[:1].expand(count, 10),
    )
    reader = Reader(make_bert("reader", max_position_embeddings=128), Texts([source]), 4000)
    # what teachers want is wrong where labels alone are to count
    wanted = -8 * right if way.get("labels_only") else 8 * right
    lesson = Lesson(groups, wanted, width=count, **way)
    run_lesson(reader.model, listwise(reader, lesson, 5), 3e-3, Pace(0, 80), "test")
    logits = reader.score(*groups.pairs()).view(count, count)
    assert (logits.argmax(1) == torch.arange(count)).float().mean() >= 0.9


def test_logits_come_in_the_order_of_the_pairs_and_as_bicross_reads_them(make_bert: Callable[..., Path]) -> None:
    folder = make_bert(labels=1, max_position_embeddings=128)
    documents = ["word " * n for n in (30, 1, 12, 5, 40, 2, 9)]
    reader = Reader(folder, Texts([Source("s", documents, [Query("a query", False, {}, {})])]), 60)
    found = reader.score(torch.zeros(7, dtype=torch.long), torch.arange(7)).numpy()
    expected = CrossEncoder(folder, precision="f32").predict([("a query", d) for d in documents])
    np.testing.assert_allclose(found, expected, atol=1e-3)


def test_a_group_has_its_positives_and_no_document_twice() -> None:
    rng = random.Random(1)
    for _ in range(100):
        order = rng.sample(range(200), 200)
        group = chosen(rng, order, [3, 4, 5])
        assert len(set(group)) == len(group) == GROUP
        assert {3, 4, 5} <= set(group)
    assert sorted(chosen(rng, [0, 1, 2], [1])) == [0, 1, 2]
    assert mixed(list(range(30)), [5, 90, 25])[18:24] == [18, 19, 90, 25, 20, 21]


def test_bm25_knows_nothing_of_a_query_without_words() -> None:
    found = list(prepare.lexical(["cats sleep", "dogs run"], ["a dog running", "?"]))
    assert found == [([1], [1.0]), ([], [])]


def pools(x: torch.Tensor, label: torch.Tensor) -> Groups:
    count, width = label.shape
    places = torch.zeros(count, width, dtype=torch.long)
    there, flags = torch.ones(count, width, dtype=torch.bool), torch.ones(count, dtype=torch.bool)
    return Groups(places[:, 0], places, there, label, flags, flags, ["s"] * count, {"a": x[..., 0], "b": x[..., 1]})


def test_weights_are_recovered() -> None:
    generator = np.random.default_rng(3)
    x = generator.normal(size=(600, 10, 2))
    odds = np.exp(2.0 * x[..., 0] - 1.0 * x[..., 1])
    label = np.zeros((600, 10))
    for row, p in enumerate(odds / odds.sum(1, keepdims=True)):
        label[row, generator.choice(10, p=p)] = 1
    weights = fit_conditional_logit(pools(torch.tensor(x), torch.tensor(label)), ["a", "b"])
    assert list(weights.values()) == pytest.approx([2.0, -1.0], abs=0.3)


def test_ndcg_is_that_of_ir_measures() -> None:
    import ir_measures

    generator = np.random.default_rng(5)
    grades, scores = generator.integers(0, 3, size=(8, 15)), generator.normal(size=(8, 15))
    groups = pools(torch.zeros(8, 15, 2), torch.tensor(grades).float())
    groups.ideal = groups.label.sort(dim=1, descending=True).values[:, :10]
    qrels = {str(q): {str(d): int(g) for d, g in enumerate(row)} for q, row in enumerate(grades)}
    run = {str(q): {str(d): float(s) for d, s in enumerate(row)} for q, row in enumerate(scores)}
    expected = ir_measures.calc_aggregate([ir_measures.nDCG @ 10], qrels, run)[ir_measures.nDCG @ 10]
    assert ndcg(groups, torch.tensor(scores))["s"] == pytest.approx(expected, abs=1e-4)


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
    fit(queries, {"weights_sha256": "abc"}, file, bare=True)
    stored = json.loads(file.read_text())
    assert stored["pairs"] == {"kept": True}
    assert {n.before_sha256 for n in read_two_stages(file)} == {
        before({"weights_sha256": "abc"}, stage) for stage in ("rrf", "dense")
    }
    relevance = calibration_of(stored["calibration"])
    assert relevance([3.0])[0] > 0.5 > relevance([-3.0])[0]

"""A bi-encoder learns, is stopped and goes on, and says what is wrong."""

from __future__ import annotations

import json
import random
import resource
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from datasets import Dataset
from hypothesis import given
from hypothesis import strategies as st
from safetensors.numpy import load_file
from sentence_transformers import SentenceTransformer

from bicross import BiEncoder
from bicross.errors import StorageError, TrainingError, UsageError
from bicross.training import bi_encoder
from bicross.training.batches import Apart, batches_apart
from bicross.training.bi_encoder import BiEncoderTraining, train_bi_encoder
from bicross.training.dev import hold_out, read_dev
from bicross.training.examples import Example
from bicross.training.lengths import ByLength, in_parts
from bicross.training.running import last_checkpoint

QUICK = BiEncoderTraining(epochs=30, batch=16, learning_rate=5e-3, max_tokens=16, patience=99, precision="f32")


@pytest.fixture
def tiny(make_bert) -> str:
    return str(make_bert(hidden_dropout_prob=0.0, attention_probs_dropout_prob=0.0))


def test_it_learns_and_the_folder_opens_everywhere(translated: list[Example], tiny: str, tmp_path: Path) -> None:
    train, dev = hold_out(translated, seed=1)
    assert not {example.query for example in train} & set(dev.queries.values())
    said: list[str] = []
    trained = train_bi_encoder(train, dev, tmp_path / "out", replace(QUICK, base=tiny), say=said.append)
    assert trained.after > trained.before + 0.2
    assert any(f"step {trained.step} of" in line and "nDCG@10" in line for line in said)
    texts = ["two five", "river garden"]
    ours = BiEncoder(tmp_path / "out", precision="f32").encode_document(texts)
    theirs = SentenceTransformer(str(tmp_path / "out"), device="cpu").encode(texts, normalize_embeddings=True)
    np.testing.assert_allclose(ours / np.linalg.norm(ours, axis=1, keepdims=True), theirs, atol=1e-4)
    card = (tmp_path / "out" / "README.md").read_text()
    assert f"{trained.after:.4f} after" in card
    assert "apple" not in card and "apple" not in (tmp_path / "out" / "training.json").read_text()
    assert not (tmp_path / "out" / "checkpoints").exists()
    with pytest.raises(UsageError, match="trained to the end"):
        train_bi_encoder(train, dev, tmp_path / "out", replace(QUICK, base=tiny))


@pytest.mark.slow
def test_a_run_that_is_killed_goes_on_to_the_same_end(translated: list[Example], tiny: str, tmp_path: Path) -> None:
    file = tmp_path / "train.jsonl"
    file.write_text("".join(json.dumps({"query": e.query, "positive": e.positive}) + "\n" for e in translated))

    def command(into: str) -> list[str]:
        options = "--batch 16 --epochs 12 --every 5 --learning-rate 1e-3 --max-tokens 16 --patience 99 --precision f32"
        return [sys.executable, "-m", "bicross", "train", "bi-encoder", str(file), "--base", tiny, *options.split(),
                "--into", str(tmp_path / into)]  # fmt: skip

    subprocess.run(command("whole"), check=True, capture_output=True)
    begun = subprocess.Popen(command("killed"), stderr=subprocess.PIPE, stdout=subprocess.PIPE)
    try:
        while last_checkpoint(tmp_path / "killed" / "checkpoints") is None:
            assert begun.poll() is None, begun.communicate()
            time.sleep(0.02)
        begun.send_signal(signal.SIGKILL)
    finally:
        begun.kill()
        begun.communicate()
    half = tmp_path / "killed" / "checkpoints" / "checkpoint-99999"
    half.mkdir()  # as if it had been killed within a checkpoint
    (half / "trainer_state.json").write_text('{"global_st')
    again = subprocess.run(command("killed"), capture_output=True, text=True)
    assert again.returncode == 0, again.stderr
    assert "going on after step" in again.stderr
    one, other = (load_file(tmp_path / name / "model.safetensors") for name in ("whole", "killed"))
    for name, weights in one.items():
        np.testing.assert_allclose(weights, other[name], atol=1e-5, err_msg=name)


def test_a_loss_that_is_no_number_stops_it_and_keeps_the_checkpoint(
    translated: list[Example], tiny: str, tmp_path: Path
) -> None:
    train, dev = hold_out(translated, seed=1)
    settings = replace(QUICK, base=tiny, learning_rate=1e30, every=1)
    with pytest.raises(TrainingError, match=r"no number any more at step \d+; the checkpoint of step (\d+) is kept"):
        train_bi_encoder(train, dev, tmp_path / "out", settings)
    kept = last_checkpoint(tmp_path / "out" / "checkpoints")
    assert kept is not None
    assert all(np.isfinite(w).all() for w in load_file(kept / "model.safetensors").values())


def test_a_full_disk_keeps_the_checkpoint_before(translated: list[Example], tiny: str, tmp_path: Path) -> None:
    train, dev = hold_out(translated, seed=1)
    settings = replace(QUICK, base=tiny, every=2, epochs=3)
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)

    def fill_the_disk(line: str) -> None:
        if line.startswith("step 4 "):
            resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, limits[1]))

    try:
        with pytest.raises(StorageError, match=r"disk is full at the checkpoint of step 4; that of step 2 is kept"):
            train_bi_encoder(train, dev, tmp_path / "out", settings, say=fill_the_disk)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    said: list[str] = []
    trained = train_bi_encoder(train, dev, tmp_path / "out", settings, say=said.append)
    assert said[1] == "going on after step 2"
    assert trained.steps > 4


def test_it_stops_early_when_nothing_gets_better(translated: list[Example], tiny: str, tmp_path: Path) -> None:
    train, dev = hold_out(translated, seed=1)
    still = replace(QUICK, base=tiny, learning_rate=1e-12, every=1, patience=2)
    trained = train_bi_encoder(train, dev, tmp_path / "out", still)
    assert trained.stopped_early
    assert trained.steps == 3


def test_a_run_that_had_enough_has_enough_when_it_goes_on(
    translated: list[Example], tiny: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It was killed between the last step and the end: what was counted before is not forgotten."""
    train, dev = hold_out(translated, seed=1)
    still = replace(QUICK, base=tiny, learning_rate=1e-12, every=1, patience=2)
    with monkeypatch.context() as patched:
        patched.setattr(bi_encoder, "write_card", lambda *args: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            train_bi_encoder(train, dev, tmp_path / "out", still)
    trained = train_bi_encoder(train, dev, tmp_path / "out", still)
    assert trained.steps <= 4
    assert trained.step == 1


@pytest.mark.parametrize("negatives", [0, 1])
def test_a_batch_that_is_not_held_at_once_gives_the_same(
    translated: list[Example], tiny: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, negatives: int
) -> None:
    train, dev = hold_out(translated, seed=1)
    settings = replace(QUICK, base=tiny, epochs=1, negatives=negatives, learning_rate=1e-3)
    train_bi_encoder(train, dev, tmp_path / "held", settings)
    monkeypatch.setattr(bi_encoder, "HELD_TOKENS", 64)
    train_bi_encoder(train, dev, tmp_path / "cached", settings)
    one, other = (load_file(tmp_path / name / "model.safetensors") for name in ("held", "cached"))
    for name, weights in one.items():
        if not name.endswith("key.bias"):  # the softmax does not depend on it: its gradient is rounding alone
            np.testing.assert_allclose(weights, other[name], atol=1e-4, err_msg=name)


def test_cut_embeddings_are_good_too(translated: list[Example], tiny: str, tmp_path: Path) -> None:
    train, dev = hold_out(translated, seed=1)
    train_bi_encoder(train, dev, tmp_path / "out", replace(QUICK, base=tiny, dimensions=(8,)))
    model = BiEncoder(tmp_path / "out", truncate_dim=8)
    found = model.encode_query([example.query for example in train]) @ (
        model.encode_document([example.positive for example in train]).T
    )
    assert (found.argmax(axis=1) == np.arange(len(train))).mean() > 0.5
    with pytest.raises(UsageError, match="does not shorten"):
        train_bi_encoder(train, dev, tmp_path / "other", replace(QUICK, base=tiny, dimensions=(32,)))


def test_what_cannot_be(translated: list[Example], tiny: str, tmp_path: Path) -> None:
    train, dev = hold_out(translated, seed=1)
    with pytest.raises(UsageError, match="not in 'int8'"):
        train_bi_encoder(train, dev, tmp_path / "out", replace(QUICK, base=tiny, precision="int8"))
    for device in ("cuda", "cuda:1", "tpu"):
        if device != "cuda" or not torch.cuda.is_available():
            with pytest.raises(UsageError, match=f"device '{device}'"):
                train_bi_encoder(train, dev, tmp_path / "out", replace(QUICK, base=tiny), device=device)
    assert not (tmp_path / "out").exists()
    with pytest.raises(
        UsageError, match="81 examples with 81 different queries and 81 different answers are fewer than a batch"
    ):
        train_bi_encoder(train, dev, tmp_path / "out", replace(QUICK, base=tiny, batch=100))
    with pytest.raises(UsageError, match="learning_rate is 0"):
        train_bi_encoder(train, dev, tmp_path / "out", replace(QUICK, base=tiny, learning_rate=0))
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "thesis.txt").write_text("mine")
    with pytest.raises(UsageError, match="is not empty"):
        train_bi_encoder(train, dev, tmp_path / "full", replace(QUICK, base=tiny))
    with pytest.raises(UsageError, match="one query"):
        hold_out([Example("a", "b"), Example("a", "c")], seed=1)


def test_a_run_does_not_go_on_with_something_else(translated: list[Example], tiny: str, tmp_path: Path) -> None:
    train, dev = hold_out(translated, seed=1)

    def stop(line: str) -> None:
        if line.startswith("step"):
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        train_bi_encoder(train, dev, tmp_path / "out", replace(QUICK, base=tiny), say=stop)
    with pytest.raises(UsageError, match=r"begun here with another batch; say the same again"):
        train_bi_encoder(train, dev, tmp_path / "out", replace(QUICK, base=tiny, batch=8))
    with pytest.raises(UsageError, match=r"begun here with another examples"):
        train_bi_encoder(train[1:], dev, tmp_path / "out", replace(QUICK, base=tiny))


def test_a_dev_split_of_a_folder(tmp_path: Path) -> None:
    (tmp_path / "corpus.jsonl").write_text('{"_id": "d1", "title": "T", "text": "one"}\n{"_id": "d2", "text": "two"}\n')
    (tmp_path / "queries.jsonl").write_text('{"_id": "q1", "text": "first"}\n{"_id": "q2", "text": "second"}\n')
    (tmp_path / "qrels").mkdir()
    (tmp_path / "qrels" / "dev.tsv").write_text("query-id\tcorpus-id\tscore\nq1\td1\t1\nq2\td2\t0\n")
    dev = read_dev(tmp_path, "dev", seed=1)
    assert (dev.queries, dev.relevant) == ({"q1": "first"}, {"q1": {"d1"}})
    assert dev.documents == {"d1": "T\none", "d2": "two"}
    (tmp_path / "qrels" / "none.tsv").write_text("query-id\tcorpus-id\tscore\nq2\td2\t0\n")
    with pytest.raises(UsageError, match="no query of the split none has a relevant document"):
        read_dev(tmp_path, "none", seed=1)


@given(
    st.lists(st.lists(st.sampled_from("abcdefgh"), min_size=2, max_size=4), max_size=30),
    st.integers(2, 6),
    st.integers(0, 3),
)
def test_no_batch_has_an_answer_that_is_wrong_there(rows: list[list[str]], size: int, seed: int) -> None:
    answers: dict[str, set[str]] = {}
    for query, positive, *_ in rows:
        answers.setdefault(query, set()).add(positive)
    batches = batches_apart(rows, size, seed)
    chosen = [row for batch in batches for row in batch]
    assert len(set(chosen)) == len(chosen)
    for batch in batches:
        assert len(batch) == size
        assert len({rows[row][0] for row in batch}) == size
        for row in batch:
            others = {text for other in batch if other != row for text in rows[other][1:]}
            assert answers[rows[row][0]].isdisjoint(others)


def test_every_epoch_has_as_many_batches() -> None:
    """The trainer reckons with the first one; here other orders give fewer."""
    rng = random.Random(2)
    rows = {(f"q{rng.randrange(30)}", f"p{min(rng.randrange(40), rng.randrange(40))}") for _ in range(120)}
    columns = {name: [row[i] for row in sorted(rows)] for i, name in enumerate(("query", "positive"))}
    sampler = Apart(Dataset.from_dict(columns), 8, True)
    counts = set()
    for epoch in range(12):
        sampler.set_epoch(epoch)
        counts.add(len(list(sampler)))
        assert len(sampler) == counts.copy().pop()
    assert len(counts) == 1


@given(st.lists(st.integers(1, 300), min_size=1, max_size=80), st.integers(1, 1000))
def test_every_row_is_in_one_part_that_is_not_too_large(lengths: list[int], most: int) -> None:
    parts = in_parts(torch.tensor(lengths), most)
    assert sorted(torch.cat(parts).tolist()) == list(range(len(lengths)))
    for part in parts:
        longest = max(lengths[row] for row in part.tolist())
        assert len(part) == 1 or len(part) * longest <= most


def test_parts_give_what_the_whole_batch_gives(tiny: str) -> None:
    plain, by_length = SentenceTransformer(tiny, device="cpu"), ByLength(tiny, device="cpu")
    texts = ["apple " * n for n in (1, 40, 3, 17, 60, 2)] * 20
    features = plain.preprocess(texts)
    with torch.no_grad():
        expected = plain({**features})["sentence_embedding"]
        got = by_length({**features})["sentence_embedding"]
    assert len(in_parts(features["attention_mask"].sum(1))) > 1
    torch.testing.assert_close(got, expected, atol=1e-5, rtol=1e-4)

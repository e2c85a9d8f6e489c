"""Kill a process that changes an index, again and again, and look at what it leaves. Run by test_crash.py.

``python crash.py kill FOLDER KILLS SEED``: this process only forks. One child works (round after round it upserts,
deletes and optimises, and writes down what was acknowledged), it is killed with SIGKILL, another child opens the index
and looks. ``python crash.py fill FOLDER kept|none`` writes until the disk is full, with or without the reserve that an
index keeps free. Both print one JSON object; anything amiss is an exception.
"""

from __future__ import annotations

import json
import os
import random
import signal
import sys
import time
import traceback
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from bicross import Document, LocalIndex
from bicross.errors import CorpusError
from bicross.index import adding, check, disk, export, local, shard

DOCUMENTS = 150
WIDTH = 16
GATHERED = 50
PHASES = {"open": 0.03, "upsert": 0.2, "delete": 0.02, "optimise": 0.03}  # and for how many seconds they last, about


@dataclass(frozen=True)
class Encoded:
    embeddings: npt.NDArray[np.float32]
    tokens: int
    truncated: npt.NDArray[np.bool_]


class WordEncoder:
    """A bi-encoder of the user's own: a word is a fixed random vector, a text the sum of its words. It takes no time,
    so that most of a run is writing.
    """

    name = "words"
    dimension = WIDTH
    query_prompt = document_prompt = ""
    identity = {"words": 1, "dimension": WIDTH}  # noqa: RUF012
    chunk_tokens = 64

    def token_spans(self, text: str) -> list[tuple[int, int]]:
        spans, start = [], 0
        for word in text.split(" "):
            spans += [(start, start + len(word))] if word else []
            start += len(word) + 1
        return spans

    def encode(self, texts: list[str], *_: Any, **__: Any) -> Encoded:
        vectors = np.array([sum(map(vector, text.split())) for text in texts], np.float32)
        vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
        return Encoded(vectors, sum(len(text.split()) for text in texts), np.zeros(len(texts), np.bool_))


VECTORS: dict[str, npt.NDArray[np.float64]] = {}


def vector(word: str) -> npt.NDArray[np.float64]:
    if word not in VECTORS:
        VECTORS[word] = np.random.default_rng(list(word.encode())).normal(size=WIDTH)
    return VECTORS[word]


def documents(number: int) -> Iterator[Document]:
    """The corpus in a round: a fifth of the documents is another than in the round before, some are long."""
    for i in range(DOCUMENTS):
        latest = number - (number + i) % 5
        rng = random.Random(1000 * i + latest)
        sentences = (f"Sentence {rng.randrange(50)} of note {i}." for _ in range(rng.choice((1, 2, 3, 60))))
        yield Document(f"d{i}", " ".join(sentences), f"Note {i}", {"round": latest, "even": i % 2 == 0})


def removed(number: int) -> list[str]:
    return [f"d{i}" for i in range(DOCUMENTS) if (i + number) % 7 == 0]


def opened(folder: Path) -> LocalIndex:
    adding.BATCH_CHUNKS, local.BATCH_DELETED, local.GATHERED, shard.EXACT_UP_TO = 32, 5, GATHERED, 100
    encoder: Any = WordEncoder()
    path = folder / "index"
    return (LocalIndex.open if (path / "manifest.json").exists() else LocalIndex.create)(path, encoder)


def work(folder: Path, first: int, last: int) -> None:
    """Bring the index through some rounds. Each line of ``acknowledged`` is written once its step has returned."""
    log = os.open(folder / "acknowledged", os.O_WRONLY | os.O_CREAT | os.O_TRUNC)

    def say(*words: object) -> None:
        os.write(log, (" ".join(map(str, words)) + "\n").encode())

    say("open")
    with opened(folder) as index:
        for number in range(first, last + 1):
            say("upsert")
            index.add(documents(number), committed=lambda stored: say("stored", stored))
            say("delete")
            index.delete(removed(number))
            say("optimise")
            index.optimise()
            say("round", number)


def state(folder: Path) -> dict[str, str]:
    """What is stored, after looking at every chunk of it."""
    with opened(folder) as index:
        report = check(index)
        assert not report.found, report
        assert len(list(index.engine.names())) == report.chunks == index.count().chunks
        return {entry.id: entry.content_hash for entry in index.catalogue.entries()}


def answers(folder: Path) -> list[list[tuple[str, float]]]:
    """Some searches, in every mode, and the whole content as one file."""
    with opened(folder) as index:
        export(index, folder / "all.jsonl")
        shard.EXACT_UP_TO = 10**6
        return [
            [(hit.chunk.id, hit.score) for hit in index.search(f"sentence {i} note {7 * i}", mode=mode, top_k=20)]
            for i in range(10)
            for mode in ("dense", "lexical", "hybrid")
        ]


def in_child(task: Callable[[], Any], folder: Path) -> Any:
    """Run a task in a child; its result."""
    pid = start(lambda: (folder / "result").write_text(json.dumps(task())))
    _, status = os.waitpid(pid, 0)
    assert status == 0, f"the child ended with {status}"
    return json.loads((folder / "result").read_text())


def start(task: Callable[[], Any]) -> int:
    pid = os.fork()
    if pid:
        return pid
    try:
        task()
        os._exit(0)
    except BaseException:
        traceback.print_exc()
        os._exit(1)


def acknowledged(folder: Path) -> list[list[str]]:
    """The lines that were written whole."""
    text = (folder / "acknowledged").read_text()
    return [line.split() for line in text.splitlines(keepends=True) if line.endswith("\n")]


def followed(before: dict[str, str], number: int, lines: list[list[str]]) -> tuple[dict[str, str], dict[str, Any], int]:
    """What must be stored after what was acknowledged, what may have changed besides, and the round it is in."""
    model = dict(before)
    to_store = [(d.id, d.content_hash) for d in documents(number) if model.get(d.id) != d.content_hash]
    phase = "open"
    for word, *values in lines:
        match word:
            case "stored":
                model |= dict(to_store[: int(values[0])])
                to_store = to_store[int(values[0]) :]
            case "optimise":
                model = {i: h for i, h in model.items() if i not in removed(number)}
            case "round":
                number += 1
                to_store = [(d.id, d.content_hash) for d in documents(number) if model.get(d.id) != d.content_hash]
        phase = word if word in PHASES else phase
    under_way: dict[str, Any] = dict(to_store) if phase == "upsert" else {}
    if phase == "delete":
        under_way = dict.fromkeys(removed(number))
    return model, under_way, number


def kill(folder: Path, kills: int, seed: int) -> None:
    rng = random.Random(seed)
    stored: dict[str, str] = {}
    number, killed = 0, Counter[str]()
    (folder / "acknowledged").touch()
    while killed.total() < kills:
        aim = list(PHASES)[killed.total() % len(PHASES)]
        (folder / "acknowledged").write_text("")
        pid = start(lambda first=number: work(folder, first, first + 1000))
        while [aim] not in acknowledged(folder):
            time.sleep(0.001)
        time.sleep(rng.uniform(0, PHASES[aim]))
        os.kill(pid, signal.SIGKILL)
        _, status = os.waitpid(pid, 0)
        assert status == signal.SIGKILL, f"the worker ended by itself, with {status}"
        lines = acknowledged(folder)
        killed[next(line[0] for line in reversed(lines) if line[0] in PHASES)] += 1
        model, under_way, number = followed(stored, number, lines)
        stored = in_child(lambda: state(folder), folder)
        for document_id in model.keys() | stored.keys():
            now = stored.get(document_id)
            assert now == model.get(document_id) or (document_id in under_way and now == under_way[document_id]), (
                f"{document_id} is {now}, acknowledged was {model.get(document_id)}; lines {lines[-5:]}"
            )
    in_child(lambda: work(folder, number, number), folder)
    undisturbed = folder / "undisturbed"
    undisturbed.mkdir()
    in_child(lambda: work(undisturbed, max(number - 2, 0), number), undisturbed)
    ours, theirs = (in_child(lambda f=f: answers(f), f) for f in (folder, undisturbed))
    assert (folder / "all.jsonl").read_bytes() == (undisturbed / "all.jsonl").read_bytes()
    assert ours == theirs, [(a, b) for a, b in zip(ours, theirs, strict=True) if a != b][:1]
    sys.stdout.write(
        json.dumps({"kills": killed, "rounds": number, "documents": len(in_child(lambda: state(folder), folder))})
    )


def fill(folder: Path, reserve: str) -> None:
    """Add documents of much text until that fails; then make room, look at what is there, and add the rest."""
    global GATHERED
    GATHERED = 2_000
    wanted = 200
    ballast = folder / "ballast"
    ballast.write_bytes(bytes(4 * 2**20))

    def notes() -> Iterator[Document]:
        words = [f"word{i}" for i in range(5000)]
        for i in range(wanted):
            yield Document(f"d{i}", " ".join(random.Random(i).choices(words, k=4_000)))

    def add() -> None:
        if reserve == "none":
            disk.FREE_BYTES = -(10**12)
        log = os.open(folder.parent / "acknowledged", os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
        said = ""
        try:
            with opened(folder) as index:
                index.add(notes(), committed=lambda stored: os.write(log, f"stored {stored}\n".encode()))
        except CorpusError as error:
            said = str(error)
        (folder.parent / "said").write_text(said)

    (folder.parent / "said").write_text("")
    os.waitpid(start(add), 0)  # may be killed by the system: there the engine writes to memory that has no disk
    stored = sum(int(line[1]) for line in acknowledged(folder.parent))
    said = (folder.parent / "said").read_text()
    ballast.unlink()
    os.system(f"mount -o remount,size=900m {folder}")
    after = in_child(lambda: state(folder), folder)
    assert all(f"d{i}" in after for i in range(stored)), f"{stored} acknowledged, {len(after)} there"
    assert stored < wanted, "the disk never got full"
    os.waitpid(start(lambda: opened(folder).add(notes())), 0)
    report = {"acknowledged": stored, "said": said, "wanted": wanted}
    sys.stdout.write(json.dumps(report | {"stored_after_making_room": len(in_child(lambda: state(folder), folder))}))


if __name__ == "__main__":
    if sys.argv[1] == "kill":
        kill(Path(sys.argv[2]), int(sys.argv[3]), int(sys.argv[4]))
    else:
        fill(Path(sys.argv[2]), sys.argv[3])

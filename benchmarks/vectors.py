"""A million vectors to search: real embeddings, and points between real neighbours where those run out.

The first 80,000 passages of the English and of the Chinese corpus are embedded by the default bi-encoder (their first
64 tokens). What is missing to the number asked for is interpolated: a random real vector is moved by 30 to 70 % towards
one of its eight nearest neighbours in a random block of 16,384 real vectors, and made of length 1 again. Queries are
real questions of both languages, embedded as queries; no query is among the vectors. Embedding goes on where it was
stopped. As documents, the vectors get a text of some 60 words, drawn from 50,000 by Zipf's law, and three fields.
"""

from __future__ import annotations

import gzip
import json
from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from bicross import BiEncoder, Chunk
from bicross.index import EncodedDocument

Vectors = npt.NDArray[np.float32]

CORPORA = ("en-mixed-100k", "zhwiki-corpus")
TOKENS = 64
PASSAGES = 80_000  # of each corpus
PART = 20_000
QUERIES = 1000
BLOCK = 16_384
NEIGHBOURS = 8


def vectors_and_queries(data: Path, work: Path, number: int) -> tuple[Path, Vectors]:
    """A file of ``number`` vectors (number, 384), and ``QUERIES`` queries (QUERIES, 384): float32, of length 1,
    shuffled the same way each time. ``work`` keeps what was embedded, and the file.
    """
    file = work / f"all-{number}.npy"
    if not file.exists():
        real = np.concatenate([part for corpus in CORPORA for part in _embedded(data, work, corpus)])
        rng = np.random.default_rng(7)
        vectors = real if number <= len(real) else np.concatenate([real, _between(real, number - len(real), rng)])
        np.save(file, vectors[rng.permutation(len(vectors))[:number]])
    return file, _queries(data, work)


def blocks(file: Path, first: int, last: int, rows: int = 50_000) -> Iterator[tuple[int, Vectors]]:
    """The vectors of a file from the number ``first`` to ``last``, block by block with the number of the block's first;
    read and not mapped, for mapped pages would count as memory of who reads them.
    """
    mapped = np.load(file, mmap_mode="r")
    for start in range(first, min(last, len(mapped)), rows):
        count = min(rows, last - start, len(mapped) - start)
        place = mapped.offset + start * mapped.strides[0]
        yield start, np.fromfile(file, np.float32, count * mapped.shape[1], offset=place).reshape(count, -1)


def _embedded(data: Path, work: Path, corpus: str) -> Iterator[Vectors]:
    """The embeddings of a corpus in parts, each embedded once and kept."""
    work.mkdir(parents=True, exist_ok=True)
    encoder: BiEncoder | None = None
    texts = islice(_texts(data / "corpora" / corpus / "corpus.jsonl.gz"), PASSAGES)
    number = 0
    while part := list(islice(texts, PART)):
        file = work / f"{corpus}-{number:03d}.npy"
        if not file.exists():
            encoder = encoder or BiEncoder(max_tokens=TOKENS)
            embeddings = encoder.encode_document(part)
            with file.with_suffix(".new").open("wb") as stream:
                np.save(stream, embeddings.astype(np.float16))
            file.with_suffix(".new").replace(file)
            print(f"{file.name}: {len(part)} embedded", flush=True)
        loaded = np.load(file).astype(np.float32)
        yield loaded / np.linalg.norm(loaded, axis=1, keepdims=True)
        number += 1


def _texts(file: Path) -> Iterator[str]:
    with gzip.open(file, "rt", encoding="utf-8") as lines:
        for line in lines:
            record = json.loads(line)
            text = f"{record.get('title') or ''}\n{record['text']}".strip()
            if text:
                yield text[:1000]


def _queries(data: Path, work: Path) -> Vectors:
    file = work / "queries.npy"
    if not file.exists():
        english = (data / "train" / "web_queries.tsv").read_text(encoding="utf-8").splitlines()
        chinese = (data / "beir" / "cmrc2018-dev-zh" / "queries.jsonl").read_text(encoding="utf-8").splitlines()
        texts = [line.rpartition("\t")[2] for line in english[: QUERIES // 2]]
        texts += [json.loads(line)["text"] for line in chinese[: QUERIES // 2]]
        np.save(file, BiEncoder(max_tokens=TOKENS).encode_query(texts))
    loaded: Vectors = np.load(file)
    return loaded


def _between(real: Vectors, number: int, rng: np.random.Generator) -> Vectors:
    made = []
    while number > 0:
        block = real[rng.choice(len(real), min(BLOCK, len(real)), replace=False)]
        similar = block @ block.T
        np.fill_diagonal(similar, -1)
        near = np.argpartition(-similar, NEIGHBOURS, axis=1)[:, :NEIGHBOURS]
        chosen = block[near[np.arange(len(block)), rng.integers(NEIGHBOURS, size=len(block))]]
        step = rng.uniform(0.3, 0.7, (len(block), 1)).astype(np.float32)
        points = block + step * (chosen - block)
        made.append((points / np.linalg.norm(points, axis=1, keepdims=True))[:number])
        number -= len(made[-1])
    return np.concatenate(made)


class Precomputed:
    """Stands for the bi-encoder of an index whose vectors come ready made."""

    name = "precomputed"
    dimension = 384
    query_prompt = document_prompt = ""
    identity: dict[str, Any] = {"precomputed": 1}  # noqa: RUF012
    chunk_tokens = 254

    def token_spans(self, text: str) -> list[tuple[int, int]]:
        raise NotImplementedError

    def encode(self, *_: Any, **__: Any) -> Any:
        raise NotImplementedError


def documents(vectors: Vectors, first: int = 0, length: int = 60) -> Iterator[EncodedDocument]:
    """Each vector as a document of one chunk of ``length`` words; the first has the number ``first``."""
    words = np.array([f"w{rank:x}" for rank in range(50_000)])
    share = 1 / np.arange(1, len(words) + 1)
    steps = np.cumsum(share / share.sum())
    for start in range(0, len(vectors), 1000):
        block = vectors[start : start + 1000]
        drawn = words[np.searchsorted(steps, np.random.default_rng(first + start).random((len(block), length)))]
        for row, (vector, chosen) in enumerate(zip(block, drawn, strict=True)):
            number = first + start + row
            text, name = " ".join(chosen), str(number)
            metadata = {"year": 1990 + number % 35, "lang": "en" if number % 3 else "zh", "part": number % 100}
            chunk = Chunk(f"{name}#0", name, text, 0, len(text))
            yield EncodedDocument(name, f"{number:064x}", [chunk], vector[None], [False], metadata)

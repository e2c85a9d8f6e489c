"""Measure what this machine does with two models: every cell several times, in turns, medians."""

from __future__ import annotations

import os
import platform
import shutil
import statistics
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from time import perf_counter, time

import numpy as np
import numpy.typing as npt

from bicross.documents import Document
from bicross.encoders import BiEncoder, CrossEncoder, find_model
from bicross.encoders.bi_encoder import Encoded
from bicross.encoders.engines import resolve_precision
from bicross.encoders.int8 import find_layers
from bicross.encoders.sample import sample_texts
from bicross.index import LocalIndex
from bicross.index.disk import bytes_taken
from bicross.index.shard import FOLDER
from bicross.planning import Curve, MachineProfile, Speeds
from bicross.planning.reading import STEP

#: The cores' own clock and other work make single measurements differ by a tenth and more.
ROUNDS = 3

#: Tokens of texts and of pairs, special ones included, as far as the models read so many.
TEXTS, PAIRS = (8, 32, 64, 128, 256), (32, 64, 128, 256, 512)

#: Tokens that are encoded at a time to measure a length.
TOKENS = 4096

#: Tokens of the chunks that are stored, and how many at a time: as many as ``bicross index`` commits together.
CHUNKS, CHUNKS_AT_ONCE = (16, 224), 512

#: Hits that are asked for.
FOUND = (10, 200)

#: Queries, and tokens of one, to measure one at a time.
QUERIES, QUERY_TOKENS = 10, (8, 32)

#: Steps of a search that are timed together.
STEPS = 3

#: How long each pair of a step is, by the mean. Candidates are never all alike, and that costs padding and waiting.
UNEVEN = (0.4, 0.6, 0.8, 1.0, 1.0, 1.2, 1.4, 1.6)
assert len(UNEVEN) == STEP


@dataclass(frozen=True)
class Cell:
    """One thing to measure: what it is, how many of it ``run`` does, and how long each is."""

    what: str
    precision: str
    length: float
    count: int
    run: Callable[[], object]


def cpu_name() -> str:
    """The model of the CPU."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return platform.processor() or platform.machine()
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.machine()


def usable_cores() -> int:
    """Cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def precisions(bi_encoder: str | Path, cross_encoder: str | Path) -> list[str]:
    """Those that both models have here, what ``auto`` stands for first; int8 only where it has been made."""
    chosen = resolve_precision("auto")
    int8 = all(find_layers(find_model(model)) is not None for model in (bi_encoder, cross_encoder))
    return [chosen, *(["f32"] if chosen != "f32" else []), *(["int8"] if int8 else [])]


def measure(
    bi_encoder: str | Path,
    cross_encoder: str | Path,
    folder: Path,
    *,
    kinds: Sequence[str] | None = None,
    quick: bool = False,
) -> MachineProfile:
    """Measure this machine; about a minute on two cores, some seconds with ``quick``.

    Args:
        bi_encoder: Name or folder.
        cross_encoder: Name or folder.
        folder: Where a small index is made for a moment: on the disk that will hold indexes.
        kinds: Precisions, what ``auto`` is to stand for first; by default all that both models have.
        quick: Once, with few texts, and in one precision: for trying things out, too coarse to plan with.

    Raises:
        ModelNotFoundError, ModelError: See ``BiEncoder``.
        UsageError: The cross-encoder gives several labels a pair.
        OSError, StorageError: ``folder`` cannot be written.
    """
    folder.mkdir(parents=True, exist_ok=True)  # what cannot be written is known before the work
    for left in folder.glob("measuring-*"):  # by a process that was killed
        if time() - left.stat().st_mtime > 86_400:
            shutil.rmtree(left, ignore_errors=True)
    load = os.getloadavg()[0] if hasattr(os, "getloadavg") else 0.0
    kinds = (kinds or precisions(bi_encoder, cross_encoder))[: 1 if quick else None]
    started = perf_counter()
    bi = {kinds[0]: BiEncoder(bi_encoder, precision=kinds[0])}
    cross = {kinds[0]: CrossEncoder(cross_encoder, precision=kinds[0])}
    start = perf_counter() - started
    cross[kinds[0]].check_orders()
    texts = _Texts(bi[kinds[0]], sample_texts(400))
    memory = _memory(bi[kinds[0]], cross[kinds[0]], texts)
    for kind in kinds[1:]:
        bi[kind] = BiEncoder(bi_encoder, precision=kind)
        cross[kind] = CrossEncoder(cross_encoder, precision=kind)
    cells: list[Cell] = []
    for kind in kinds:
        cells += _encoder_cells(kind, bi[kind], cross[kind], texts, 1024 if quick else TOKENS)
    place = Path(tempfile.mkdtemp(prefix="measuring-", dir=folder))
    try:
        stored = _Stored(place, bi[kinds[0]], texts, CHUNKS_AT_ONCE // (8 if quick else 1))
        with stored.index:
            cells += stored.cells()
            seconds = _in_turns(cells, 1 if quick else ROUNDS)
        disk = stored.bytes_per_chunk()
    finally:
        shutil.rmtree(place, ignore_errors=True)
    medians = [statistics.median(taken) for taken in seconds]
    spreads = [(max(taken) - min(taken)) / statistics.median(taken) for taken in seconds]

    def curve(what: str, precision: str = "") -> Curve:
        """What one takes, by length."""
        points = {
            cell.length: taken / cell.count
            for cell, taken in zip(cells, medians, strict=True)
            if (cell.what, cell.precision) == (what, precision)
        }
        return Curve(tuple(sorted(points.items())))

    first_bi, first_cross = bi[kinds[0]], cross[kinds[0]]
    return MachineProfile(
        machine=cpu_name(),
        cores=usable_cores(),
        bi_encoder=first_bi.name,
        cross_encoder=first_cross.name,
        precision=kinds[0],
        speeds={kind: Speeds(*(curve(what, kind) for what in ("encode", "query", "score", "step"))) for kind in kinds},
        chunk_tokens=first_bi.chunk_tokens,
        text_special=first_bi.max_tokens - first_bi.chunk_tokens,
        pair_special=_pair_special(first_bi, first_cross),
        pair_tokens=first_cross.max_tokens,
        dimension=first_bi.dimension,
        store=curve("store"),
        disk=disk,
        empty=stored.empty,
        retrieve=curve("retrieve"),
        indexed=stored.added,
        dot=curve("dot").points[0][1],
        start=start,
        memory=memory,
        spread=statistics.median(spreads),
        load=load,
    )


def _in_turns(cells: Sequence[Cell], rounds: int) -> list[list[float]]:
    """Seconds of each cell in each round; every round runs all of them. Encoders get used to a length before."""
    for cell in cells:
        if cell.precision:
            cell.run()
    seconds: list[list[float]] = [[] for _ in cells]
    for _ in range(rounds):
        for cell, taken in zip(cells, seconds, strict=True):
            started = perf_counter()
            cell.run()
            taken.append(perf_counter() - started)
    return seconds


class _Texts:
    """Real text cut to so many tokens."""

    def __init__(self, encoder: BiEncoder, sources: Sequence[str]) -> None:
        self.text = "\n\n".join(sources)
        self.spans = encoder.token_spans(self.text)
        self.place = 0

    def take(self, tokens: int, count: int) -> list[str]:
        """``count`` texts of ``tokens`` tokens, each from where the one before ended."""
        texts = []
        for _ in range(count):
            if self.place + tokens >= len(self.spans):
                self.place = self.place % 7 + 1  # from the beginning again, cut elsewhere
            start, end = self.spans[self.place][0], self.spans[self.place + tokens - 1][1]
            texts.append(self.text[start:end])
            self.place += tokens
        return texts


def _encoder_cells(kind: str, bi: BiEncoder, cross: CrossEncoder, texts: _Texts, tokens: int) -> list[Cell]:
    cells = []
    special = bi.max_tokens - bi.chunk_tokens
    for length in sorted({min(length, bi.max_tokens) for length in TEXTS}):
        batch = texts.take(length - special, tokens // length)
        read = bi.encode(batch, bi.document_prompt).tokens / len(batch)
        cells.append(Cell("encode", kind, read, len(batch), lambda b=batch: bi.encode_document(b)))  # type: ignore[misc]
    for length in QUERY_TOKENS:
        queries = texts.take(length - special, QUERIES)
        read = sum(bi.encode(q, bi.query_prompt).tokens for q in queries) / QUERIES
        run = lambda asked=queries: [bi.encode_query(query) for query in asked]  # noqa: E731
        cells.append(Cell("query", kind, read, QUERIES, run))
    query = texts.take(8, 1)[0]
    for length in sorted({min(length, cross.max_tokens) for length in PAIRS}):
        pairs = [(query, text) for text in texts.take(length - 11, max(4, tokens // length))]
        read = cross.score(pairs).tokens / len(pairs)
        cells.append(Cell("score", kind, read, len(pairs), lambda p=pairs: cross.predict(p)))  # type: ignore[misc]
        steps = [[(query, texts.take(round(part * length) - 11, 1)[0]) for part in UNEVEN] for _ in range(STEPS)]
        read = sum(cross.score(step).tokens for step in steps) / (STEPS * STEP)
        run = lambda asked=steps: [cross.predict(step) for step in asked]  # noqa: E731
        cells.append(Cell("step", kind, read, STEPS * STEP, run))
    return cells


class _Replayed:
    """A bi-encoder that costs nothing: random vectors in place of embeddings, so that the rest can be timed."""

    def __init__(self, encoder: BiEncoder) -> None:
        self.name, self.dimension, self.identity = encoder.name, encoder.dimension, encoder.identity
        self.query_prompt, self.document_prompt = encoder.query_prompt, encoder.document_prompt
        self.chunk_tokens, self.token_spans = encoder.chunk_tokens, encoder.token_spans
        self.random = np.random.default_rng(0)

    def encode(
        self,
        texts: str | Sequence[str],
        prompt: str = "",
        label: str = "texts",
        show_progress: bool | None = None,
        advance: Callable[[int], None] | None = None,
    ) -> Encoded:
        count = 1 if isinstance(texts, str) else len(texts)
        rows: npt.NDArray[np.float32] = self.random.standard_normal((count, self.dimension), np.float32)
        return Encoded(rows / np.linalg.norm(rows, axis=1, keepdims=True), 0, np.zeros(count, np.int64))


class _Stored:
    """A small index that grows while it is measured."""

    def __init__(self, place: Path, encoder: BiEncoder, texts: _Texts, at_once: int) -> None:
        self.index = LocalIndex.create(place / "index", _Replayed(encoder))
        self.texts = texts
        self.at_once = at_once
        self.tokens = [min(tokens, encoder.chunk_tokens) for tokens in CHUNKS]
        self.grown: dict[int, list[float]] = {tokens: [] for tokens in self.tokens}
        self.added = 0
        self.empty = self.index.bytes_on_disk()
        for tokens in self.tokens:  # the first of its kind makes files
            self._add(tokens)
        self.grown = {tokens: [] for tokens in self.tokens}

    def cells(self) -> list[Cell]:
        found = [Cell("store", "", n, self.at_once, lambda n=n: self._add(n)) for n in self.tokens]  # type: ignore[misc]
        for limit in FOUND:
            asked = self.texts.take(8, QUERIES)
            run = lambda limit=limit, asked=asked: [self._find(query, limit) for query in asked]  # noqa: E731
            found.append(Cell("retrieve", "", limit, QUERIES, run))
        rows = _Replayed.encode(self.index.embedder, ["x"] * 2048).embeddings  # type: ignore[arg-type]
        return [*found, Cell("dot", "", 1, len(rows) ** 2, lambda: rows @ rows.T)]

    def bytes_per_chunk(self) -> Curve:
        """Bytes of a chunk by its tokens, once the index is closed."""
        each = {tokens: statistics.median(grown) for tokens, grown in self.grown.items()}
        engine = sum(self.at_once * (1 + len(grown)) * each[tokens] for tokens, grown in self.grown.items())
        beside = (bytes_taken(self.index.path) - self.empty - engine) / self.added
        return Curve(tuple((tokens, size + beside) for tokens, size in each.items()))

    def _find(self, query: str, limit: int) -> object:
        return self.index.retrieve(self.index.ask(query, "hybrid"), limit)

    def _add(self, tokens: int) -> None:
        engine = self.index.path / FOLDER  # the catalogue beside it grows in steps and shrinks when it is closed
        before = bytes_taken(engine)
        texts = self.texts.take(tokens, self.at_once)
        self.index.add(Document(f"d{self.added + i}", text) for i, text in enumerate(texts))
        self.added += len(texts)
        self.grown[tokens].append((bytes_taken(engine) - before) / len(texts))


def _pair_special(bi: BiEncoder, cross: CrossEncoder) -> int:
    """Tokens that the cross-encoder puts around a pair: those of a pair of one word less the word's own."""
    word = "water"
    return cross.score([(word, word)]).tokens - 2 * max(1, len(bi.token_spans(word)))


def _memory(bi: BiEncoder, cross: CrossEncoder, texts: _Texts) -> int:
    """Bytes of this process once both models have worked."""
    batch = texts.take(bi.chunk_tokens, 16)
    bi.encode_document(batch)
    cross.predict([(batch[0][:40], text) for text in batch])
    try:
        return int(Path("/proc/self/statm").read_text(encoding="ascii").split()[1]) * os.sysconf("SC_PAGE_SIZE")
    except OSError:
        import resource

        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss

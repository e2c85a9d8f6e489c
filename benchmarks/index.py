"""Searching a million vectors: bicross' engine beside hnswlib, faiss and LanceDB, all with their indexes built.

Each system builds in a process of its own and leaves its files in the work folder, so an interrupted run goes on where
it stopped. Then every system is opened, each in a process of its own on the same one core, and asked the same 1000 real
questions in turns of 100, so that noise of the machine hits all alike. Recall is against the exact neighbours. Systems
that trade recall for speed run with several settings; the row of a system is its cheapest setting that reaches a
recall@100 of 0.95. Prints a table and writes ``benchmarks/results/index.json``.

Run: ``python benchmarks/index.py`` (``--n 20000`` for a quick check)
"""

from __future__ import annotations

import argparse
import itertools
import json
import multiprocessing
import os
import platform
import resource
import shutil
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from multiprocessing.connection import Connection
from pathlib import Path
from time import perf_counter
from typing import Any

import numpy as np
import numpy.typing as npt

Vectors = npt.NDArray[np.float32]
Ids = npt.NDArray[np.int64]
Setting = Mapping[str, float]
#: Finds the ids of the ``TOP`` nearest vectors, best first.
Search = Callable[[Vectors], Any]
#: Makes a search with a setting.
Opened = Callable[[Setting], Search]

RESULTS = Path(__file__).parent / "results" / "index.json"
DIMENSION = 384
TOP = 100
ENOUGH = 0.95  # recall@100 of the operating point
ROWS = 50_000  # read and added together
BUILD = "build.json"
CORES = os.cpu_count() or 1

#: HNSW graphs are built alike: 16 links a vector (32 on the ground level), 200 candidates.
LINKS, CANDIDATES = 16, 200
EFS = tuple({"ef": ef} for ef in (200, 300, 400, 500, 600, 800, 1200))


@dataclass(frozen=True)
class System:
    """How a system builds from a file of vectors into a folder, opens the folder, and the settings to search with."""

    name: str
    build: Callable[[Path, Path], object]
    open: Callable[[Path], Opened]
    settings: Sequence[Setting]
    copy_of: str = ""  # another system, whose files it searches a copy of
    numbers: Callable[[Any], Sequence[int]] = list  # of the vectors in an answer; not timed

    @property
    def home(self) -> str:
        return self.name.replace(" ", "-")


@dataclass(frozen=True)
class Built:
    """What building took. ``note`` says of what was checked."""

    build_s: float
    build_cpu_s: float
    build_rss_mb: float
    note: str


@dataclass(frozen=True)
class Row:
    """One system with one setting."""

    system: str
    n: int
    setting: Setting
    recall_at_10: float
    recall_at_100: float
    qps: float
    p50_ms: float
    p99_ms: float
    cpu_ms: float
    build_s: float
    build_cpu_s: float
    build_rss_mb: float
    query_rss_mb: float
    disk_mb: float
    open_s: float


@dataclass
class Answers:
    """What a system answered with one setting: neighbours and seconds of each query, processor seconds in all."""

    found: list[Ids] = field(default_factory=list)
    seconds: list[float] = field(default_factory=list)
    cpu_s: float = 0.0


# -- the systems -------------------------------------------------------------------------------------------------


def blocks(vectors: Path) -> Iterator[tuple[int, Vectors]]:
    """The vectors of a file and the number of the first, block by block."""
    from vectors import blocks

    return blocks(vectors, 0, length(vectors), ROWS)


def length(vectors: Path) -> int:
    """How many vectors a file holds."""
    return int(np.load(vectors, mmap_mode="r").shape[0])


def ours() -> list[System]:
    """An index of bicross: every vector is a document of ten words and three fields, found by meaning and by words.

    ``bicross`` asks its engine for ids alone, as the others give; ``bicross with texts`` is what its users get.
    """

    def build(vectors: Path, folder: Path) -> str:
        from vectors import Precomputed, documents

        from bicross import LocalIndex

        (folder / "index").mkdir()
        with LocalIndex.create(folder / "index", Precomputed()) as index:
            parts = (documents(block, start, length=10) for start, block in blocks(vectors))
            index.add_encoded(itertools.chain.from_iterable(parts))
            stats = index.stats()
        return f"{stats.graph_vectors} of {stats.chunks} vectors in the graph, the rest is scanned"

    def open_ids(folder: Path) -> Opened:
        import qdrant_edge as qdrant

        index = open_index(folder)
        engine = index.engine.engine

        def with_setting(setting: Setting) -> Search:
            rescored = qdrant.QuantizationSearchParams(rescore=True, oversampling=2.0)
            params = qdrant.SearchParams(hnsw_ef=int(setting["ef"]), quantization=rescored)

            def search(query: Vectors) -> tuple[Any, list[Any]]:
                nearest = qdrant.Query.Nearest(query.tolist(), "dense")
                request = qdrant.QueryRequest(limit=TOP, query=nearest, params=params)
                return engine, [point.id for point in engine.query(request)]

            return search

        return with_setting

    def open_texts(folder: Path) -> Opened:
        from bicross.index import shard

        index = open_index(folder)

        def with_setting(setting: Setting) -> Search:
            def search(query: Vectors) -> list[int]:
                return [int(found.chunk.document_id) for found in index.nearest(query.tolist(), TOP)]

            shard.EF = int(setting["ef"])
            return search

        return with_setting

    def open_index(folder: Path) -> Any:
        from vectors import Precomputed

        from bicross import LocalIndex

        return LocalIndex.open(folder / "index", Precomputed())

    def numbers(answer: tuple[Any, list[Any]]) -> list[int]:
        engine, ids = answer
        names = {
            record.id: int(record.payload["document_id"]) for record in engine.retrieve(ids, ["document_id"], False)
        }
        return [names[point] for point in ids]

    return [
        System("bicross", build, open_ids, EFS, numbers=numbers),
        System("bicross with texts", build, open_texts, EFS, copy_of="bicross"),
    ]


def hnswlib_graph() -> System:
    """The usual HNSW library, float32 vectors."""

    def build(vectors: Path, folder: Path) -> str:
        import hnswlib

        index = hnswlib.Index("ip", DIMENSION)
        index.init_index(length(vectors), M=LINKS, ef_construction=CANDIDATES)
        for start, block in blocks(vectors):
            index.add_items(block, np.arange(start, start + len(block)), num_threads=CORES)
        index.save_index(str(folder / "index.bin"))
        return f"{index.get_current_count()} vectors"

    def open_index(folder: Path) -> Opened:
        import hnswlib

        index = hnswlib.Index("ip", DIMENSION)
        index.load_index(str(folder / "index.bin"))
        index.set_num_threads(1)

        def with_setting(setting: Setting) -> Search:
            def search(query: Vectors) -> Sequence[int]:
                return index.knn_query(query, TOP)[0][0]  # type: ignore[no-any-return]

            index.set_ef(int(setting["ef"]))
            return search

        return with_setting

    return System("hnswlib", build, open_index, EFS)


def faiss_systems() -> list[System]:
    """Of faiss: exact, HNSW, and IVF with fast-scan product quantisation, refined from float32."""

    def builder(make: Callable[[Path], Any]) -> Callable[[Path, Path], str]:
        def build(vectors: Path, folder: Path) -> str:
            os.environ["OMP_WAIT_POLICY"] = "PASSIVE"  # threads that wait would take the cores from those that work
            import faiss

            faiss.omp_set_num_threads(CORES)
            index = make(vectors)
            for _, block in blocks(vectors):
                index.add(block)
            faiss.write_index(index, str(folder / "index.faiss"))
            return f"{index.ntotal} vectors"

        return build

    def flat(_: Path) -> Any:
        import faiss

        return faiss.IndexFlatIP(DIMENSION)

    def hnsw(_: Path) -> Any:
        import faiss

        index = faiss.IndexHNSWFlat(DIMENSION, LINKS, faiss.METRIC_INNER_PRODUCT)
        index.hnsw.efConstruction = CANDIDATES
        return index

    def ivf(vectors: Path) -> Any:
        import faiss

        number = length(vectors)
        lists = 2 ** round(np.log2(4 * np.sqrt(number)))
        index = faiss.index_factory(DIMENSION, f"IVF{lists},PQ{DIMENSION // 2}x4fs,RFlat", faiss.METRIC_INNER_PRODUCT)
        sample = np.load(vectors, mmap_mode="r")[:: max(1, number // (64 * lists))]
        index.train(np.ascontiguousarray(sample))
        return index

    def opener(parameters: Callable[[Any, Setting], Any]) -> Callable[[Path], Opened]:
        def open_index(folder: Path) -> Opened:
            import faiss

            faiss.omp_set_num_threads(1)
            index = faiss.read_index(str(folder / "index.faiss"))

            def with_setting(setting: Setting) -> Search:
                chosen = parameters(faiss, setting)

                def search(query: Vectors) -> Sequence[int]:
                    return index.search(query[None], TOP, params=chosen)[1][0]  # type: ignore[no-any-return]

                return search

            return with_setting

        return open_index

    def refined(faiss: Any, setting: Setting) -> Any:
        lists = faiss.SearchParametersIVF(nprobe=int(setting["nprobe"]))
        return faiss.IndexRefineSearchParameters(k_factor=setting["refine"], base_index_params=lists)

    probes = [(16, 4), (32, 4), (64, 4), (96, 4), (128, 4), (192, 4), (256, 4), (128, 8)]
    return [
        System("faiss Flat", builder(flat), opener(lambda faiss, setting: None), [{}]),
        System(
            "faiss HNSW",
            builder(hnsw),
            opener(lambda faiss, setting: faiss.SearchParametersHNSW(efSearch=int(setting["ef"]))),
            EFS,
        ),
        System(
            "faiss IVFPQ fast-scan",
            builder(ivf),
            opener(refined),
            [{"nprobe": lists, "refine": factor} for lists, factor in probes],
        ),
    ]


def lancedb_table() -> System:
    """LanceDB with IVF and product quantisation, refined from float32; every vector must be in the index."""

    def builder(make: Callable[[int], Any]) -> Callable[[Path, Path], str]:
        def build(vectors: Path, folder: Path) -> str:
            import lancedb
            import pyarrow as pa

            kind = pa.list_(pa.float32(), DIMENSION)
            schema = pa.schema([("id", pa.int64()), ("vector", kind)])

            def batches() -> Iterator[pa.RecordBatch]:
                for start, block in blocks(vectors):
                    column = pa.FixedSizeListArray.from_arrays(pa.array(block.reshape(-1)), DIMENSION)
                    yield pa.record_batch([pa.array(np.arange(start, start + len(block))), column], schema=schema)

            table = lancedb.connect(str(folder)).create_table("vectors", batches(), schema=schema)
            table.create_index("vector", config=make(table.count_rows()))
            indices = table.list_indices()
            stats = table.index_stats(indices[0].name)
            assert stats is not None
            assert stats.num_unindexed_rows == 0, stats
            assert stats.num_indexed_rows == length(vectors), stats
            return f"{indices[0].index_type}: {stats.num_indexed_rows} vectors indexed, {stats.num_unindexed_rows} not"

        return build

    def lists(number: int) -> Any:
        from lancedb.index import IvfPq

        partitions = 2 ** round(np.log2(np.sqrt(number)))
        return IvfPq(distance_type="dot", num_partitions=partitions, num_sub_vectors=DIMENSION // 4)

    def open_table(folder: Path) -> Opened:
        import lancedb

        table = lancedb.connect(str(folder)).open_table("vectors")

        def with_setting(setting: Setting) -> Search:
            def search(query: Vectors) -> Sequence[int]:
                asked = table.search(query).distance_type("dot").limit(TOP).refine_factor(int(setting["refine"]))
                asked = asked.nprobes(int(setting.get("nprobe", 1)))
                return asked.select(["id", "_distance"]).to_arrow()["id"].to_numpy()  # type: ignore[no-any-return]

            return search

        return with_setting

    probes = [
        {"nprobe": float(lists), "refine": float(f)} for lists, f in ((16, 4), (32, 4), (64, 4), (96, 4), (128, 8))
    ]
    return System("LanceDB IVF_PQ", builder(lists), open_table, probes)


def systems() -> list[System]:
    """All of them; ours first."""
    return [*ours(), hnswlib_graph(), *faiss_systems(), lancedb_table()]


# -- in processes of their own -----------------------------------------------------------------------------------


def peak_mb() -> float:
    """The most memory that this process has held."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / (1024 if sys.platform == "linux" else 2**20)


def cpu_s() -> float:
    """Processor seconds that this process has used."""
    used = resource.getrusage(resource.RUSAGE_SELF)
    return used.ru_utime + used.ru_stime


def make_data(work: Path, data: Path, embedded: Path, number: int) -> None:
    """The vectors, the queries and their exact neighbours, into the work folder. A child: it takes much memory."""
    from vectors import vectors_and_queries

    file, queries = vectors_and_queries(data, embedded, number)
    (work / "vectors.npy").hardlink_to(file)
    scores = np.full((len(queries), TOP), -np.inf, np.float32)
    ids = np.zeros((len(queries), TOP), np.int64)
    for start, block in blocks(file):
        similar = np.concatenate([scores, queries @ block.T], axis=1)
        numbers = np.concatenate(
            [ids, np.broadcast_to(np.arange(start, start + len(block)), (len(queries), len(block)))], 1
        )
        best = np.argpartition(-similar, TOP, axis=1)[:, :TOP]
        scores, ids = np.take_along_axis(similar, best, 1), np.take_along_axis(numbers, best, 1)
    order = np.argsort(-scores, axis=1, kind="stable")
    np.save(work / "queries.npy", queries)
    np.save(work / "truth.npy", np.take_along_axis(ids, order, 1))


def build_system(name: str, vectors: Path, folder: Path) -> None:
    """Build and leave the numbers beside the files. A child."""
    system = next(system for system in systems() if system.name == name)
    started, used = perf_counter(), cpu_s()
    note = str(system.build(vectors, folder))
    built = Built(round(perf_counter() - started, 1), round(cpu_s() - used, 1), round(peak_mb()), note)
    (folder / BUILD).write_text(json.dumps(asdict(built), indent=1) + "\n")


def serve(name: str, folder: Path, queries: Path, core: int, pipe: Connection) -> None:
    """Open a system on one core, then search blocks of queries as the pipe says, until it says None. A child.

    Sends first the seconds that opening took, with the first search; for each (setting, first, last) the neighbours,
    the seconds of each query and the processor seconds of all; at the end the peak memory.
    """
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, {core})
    asked = np.load(queries)
    system = next(system for system in systems() if system.name == name)
    started = perf_counter()
    opened = system.open(folder)
    opened(system.settings[0])(asked[0])
    pipe.send(perf_counter() - started)
    while (order := pipe.recv()) is not None:
        setting, first, last = order
        search = opened(setting)
        found, seconds, used = [], [], cpu_s()
        for query in asked[first:last]:
            started = perf_counter()
            answer = search(query)
            seconds.append(perf_counter() - started)
            found.append(np.asarray(system.numbers(answer), np.int64))
        pipe.send((found, seconds, cpu_s() - used))
    pipe.send(peak_mb())


def in_child(work: Callable[..., None], *arguments: object) -> None:
    """Run a function in a fresh process.

    Raises:
        SystemExit: It failed; its traceback stands above.
    """
    process = multiprocessing.get_context("spawn").Process(target=work, args=arguments)
    process.start()
    process.join()
    if process.exitcode:
        raise SystemExit(f"{work.__name__}{arguments[:1]} failed")


# -- measuring ---------------------------------------------------------------------------------------------------


def prepare(work: Path, data: Path, embedded: Path, number: int, chosen: Sequence[System]) -> dict[str, Built]:
    """Make what is missing of data and indexes; what building took, by folder."""
    work.mkdir(parents=True, exist_ok=True)
    if not (work / "truth.npy").exists():
        in_child(make_data, work, data, embedded, number)
    built = {}
    for system in chosen:
        folder = work / system.home
        if not (folder / BUILD).exists():
            shutil.rmtree(folder, ignore_errors=True)
            folder.mkdir()
            if system.copy_of:
                shutil.rmtree(folder)
                shutil.copytree(work / system.copy_of, folder)
            else:
                print(f"{system.name}: building", flush=True)
                in_child(build_system, system.name, work / "vectors.npy", folder)
        built[system.name] = Built(**json.loads((folder / BUILD).read_text()))
        print(f"{system.name}: {built[system.name]}", flush=True)
    return built


def query(
    work: Path, chosen: Sequence[System], count: int, block: int
) -> tuple[dict[tuple[str, int], Answers], dict[str, float], dict[str, float]]:
    """Ask every system everything in turns: answers by system and setting, seconds to open, peak memory."""
    context = multiprocessing.get_context("spawn")
    pipes: dict[str, Connection] = {}
    processes, open_s, peaks = [], {}, {}
    for system in chosen:
        pipe, other = context.Pipe()
        folder = work / system.home
        arguments = (system.name, folder, work / "queries.npy", CORES - 1, other)
        processes.append(context.Process(target=serve, args=arguments, daemon=True))
        processes[-1].start()
        other.close()
        pipes[system.name] = pipe
        open_s[system.name] = pipe.recv()
        print(f"{system.name}: open in {open_s[system.name]:.2f} s", flush=True)
    answers = {(s.name, number): Answers() for s in chosen for number in range(len(s.settings))}
    starts = range(0, count, block)
    for turn, start in enumerate(itertools.chain([0], starts)):  # the first turn warms up and is not counted
        for number in range(max(len(s.settings) for s in chosen)):
            for system in chosen:
                if number < len(system.settings):
                    pipes[system.name].send((system.settings[number], start, min(start + block, count)))
                    found, seconds, used = pipes[system.name].recv()
                    if turn:
                        answer = answers[system.name, number]
                        answer.found += found
                        answer.seconds += seconds
                        answer.cpu_s += used
        print(f"turn {turn} of {len(starts)}", flush=True)
    for name, pipe in pipes.items():
        pipe.send(None)
        peaks[name] = pipe.recv()
    for process in processes:
        process.join()
    return answers, open_s, peaks


def recall(found: Sequence[Ids], truth: Ids, top: int) -> float:
    """The mean share of the exact ``top`` neighbours among the first ``top`` that were found."""
    shares = [len(np.intersect1d(ids[:top], exact[:top])) / top for ids, exact in zip(found, truth, strict=True)]
    return round(float(np.mean(shares)), 4)


def row_of(system: System, setting: Setting, answers: Answers, truth: Ids, shared: Row) -> Row:
    """The numbers of a system with one setting; ``shared`` has those that do not depend on it."""
    seconds = np.array(answers.seconds)
    return replace(
        shared,
        setting=setting,
        recall_at_10=recall(answers.found, truth, 10),
        recall_at_100=recall(answers.found, truth, TOP),
        qps=round(len(seconds) / float(seconds.sum()), 1),
        p50_ms=round(float(np.median(seconds)) * 1e3, 3),
        p99_ms=round(float(np.percentile(seconds, 99)) * 1e3, 3),
        cpu_ms=round(answers.cpu_s / len(seconds) * 1e3, 3),
    )


def operating_point(rows: Sequence[Row]) -> Row:
    """The fastest setting with enough recall; the one with the most recall where none has."""
    enough = [row for row in rows if row.recall_at_100 >= ENOUGH]
    return max(enough, key=lambda row: row.qps) if enough else max(rows, key=lambda row: row.recall_at_100)


def qps_at(rows: Sequence[Row], wanted: float) -> float | None:
    """The queries a second of a system at a recall@100, interpolated in milliseconds between its settings.

    None where no setting reaches it; the cheapest setting where all are above.
    """
    points = sorted((row.recall_at_100, 1000 / row.qps) for row in rows)
    recalls, milliseconds = zip(*points, strict=True)
    if wanted > recalls[-1]:
        return None
    return round(1000 / float(np.interp(wanted, recalls, milliseconds)), 1)


def disk_mb(folder: Path) -> float:
    """What a folder takes on disk; sparse files count what is allocated."""
    return round(sum(f.stat().st_blocks * 512 for f in folder.rglob("*") if f.is_file()) / 2**20, 1)


def machine() -> dict[str, object]:
    """What the numbers depend on."""
    cpu = next((line.split(":")[1].strip() for line in _lines("/proc/cpuinfo") if line.startswith("model name")), "")
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    return {"cpu": cpu or platform.processor(), "cores": CORES, "memory_gib": round(memory, 1)}


def _lines(file: str) -> list[str]:
    path = Path(file)
    return path.read_text().splitlines() if path.exists() else []


def report(n: int, rows: Sequence[Row], sweep: Sequence[Row], notes: Mapping[str, str], file: Path) -> None:
    """Print the table, write the JSON."""
    print(f"\n{'system':<24}{'setting':<32}{'r@10':>7}{'r@100':>7}{'QPS':>9}{'p50 ms':>9}{'p99 ms':>9}{'build s':>9}"
          f"{'build MB':>10}{'query MB':>10}{'disk MB':>9}{'open s':>8}")  # fmt: skip
    for row in [*sweep, *rows]:
        print(
            f"{row.system:<24}{json.dumps(dict(row.setting)):<32}{row.recall_at_10:>7.3f}{row.recall_at_100:>7.3f}"
            f"{row.qps:>9}{row.p50_ms:>9}{row.p99_ms:>9}{row.build_s:>9}{row.build_rss_mb:>10}{row.query_rss_mb:>10}"
            f"{row.disk_mb:>9}{row.open_s:>8}"
        )
    against = {}
    for ours_row in (row for row in rows if row.system.startswith("bicross")):
        for peer in dict.fromkeys(row.system for row in rows if not row.system.startswith("bicross")):
            theirs = qps_at([row for row in sweep if row.system == peer], ours_row.recall_at_100)
            ratio = None if theirs is None else round(ours_row.qps / theirs, 2)
            against[f"{ours_row.system} / {peer}"] = {"qps_at_same_recall_at_100": theirs, "ratio": ratio}
    print(json.dumps(against, indent=1))
    about = {"vectors": n, "dimension": DIMENSION, "top_k": TOP, "threads": 1, **machine(), "checked": dict(notes)}
    file.parent.mkdir(exist_ok=True, parents=True)
    file.write_text(json.dumps([asdict(row) for row in rows], indent=1) + "\n")
    more = {"about": about, "against": against, "sweep": [asdict(row) for row in sweep]}
    file.with_name(f"{file.stem}-about.json").write_text(json.dumps(more, indent=1) + "\n")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--n", type=int, default=1_000_000)
    parser.add_argument("--work", type=Path, default=Path(".bench/index"), help="keeps vectors and indexes")
    parser.add_argument("--data", type=Path, default=Path("../shared/data"), help="holds the corpora and the questions")
    parser.add_argument("--embedded", type=Path, help="keeps the embeddings; in the work folder unless given")
    parser.add_argument("--systems", nargs="*", help="names; all unless given")
    parser.add_argument("--queries", type=int, default=1000)
    parser.add_argument("--block", type=int, default=100, help="queries in a turn")
    parser.add_argument("--build-only", action="store_true")
    parser.add_argument("--into", type=Path, default=RESULTS, help="the JSON")
    args = parser.parse_args()
    chosen = [system for system in systems() if not args.systems or system.name in args.systems]
    work = args.work / str(args.n)
    built = prepare(work, args.data, args.embedded or args.work / "embedded", args.n, chosen)
    if args.build_only:
        return
    answers, open_s, peaks = query(work, chosen, args.queries, args.block)
    truth = np.load(work / "truth.npy")[: args.queries]
    rows, sweep = [], []
    for system in chosen:
        took = built[system.name]
        shared = Row(
            system.name, args.n, {}, 0, 0, 0, 0, 0, 0, took.build_s, took.build_cpu_s, took.build_rss_mb,
            round(peaks[system.name]), disk_mb(work / (system.copy_of or system.home)), round(open_s[system.name], 2),
        )  # fmt: skip
        mine = [
            row_of(system, setting, answers[system.name, number], truth, shared)
            for number, setting in enumerate(system.settings)
        ]
        sweep += mine
        rows.append(operating_point(mine))
    report(args.n, rows, sweep, {name: took.note for name, took in built.items()}, args.into)


if __name__ == "__main__":
    main()

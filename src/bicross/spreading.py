"""Fill an index on a cluster from many machines: Ray reads, chunks and embeds on all of them (extra ``ray``).

Each machine has one process with the model, which writes what it embedded to Qdrant itself, as something that is about
to be stored. The process that began all this enters it: so a document is found once, whole, whatever died on the way,
and what was begun and not entered is put right by the next run, as that of any writer that died.
"""

from __future__ import annotations

import logging
import os
import pickle
import socket
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from bicross.documents import Document, Failure, Fields
from bicross.documents.files import File, printable
from bicross.documents.reading import find_files, read_file
from bicross.errors import UsageError
from bicross.index import Index
from bicross.index.adding import Adding, AddReport
from bicross.index.cluster.address import KEY, parse_address
from bicross.index.cluster.index import Begun, ClusterIndex
from bicross.index.fields import FieldType, field_types
from bicross.index.records import EncodedDocument
from bicross.index.refresh import Failures, RefreshReport, clash, prune_unseen, used_before
from bicross.index.seen import Seen
from bicross.opening import embedder_of

#: Documents that a machine is handed at a time; what is lost with a process that dies.
BATCH_DOCUMENTS = 64

#: Bytes of documents that travel together, so that the records of one large file reach all machines.
_BLOCK = 512 * 1024


@dataclass
class Handed:
    """What became of the documents of one batch.

    Attributes:
        met: Id and source of each, in order.
        stored: What is in the engine and not entered: the entry, and hash and chunks of what it replaces.
        types: Of their metadata fields.
        gone: Ids of documents without text.
        failures: What could not be read.
        clashes: What is wrong with a document whose id is that of another file, by its id.
        report: The counts of it all.
    """

    met: list[tuple[str, str]] = field(default_factory=list)
    stored: list[Begun] = field(default_factory=list)
    types: list[tuple[str, FieldType]] = field(default_factory=list)
    gone: list[str] = field(default_factory=list)
    failures: list[Failure] = field(default_factory=list)
    clashes: dict[str, str] = field(default_factory=dict)
    report: AddReport = field(default_factory=AddReport)


class _Begun(ClusterIndex):
    """The index as a machine that embeds sees it: it stores chunks, and enters nothing."""

    handed: Handed

    @contextmanager
    def changing(self) -> Iterator[None]:
        yield  # the lease is that of the process which enters

    def store(self, batch: list[EncodedDocument]) -> None:
        entries, chunks = self._rows_of(batch)
        self.handed.stored += self.catalogue.begin(entries)
        self.engine.put(chunks)
        self.handed.types += {pair for document in batch for pair in field_types(document.metadata)}

    def delete(self, document_ids: Any) -> list[str]:
        self.handed.gone.append(document_ids)
        return []


class _Machine:
    """One on each machine: the model, and a connection to the cluster."""

    def __init__(self, address: str, key: str, device: str, precision: str | None) -> None:
        if key:
            os.environ[KEY] = key
        embedder = embedder_of(address, device=device, precision=precision)
        self.index = _Begun.open(parse_address(address), embedder)

    def __call__(self, batch: dict[str, Any]) -> dict[str, list[bytes]]:
        items = [pickle.loads(item) for item in batch["item"]]
        handed = self.index.handed = Handed(failures=[item for item in items if isinstance(item, Failure)])
        documents = [item for item in items if isinstance(item, Document)]
        self.index.catalogue.remember(True)  # anew: others write
        taken: set[str] = set()
        accepted = []
        for document in self.index.catalogue.ahead(documents):
            handed.met.append((document.id, document.source))
            problem = None if document.id in taken else clash(self.index, document)
            if problem is not None:
                handed.clashes[document.id] = problem
            elif document.id not in taken:  # the second one is refused by who enters, who sees all of them
                accepted.append(document)
            taken.add(document.id)
        handed.report = Adding(self.index, lambda documents: None).run(accepted)
        return {"handed": [pickle.dumps(handed)]}


def refresh_on_ray(
    index: Index,
    paths: Sequence[str | Path],
    *,
    ray_address: str,
    fields: Fields | None = None,
    ignore: Sequence[str] = (),
    prune: bool = False,
    strict: bool = False,
    device: str = "cpu",
    precision: str | None = None,
    committed: Callable[[int], None] = lambda documents: None,
    stop: Callable[[], bool] = lambda: False,
) -> RefreshReport:
    """As ``refresh``, on all machines of a Ray cluster. The files must lie where every machine finds them.

    Args:
        index: Open.
        paths: Files, folders or globs.
        ray_address: Of the Ray cluster: ``auto`` for the one that this machine belongs to, ``local`` for this machine
            alone, or ``ray://HOST:10001``.
        fields: See ``refresh``.
        ignore: See ``refresh``.
        prune: See ``refresh``.
        strict: See ``refresh``.
        device: Of the bi-encoder on each machine.
        precision: Of the bi-encoder on each machine.
        committed: See ``refresh``.
        stop: Asked after each batch; once it says True, nothing further is entered.

    Raises:
        UsageError: A path does not exist or is standard input; there is no such Ray cluster, or no Ray.
        DocumentError: With ``strict``, the first failure.
        ClusterError: See ``ClusterIndex``.
    """
    if not isinstance(index, ClusterIndex):
        raise UsageError(f"{index.name}: many machines need an index on a cluster")
    if "-" in map(str, paths):
        raise UsageError("standard input (-) cannot be read by other machines; name files or folders")
    files = list(find_files(paths, ignore=ignore))
    ray = connect(ray_address)
    failures = Failures(strict)
    counts: dict[str, int] = dict.fromkeys(
        ("new", "changed", "unchanged", "chunks", "tokens", "truncated", "emptied"), 0
    )
    empty: list[str] = []
    seen = Seen()
    stopped = False

    for item in files:
        if isinstance(item, Failure):
            failures.note(item)
    rows = [{"file": pickle.dumps(item)} for item in files if isinstance(item, File)]
    arguments = (str(index.connection.address), index.connection.address.key, device, precision)
    with index.changing():
        for handed in _handed(ray, rows, fields or Fields(), arguments):
            if stop():
                stopped = True
                break
            for failure in handed.failures:
                failures.note(failure)
            first = set()
            for document_id, source in handed.met:
                before = seen.note(document_id, source)
                problem = used_before(document_id, before, source) if before else handed.clashes.get(document_id)
                if before is None:
                    first.add(document_id)
                if problem is not None:
                    failures.note(Failure(printable(source), problem, source))
            refused = [begun for begun in handed.stored if begun[0].id not in first]
            index.enter_stored([begun for begun in handed.stored if begun[0].id in first], handed.types)
            index.drop_stored(refused)
            for entry, hash_before, _ in refused:
                counts["changed" if hash_before else "new"] -= 1
                counts["chunks"] -= entry.chunks
            index.delete(handed.gone)
            for name in counts:
                counts[name] += getattr(handed.report, name)
            empty += handed.report.empty[: 100 - len(empty)]
            committed(len(handed.stored) - len(refused))
        removed = prune_unseen(index, seen, paths, failures.sources) if prune and not stopped else 0
    return RefreshReport(
        AddReport(**counts, empty=tuple(empty)), removed, tuple(failures.named), failures.number, stopped
    )


def connect(address: str) -> Any:
    """Ray, connected to the cluster at an address; see ``refresh_on_ray``. A cluster that is to be started on this
    machine must be before an index on a Qdrant cluster is opened, since gRPC does not bear that a process forks.

    Raises:
        UsageError: There is no such cluster, or no Ray.
    """
    os.environ.setdefault("RAY_DATA_DISABLE_PROGRESS_BARS", "1")
    try:
        import ray
        import ray.data
    except ImportError as error:
        raise UsageError(f"embedding on many machines needs {error.name}; type: pip install 'bicross[ray]'") from None
    if not ray.is_initialized():
        try:
            _knock(address)
            ray.init(address, log_to_driver=False, logging_level=logging.ERROR)
        except (OSError, ValueError, RuntimeError) as error:
            reason = (str(error).strip() or type(error).__name__).splitlines()[0][:200]
            raise UsageError(f"no Ray cluster at {address!r} ({reason}); start one with: ray start --head") from None
    return ray


def _knock(address: str) -> None:
    """Whether anybody listens there: Ray itself waits for minutes. OSError or ValueError where nobody does."""
    if address not in ("auto", "local"):
        place = urlsplit(address if "://" in address else f"//{address}")
        if not place.hostname or not place.port:
            raise ValueError("it is auto, local, HOST:PORT or ray://HOST:PORT")
        socket.create_connection((place.hostname, place.port), timeout=5).close()


def _handed(
    ray: Any, rows: list[dict[str, bytes]], fields: Fields, arguments: tuple[str, str, str, str | None]
) -> Iterator[Handed]:
    """What the machines hand over, in the order of the files."""
    if not rows:
        return
    context = ray.data.DataContext.get_current()
    context.target_max_block_size = _BLOCK
    context.execution_options.preserve_order = True
    context.enable_progress_bars = False
    context.scheduling_strategy = "SPREAD"
    logging.getLogger("ray").setLevel(logging.ERROR)
    logging.getLogger("ray.data").setLevel(logging.ERROR)
    machines = max(1, sum(node["Alive"] for node in ray.nodes()))

    def read(row: dict[str, bytes]) -> Iterator[dict[str, bytes]]:
        for item in read_file(pickle.loads(row["file"]), fields):
            yield {"item": pickle.dumps(item)}

    handed = (
        ray.data.from_items(rows, override_num_blocks=min(len(rows), 1000))
        .flat_map(read)
        .map_batches(
            _Machine,
            fn_constructor_args=arguments,
            batch_size=BATCH_DOCUMENTS,
            batch_format="numpy",
            compute=ray.data.ActorPoolStrategy(size=machines),
            num_cpus=0,  # the model takes all cores of its machine, and reading needs some
        )
    )
    for row in handed.iter_rows():
        yield pickle.loads(row["handed"])

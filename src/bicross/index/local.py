"""An index in a folder: SQLite has the catalogue, Qdrant Edge the chunks, one process at a time."""

from __future__ import annotations

import shutil
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any, TypeVar

from bicross.errors import CorpusError, UsageError
from bicross.index import catalogue as catalogues
from bicross.index import lock as locks
from bicross.index import shard as shards
from bicross.index.catalogue import Catalogue
from bicross.index.disk import bytes_taken, check_room, has_room
from bicross.index.embedder import Embedder
from bicross.index.index import Index, IndexStats
from bicross.index.lock import IndexLock
from bicross.index.manifest import FILE, Fingerprint, Manifest, findable, read_manifest, write_manifest
from bicross.index.records import EncodedDocument
from bicross.index.shard import Shard

#: Chunks that gather in memory before they are packed into a segment on disk.
GATHERED = 100_000

T = TypeVar("T")


class LocalIndex(Index):
    """A corpus in a folder. Use ``create``, ``open`` or ``bicross.open``."""

    catalogue: Catalogue
    engine: Shard

    def __init__(
        self, path: Path, manifest: Manifest, embedder: Embedder, catalogue: Catalogue, shard: Shard, lock: IndexLock
    ) -> None:
        super().__init__(str(path), path, manifest, embedder, catalogue, shard)
        self._lock = lock
        self._switching = threading.Lock()  # held while the engine passes from one state to the next
        self._state = 0  # counts the states
        self._gathered = 0  # chunks stored by this process that are not packed yet

    # -- opening and closing -------------------------------------------------------------------------------------

    @staticmethod
    def create(
        path: str | Path, embedder: Embedder, *, chunk_tokens: int | None = None, overlap: int = 0, language: str = "en"
    ) -> LocalIndex:
        """Make an empty index in a folder that does not exist or is empty.

        Raises:
            UsageError: The folder holds something else, or a setting does not suit the encoder.
            IndexLockedError, StorageError: See ``open``; no room for an index.
        """
        path = Path(path)
        fingerprint = Fingerprint.of(embedder, chunk_tokens, overlap=overlap, language=language)
        manifest = Manifest(findable(embedder.name), fingerprint)
        leftovers = {shards.FOLDER, *catalogues.FILES, *locks.FILES, f"{FILE}.new"}  # of an interrupted creation
        try:
            path.mkdir(parents=True, exist_ok=True)
            foreign = sorted(p.name for p in path.iterdir() if p.name not in leftovers)
        except OSError as error:
            raise UsageError(f"{path}: cannot be made a folder ({error.strerror})") from error
        if FILE in foreign:
            raise UsageError(f"{path}: there is an index already; open it with bicross.open, or choose another folder")
        if foreign:
            raise UsageError(f"{path}: the folder is not empty ({foreign[0]}) and not an index; choose another")
        lock = IndexLock(path)
        try:
            check_room(path, 0)
            shutil.rmtree(path / shards.FOLDER, ignore_errors=True)
            for file in catalogues.FILES:
                (path / file).unlink(missing_ok=True)
            shard = Shard.create(path, embedder.dimension)
            catalogue = Catalogue(path, create=True)
            write_manifest(path, manifest)  # last: a folder without it is no index yet
        except BaseException:
            lock.release()
            raise
        return LocalIndex(path, manifest, embedder, catalogue, shard, lock)

    @staticmethod
    def open(
        path: str | Path,
        embedder: Embedder,
        *,
        chunk_tokens: int | None = None,
        overlap: int | None = None,
        language: str | None = None,
    ) -> LocalIndex:
        """Open the index in a folder with the encoder that it was made with.

        Raises:
            UsageError: No such folder.
            CorpusError: Not an index, of another format, or damaged.
            FingerprintError: It was made with another encoder or other settings.
            IndexLockedError: Another process has it open.
        """
        path = Path(path)
        manifest = read_manifest(path)
        settings = {"chunk_tokens": chunk_tokens, "overlap": overlap, "lexical_language": language}
        given: dict[str, Any] = {name: value for name, value in settings.items() if value is not None}
        manifest.check(embedder.name, replace(manifest.fingerprint, encoder=dict(embedder.identity), **given), path)
        lock = IndexLock(path)
        try:
            shard = Shard.load(path, embedder.dimension)
            index = LocalIndex(path, manifest, embedder, Catalogue(path), shard, lock)
            index._recover()
        except BaseException:
            lock.release()
            raise
        return index

    def close(self) -> None:
        """Write everything to disk and let other processes have the folder. Calling it twice does no harm."""
        with self._writing:
            if self._lock.held:
                try:
                    self.engine.close()
                    self.catalogue.close()
                finally:
                    self._lock.release()

    # -- changing ------------------------------------------------------------------------------------------------

    def store(self, batch: list[EncodedDocument]) -> None:
        """See ``Index``; StorageError where there is no room."""
        text_bytes = sum(4 * len(chunk.embedded_text) for d in batch for chunk in d.chunks)
        check_room(self.path, 4 * (sum(d.vectors.nbytes for d in batch) + text_bytes))
        super().store(batch)
        self._gathered += sum(len(d.chunks) for d in batch)
        if self._gathered >= GATHERED:
            check_room(self.path, self.bytes_on_disk() * self._gathered // self.engine.size())
            self._rearrange(self.engine.put_aside)

    def share_fitted(self) -> None:
        """Nothing: it lies in the folder."""

    @contextmanager
    def _moving(self) -> Iterator[None]:
        with self._switching:
            self._state += 1
            yield

    def optimise(self, *, building: Callable[[int], None] = lambda chunks: None) -> None:
        """Build the graph where the corpus has outgrown exact search, or extend it where many chunks are outside of it;
        drop what was deleted. ``add`` ends with it.

        Args:
            building: Called before a graph is built, with the number of chunks: a million take minutes, in which the
                engine lets no other thread of this process run.

        Raises:
            StorageError: There is no room for a second copy while the graph is built. Everything is stored and found,
                if not as fast.
        """
        with self._writing:
            if self.catalogue.outside() > shards.EXACT_UP_TO:
                check_room(self.path, self.bytes_on_disk())
                building(self.count().chunks)
                self._rearrange(self.engine.build_graph)
                self.catalogue.graph_built()
            elif self.engine.size() > shards.EXACT_UP_TO and has_room(self.path, self.bytes_on_disk()):
                self._rearrange(self.engine.tidy)

    def _rearrange(self, change: Callable[[], None]) -> None:
        """Let the engine arrange its chunks in another way, while no search reads them."""
        with self._moving():
            change()
        self._gathered = 0

    # -- reading -------------------------------------------------------------------------------------------------

    def _steady(self, read: Callable[[], T]) -> T:
        """Read again when a batch was switched meanwhile: what comes back is of one state of the index."""
        while True:
            with self._switching:  # wait for a switch under way
                state = self._state
            try:
                result = read()
            except CorpusError:
                if state == self._state:
                    raise
                continue  # the engine was opened anew
            if state == self._state:
                return result

    def stats(self) -> IndexStats:
        """What the index holds."""
        count = self.count()
        in_graph = max(0, count.chunks - self.catalogue.outside())
        return IndexStats(count.documents, count.chunks, self.bytes_on_disk(), in_graph, dict(self._fields))

    def bytes_on_disk(self) -> int:
        """Bytes that the index takes on disk."""
        return bytes_taken(self.path)

"""What a server answers from: the index, both encoders, and the searcher over them."""

from __future__ import annotations

import json
import logging
import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from bicross.encoders import BiEncoder, CrossEncoder
from bicross.errors import BicrossError, UsageError
from bicross.index import Index, read_manifest
from bicross.index.cluster.address import is_address
from bicross.opening import default_cross_encoder, open
from bicross.search import Searcher
from bicross.server.engine import SharedEngine
from bicross.server.metrics import EngineMetrics, Metrics
from bicross.server.remote import SERVED
from bicross.server.settings import Limits

log = logging.getLogger("bicross.server")

#: Seconds between looks whether the path leads to another folder now.
LOOK = 1.0


@dataclass
class Opened:
    """An index that requests use, and how many do."""

    place: Path | str
    index: Index
    searcher: Searcher
    first_stage: Searcher  # without the cross-encoder
    users: int = 0


class Serving:
    """Opens what is served, and opens it anew when its path leads to another folder.

    Args:
        path: The folder of an index, or a link to one: pointed at another folder (``ln -sfn new current``), it is
            served from then on, and no request is lost. Or its address on a cluster, which any number of servers serve.
        metrics: Are told.
        limits: How much the engines remember.
        cross_encoder: By default the one that was adapted to the index, else the one that bicross ships.
        device, precision: Of the models.

    Raises:
        BicrossError: The index or a model cannot be opened.
    """

    def __init__(
        self,
        path: str | Path,
        metrics: Metrics,
        limits: Limits,
        *,
        cross_encoder: str | None = None,
        device: str = "cpu",
        precision: str = "auto",
    ) -> None:
        self.path = str(path) if is_address(path) else Path(path)
        self._metrics = metrics
        self._limits = limits
        self._asked = cross_encoder
        self._device, self._precision = device, precision
        self._engines: list[SharedEngine] = []
        self._lock = threading.Condition()
        self._url = ""
        self._opened = self._open()
        self._ended = threading.Event()
        self._watcher = threading.Thread(target=self._watch, name="bicross-reload", daemon=True)
        self._watcher.start()

    # -- what requests use ---------------------------------------------------------------------------------------

    @contextmanager
    def opened(self) -> Iterator[Opened]:
        """The index of now; it stays open while it is used."""
        with self._lock:
            opened = self._opened
            opened.users += 1
        try:
            yield opened
        finally:
            with self._lock:
                opened.users -= 1
                self._lock.notify_all()

    @property
    def bi_encoder(self) -> BiEncoder:
        embedder = self._opened.index.embedder
        assert isinstance(embedder, BiEncoder)
        return embedder

    @property
    def cross_encoder(self) -> CrossEncoder:
        found = self._opened.searcher.cross_encoder
        assert found is not None
        return found

    def waiting_tokens(self) -> int:
        """Tokens that wait for the encoders."""
        return sum(engine.waiting_tokens for engine in self._engines)

    # -- opening and closing -------------------------------------------------------------------------------------

    def announce(self, url: str) -> None:
        """Leave a note in the folder: who finds it locked may ask here."""
        self._url = url
        if isinstance(self._opened.place, str):
            return
        note = json.dumps({"url": url, "pid": os.getpid()})
        try:
            (self._opened.place / SERVED).write_text(note, encoding="utf-8")
        except OSError as error:
            log.warning("%s: no note of this server could be left there (%s)", self._opened.place, error.strerror)

    def close(self) -> None:
        """Wait for what was begun, then write everything to disk."""
        self._ended.set()
        self._watcher.join()
        with self._lock:
            self._lock.wait_for(lambda: not self._opened.users)
        self._close(self._opened)
        for engine in self._engines:
            engine.close()

    def _open(self) -> Opened:
        place = self.path if isinstance(self.path, str) else self.path.resolve()
        index = open(place, device=self._device)
        index.takes_turns = True
        try:
            self._share(index.embedder)
            name = self._asked or default_cross_encoder(place)
            cross_encoder = CrossEncoder(name, device=self._device, precision=self._precision)
            self._share(cross_encoder)
            searcher = Searcher(index, cross_encoder)
            searcher.warm_up()
        except BaseException:
            index.close()
            raise
        self.count(index)
        return Opened(place, index, searcher, Searcher(index))

    def _share(self, encoder: object) -> None:
        """Put an engine in front of an encoder's own that merges what requests ask."""
        if isinstance(encoder, BiEncoder):
            name, remembered = "bi-encoder", self._limits.remembered_queries
        elif isinstance(encoder, CrossEncoder):
            name, remembered = "cross-encoder", self._limits.remembered_pairs
        else:
            raise UsageError("an index is served with a BiEncoder")
        encoder.engine = SharedEngine(encoder.engine, EngineMetrics(self._metrics, name), remembered)
        self._engines.append(encoder.engine)

    def count(self, index: Index) -> None:
        """Tell the metrics how much is stored."""
        count = index.count()
        self._metrics.documents.set(count.documents)
        self._metrics.chunks.set(count.chunks)

    def _watch(self) -> None:
        if isinstance(self.path, str):
            return  # whatever changes on a cluster is there at once
        while not self._ended.wait(LOOK):
            try:
                folder = self.path.resolve(strict=True)
                if folder == self._opened.place:
                    continue
                read_manifest(folder)  # it is an index, whole
                self._switch()
            except (OSError, BicrossError) as error:
                log.warning("%s: not served yet: %s", self.path, error)

    def _switch(self) -> None:
        """Open what the path leads to now, and let go of what it led to before when nobody uses it any more."""
        before, engines = self._opened, list(self._engines)
        opened = self._open()
        with self._lock:
            self._opened = opened
            self._lock.wait_for(lambda: not before.users)
        self._close(before)
        for engine in engines:
            engine.close()
            self._engines.remove(engine)
        if self._url:
            self.announce(self._url)
        log.info("%s: now serves %s", self.path, opened.place)

    def _close(self, opened: Opened) -> None:
        if isinstance(opened.place, Path):
            (opened.place / SERVED).unlink(missing_ok=True)
        opened.index.close()

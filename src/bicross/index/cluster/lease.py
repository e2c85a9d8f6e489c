"""One process at a time writes to an index on a cluster: a note there says which, and until when.

The note is written on the condition that there is none, or one that has run out, or one's own. Who holds it renews it;
who dies lets it run out.
"""

from __future__ import annotations

import os
import socket
import threading
import time
import uuid

from qdrant_client import models

from bicross.errors import BicrossError, ClusterError, IndexLockedError
from bicross.index.cluster.connection import Connection

#: Seconds that a lease lasts, and between renewals.
LASTS, RENEWED = 45.0, 10.0

_POINT = "5f0f8a3e-6e63-5c54-8a2e-0d6f0f5b8f10"


class Lease:
    """Held from ``take`` until ``release``, if nothing goes wrong."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._owner = str(uuid.uuid4())
        self._holder = f"{socket.gethostname()}, pid {os.getpid()}"
        self._until = 0.0
        self._ended = threading.Event()
        self._thread: threading.Thread | None = None

    @property
    def held(self) -> bool:
        return self._thread is not None

    def take(self, wait: float = 0.0) -> None:
        """Have it, or go on having it.

        Args:
            wait: Seconds to wait for another process that has it.

        Raises:
            IndexLockedError: Another process writes.
            ClusterError: It was lost: the cluster could not be reached for longer than it lasts.
        """
        if self._thread is not None:
            if time.time() > self._until:
                raise ClusterError(
                    f"{self._connection.address}: the cluster could not be reached for {LASTS:.0f} seconds, and "
                    "another process may write now; run the same command again"
                )
            return
        end = time.monotonic() + wait
        while True:
            try:
                self._claim()
                break
            except IndexLockedError:
                if time.monotonic() > end:
                    raise
                time.sleep(0.1)
        self._ended.clear()
        self._thread = threading.Thread(target=self._renew, name="bicross-lease", daemon=True)
        self._thread.start()

    def release(self) -> None:
        """Let others write."""
        if self._thread is not None:
            self._ended.set()
            self._thread.join()
            self._thread = None
            self._note(until=0.0)

    def _claim(self) -> None:
        until = time.time() + LASTS
        self._note(until)
        name = self._connection.address.documents
        found = self._connection.call(
            lambda client: client.retrieve(
                name, [_POINT], with_payload=True, consistency=models.ReadConsistencyType.QUORUM
            )
        )
        payload = (found[0].payload if found else None) or {}
        if payload.get("owner") != self._owner:
            left = max(0.0, float(payload.get("until", 0)) - time.time())
            raise IndexLockedError(
                f"{self._connection.address}: another process writes to it ({payload.get('holder', 'unknown')}); "
                f"wait for it, or if it is dead {left:.0f} seconds, then try again"
            )
        self._until = until

    def _note(self, until: float) -> None:
        """Write it down where nobody else has it."""
        point = models.PointStruct(
            id=_POINT,
            vector={},
            payload={"kind": "lease", "owner": self._owner, "holder": self._holder, "until": until},
        )
        allowed = models.Filter(
            should=[
                models.FieldCondition(key="owner", match=models.MatchValue(value=self._owner)),
                models.FieldCondition(key="until", range=models.Range(lt=time.time())),
            ]
        )
        name = self._connection.address.documents
        self._connection.call(
            lambda client: client.upsert(
                name, [point], wait=True, ordering=models.WriteOrdering.MEDIUM, update_filter=allowed
            )
        )

    def _renew(self) -> None:
        while not self._ended.wait(RENEWED) and time.time() < self._until:  # once it has run out it is gone
            try:
                self._claim()
            except BicrossError:
                continue  # ``take`` says so once it has run out

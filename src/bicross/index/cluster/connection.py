"""Ask the nodes of a cluster: another one where one does not answer, again where that helps, and not for ever.

Everything that is asked can be asked twice: points are written and deleted by their ids, which follow from what they
hold.
"""

from __future__ import annotations

import random
import threading
import time
import warnings
from collections.abc import Callable
from typing import TypeVar

import grpc
import httpx
from qdrant_client import QdrantClient
from qdrant_client.common.client_exceptions import ResourceExhaustedResponse
from qdrant_client.http.exceptions import ResponseHandlingException, UnexpectedResponse

from bicross.errors import ClusterError, UsageError
from bicross.index.cluster.address import KEY, Address

#: The oldest server that has what is used: metadata of collections and conditional updates.
OLDEST = (1, 16)

#: How often a request is sent, to whichever node, and the seconds before it is sent again: longer each time.
ATTEMPTS = 6
PAUSE = 0.2

T = TypeVar("T")

_TRANSIENT = {
    grpc.StatusCode.UNAVAILABLE,
    grpc.StatusCode.DEADLINE_EXCEEDED,
    grpc.StatusCode.INTERNAL,  # what a node says that waits in vain for another one
    grpc.StatusCode.ABORTED,
    grpc.StatusCode.RESOURCE_EXHAUSTED,
    grpc.StatusCode.CANCELLED,
}
_OPTIONS = {
    # a channel whose node died is tried anew at once when the node is back
    "grpc.initial_reconnect_backoff_ms": 100,
    "grpc.max_reconnect_backoff_ms": 1000,
    "grpc.keepalive_time_ms": 20_000,
    "grpc.keepalive_timeout_ms": 5_000,
}


#: What the client raises.
_RAISED = (grpc.RpcError, ResponseHandlingException, UnexpectedResponse, ResourceExhaustedResponse, httpx.HTTPError)


class Connection:
    """The nodes of a cluster, for any number of threads.

    Raises:
        ClusterError: None of them answers, or the server is too old.
        UsageError: The key is wrong.
    """

    def __init__(self, address: Address) -> None:
        self.address = address
        self._clients: dict[tuple[int, float], QdrantClient] = {}
        self._asked = random.randrange(len(address.nodes))  # the node that is asked now: each process has its own
        self._lock = threading.Lock()
        try:
            self._greet()
        except BaseException:
            self.close()
            raise

    def close(self) -> None:
        with self._lock:
            for client in self._clients.values():
                client.close()
            self._clients.clear()

    def call(self, work: Callable[[QdrantClient], T], attempts: int = ATTEMPTS, within: float | None = None) -> T:
        """What ``work`` gives with one node, or with another one where that does not answer in time.

        Args:
            work: Asked of a client; it can be asked twice.
            attempts: How often at most.
            within: Seconds that an answer may take, where that is not the time of the address. A node that is gone or
                stalled is noticed before.

        Raises:
            ClusterError: No node answered, or the cluster failed.
            UsageError: The key is wrong, or does not allow it.
        """
        last: Exception | None = None
        for attempt in range(attempts):
            if attempt:
                time.sleep(PAUSE * 2 ** (attempt - 1))
            node = self._asked
            try:
                return work(self._client(node, within or self.address.timeout))
            except _RAISED as error:
                if not _transient(error):
                    raise self._told(error) from error
                if last is None or _code(error) not in ("", "UNAVAILABLE"):
                    last = error  # what a node says that lives tells more than that another one is dead
            with self._lock:
                if self._asked == node:
                    self._asked = (node + 1) % len(self.address.nodes)
        assert last is not None
        raise self._told(last, attempts) from last

    def _client(self, node: int, timeout: float) -> QdrantClient:
        with self._lock:
            if (node, timeout) not in self._clients:
                host, port = self.address.nodes[node]
                with warnings.catch_warnings():  # of a key without TLS: whoever gave both knows
                    warnings.simplefilter("ignore")
                    self._clients[node, timeout] = QdrantClient(
                        host=f"[{host}]" if ":" in host else host,
                        port=port,
                        grpc_port=port + 1,
                        prefer_grpc=True,
                        https=self.address.tls,
                        api_key=self.address.key or None,
                        timeout=max(1, round(timeout)),
                        grpc_options=dict(_OPTIONS),
                        cloud_inference=True,  # else points are searched for texts to embed: there are none
                        check_compatibility=False,  # looked at below, with a message of ours
                    )
            return self._clients[node, timeout]

    def _greet(self) -> None:
        """Find a node that answers, and see whether it is new enough."""
        version = self.call(lambda client: client.info().version, attempts=1 + len(self.address.nodes))
        numbers = tuple(int(part) for part in version.split("-")[0].split(".")[:2])
        if numbers < OLDEST:
            raise ClusterError(
                f"{self.address}: the server is Qdrant {version}; bicross needs {'.'.join(map(str, OLDEST))} or newer"
            )

    def _told(self, error: Exception, attempts: int = 1) -> ClusterError | UsageError:
        """One line for what the client raised."""
        message = _message(error)
        if _code(error) in ("UNAUTHENTICATED", "PERMISSION_DENIED", "401", "403"):
            given = "the key is wrong, or may not do that" if self.address.key else "it wants a key"
            return UsageError(f"{self.address}: {given}; set {KEY}")
        if attempts > 1:
            return ClusterError(
                f"{self.address}: no answer after {attempts} attempts ({message}); does Qdrant run there, with gRPC on "
                "the next port, and are enough nodes up?"
            )
        return ClusterError(f"{self.address}: the cluster refuses ({message})")


def is_missing(error: BaseException | None) -> bool:
    """Whether a ClusterError says that a collection is not there."""
    return error is not None and _code(error) in ("NOT_FOUND", "404")


def _transient(error: Exception) -> bool:
    if isinstance(error, grpc.RpcError):
        return error.code() in _TRANSIENT
    if isinstance(error, UnexpectedResponse):
        return error.status_code in (408, 429, 500, 502, 503, 504)
    return True  # no connection, or no answer in time


def _code(error: BaseException) -> str:
    if isinstance(error, grpc.RpcError):
        return str(error.code().name)
    return str(error.status_code) if isinstance(error, UnexpectedResponse) else ""


def _message(error: Exception) -> str:
    text = error.details() if isinstance(error, grpc.RpcError) else str(error)
    code = _code(error)
    lines = str(text or type(error).__name__).strip().splitlines()
    return f"{code}: {lines[0][:200]}" if code else lines[0][:200]

"""Where an index on a Qdrant server or cluster is: ``qdrant://HOST[:PORT][,HOST[:PORT] …]/NAME``."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal
from urllib.parse import parse_qs, urlsplit

from bicross.errors import UsageError

#: With TLS it is ``qdrants``.
SCHEMES = ("qdrant", "qdrants")

#: Where the key of the cluster is read from; never from the address, which ends up in histories and logs.
KEY = "QDRANT_API_KEY"

#: Of Qdrant's HTTP interface; that of gRPC is the next one.
PORT = 6333

#: Seconds that one answer of a node may take.
TIMEOUT = 10.0

Quantisation = Literal["none", "int8", "binary"]

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,199}")
_EXAMPLE = "qdrant://127.0.0.1:6333/my-index"


@dataclass(frozen=True)
class Address:
    """An index on a cluster.

    Attributes:
        nodes: Host and HTTP port of each node that may be asked, in that order; any of them knows the whole cluster.
        name: Of the index: the collection of its chunks; that of its documents is called ``NAME.documents``.
        tls: Whether the connection is encrypted.
        timeout: Seconds that one answer of a node may take.
        key: Of the cluster; empty without.
    """

    nodes: tuple[tuple[str, int], ...]
    name: str
    tls: bool = False
    timeout: float = TIMEOUT
    key: str = field(default="", repr=False)

    @property
    def documents(self) -> str:
        """The collection of the catalogue."""
        return f"{self.name}.documents"

    def __str__(self) -> str:
        nodes = ",".join(f"{f'[{host}]' if ':' in host else host}:{port}" for host, port in self.nodes)
        return f"{SCHEMES[self.tls]}://{nodes}/{self.name}"


@dataclass(frozen=True)
class Layout:
    """How a new index is laid out on its cluster.

    Attributes:
        shards: Parts of the collection, which the nodes share; by default two a node, so that there can be twice as
            many later.
        replicas: Copies of each part; by default two where there are several nodes.
        quantisation: The codes that the graph is walked over, in memory: a byte or a bit a number. What they find is
            scored again in full.
        on_disk: Whether the vectors themselves lie on disk, and are read for the few that are scored again.
    """

    shards: int | None = None
    replicas: int | None = None
    quantisation: Quantisation = "int8"
    on_disk: bool = True


def is_address(text: object) -> bool:
    """Whether this names an index on a cluster, rather than a folder."""
    return isinstance(text, str) and text.partition("://")[0] in SCHEMES and "://" in text


def parse_address(text: str, environment: Mapping[str, str] = os.environ) -> Address:
    """The address as it was written; the key comes from the environment.

    Raises:
        UsageError: It is not of that shape; no message shows a key.
    """
    scheme, _, rest = text.partition("://")
    nodes, _, path = rest.partition("/")
    if "@" in rest:
        raise UsageError(f"{scheme}://…@…: leave user and key out of the address; set {KEY}")
    parts = urlsplit(f"//x/{path}")
    options = parse_qs(parts.query, keep_blank_values=True)
    if unknown := sorted(options.keys() - {"timeout"}):
        raise UsageError(
            f"{scheme}://{nodes}{parts.path}: the address has the option {unknown[0]!r}; it may have timeout"
        )
    key = environment.get(KEY, "").strip()
    if not key.isascii() or not key.isprintable():
        raise UsageError(f"{KEY} has characters that no key has; set it to the key of the cluster alone")
    name = parts.path.strip("/")
    if not _NAME.fullmatch(name) or name.endswith(".documents"):
        raise UsageError(
            f"{scheme}://{nodes}/{name[:60]}: the name of an index on a cluster has letters, digits, '.', '_' and '-', "
            f"and does not end in .documents; for example {_EXAMPLE}"
        )
    return Address(
        tuple(_node(node, text) for node in nodes.split(",")),
        name,
        scheme == SCHEMES[1],
        _seconds(options.get("timeout", [str(TIMEOUT)])[-1]),
        key,
    )


def _node(node: str, text: str) -> tuple[str, int]:
    try:
        parts = urlsplit(f"//{node}")
        port = parts.port
    except ValueError:
        parts, port = urlsplit(""), 0
    if not parts.hostname or port == 0 or parts.path or (port or PORT) > 65534:
        raise UsageError(f"{text[:100]}: {node[:60]!r} is no HOST:PORT; for example {_EXAMPLE}")
    return parts.hostname, port or PORT


def _seconds(text: str) -> float:
    try:
        seconds = float(text)
    except ValueError:
        seconds = 0.0
    if not 0 < seconds <= 3600:
        raise UsageError(f"timeout is {text[:20]!r}; it must be seconds between 0 and 3600")
    return seconds

"""What a server is told."""

from __future__ import annotations

import hmac
import ipaddress
import os
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from hashlib import sha256
from pathlib import Path
from typing import Literal

from bicross.errors import UsageError

#: What a key allows.
Right = Literal["read", "write"]

#: Where keys are read from, next to a file.
READ_KEY, WRITE_KEY = "BICROSS_READ_KEY", "BICROSS_API_KEY"

#: Shorter ones can be guessed.
SHORTEST_KEY = 16

#: What a bearer token may be made of (RFC 6750, section 2.1); a line of another kind of file seldom is.
_TOKEN = re.compile(r"[A-Za-z0-9._~+/-]+=*")


@dataclass(frozen=True)
class Keys:
    """Keys that open the server, as SHA-256: what is kept opens nothing.

    Without any everybody may do everything, which is for this machine alone.
    """

    digests: Mapping[bytes, Right] = field(default_factory=dict, repr=False)

    def __bool__(self) -> bool:
        return bool(self.digests)

    def right_of(self, key: str) -> Right | None:
        """What a key allows; None where it is unknown. Takes as long for every key that is wrong."""
        given = sha256(key.encode("utf-8", "surrogateescape")).digest()
        found: Right | None = None
        for digest, right in self.digests.items():
            if hmac.compare_digest(digest, given):
                found = right
        return found


def read_keys(file: Path | None, environment: Mapping[str, str] = os.environ) -> Keys:
    """Keys of a file and of the environment.

    Args:
        file: A key a line; before it ``read`` or ``write`` (the default). Lines that begin with ``#`` do not count.
        environment: ``BICROSS_API_KEY`` reads and writes, ``BICROSS_READ_KEY`` reads.

    Raises:
        UsageError: The file is not there, or a key is too short or of odd characters; no message names a key.
    """
    digests: dict[bytes, Right] = {}

    def add(key: str, right: Right, where: str) -> None:
        if len(key) < SHORTEST_KEY:
            raise UsageError(f"{where}: a key needs at least {SHORTEST_KEY} characters; try: openssl rand -hex 32")
        if not _TOKEN.fullmatch(key):
            raise UsageError(f"{where}: a key has letters, digits and - . _ ~ + / alone; try: openssl rand -hex 32")
        digests[sha256(key.encode()).digest()] = right

    for name, right in ((READ_KEY, "read"), (WRITE_KEY, "write")):
        if key := environment.get(name, "").strip():
            add(key, right, name)  # type: ignore[arg-type]
    if file is not None:
        try:
            lines = file.read_text(encoding="utf-8").splitlines()
        except (OSError, UnicodeDecodeError) as error:
            raise UsageError(f"{file}: the file of keys cannot be read ({error})") from None
        for number, line in enumerate(lines, start=1):
            words = line.split()
            if not words or line.lstrip().startswith("#"):
                continue
            right, key = (words[0], words[1]) if len(words) == 2 else ("write", words[0])
            if len(words) > 2 or right not in ("read", "write"):
                raise UsageError(f"{file}, line {number}: write a key alone, or 'read KEY', or 'write KEY'")
            add(key, right, f"{file}, line {number}")  # type: ignore[arg-type]
        if not digests:
            raise UsageError(f"{file}: there is no key in it")
    return Keys(digests)


@dataclass(frozen=True)
class Limits:
    """What one request, and all of them together, may take.

    Attributes:
        body_bytes: Of a request.
        texts: Texts, pairs or documents of a request.
        text_characters: Of a text.
        top_k: Documents, candidates or results that a request may ask for.
        in_flight: Requests that are worked on or wait; beyond that they are refused with 429.
        waiting_tokens: Tokens that wait for an encoder; beyond that requests are refused with 429.
        body_seconds: In which the body of a request must have come.
        head_seconds: In which a connection must have sent the head of its first request.
        remembered_queries: Embeddings of queries that are kept, a few kilobytes each.
        remembered_pairs: Logits of pairs that are kept, about a hundred bytes each.
    """

    body_bytes: int = 16 * 2**20
    texts: int = 4096
    text_characters: int = 1_000_000
    top_k: int = 1000
    in_flight: int = 256
    waiting_tokens: int = 1_000_000
    body_seconds: float = 20.0
    head_seconds: float = 10.0
    remembered_queries: int = 10_000
    remembered_pairs: int = 200_000


@dataclass(frozen=True)
class Settings:
    """How a server is run.

    Attributes:
        host, port: Where it listens.
        keys: Who may do what.
        limits: See ``Limits``.
        origins: Other web sites whose pages may call it (CORS); by default none.
        names: Names of this machine beside its addresses that requests may come in under; by default any where there
            are keys, and those of this machine itself where there are none: so no web page can reach a server without
            keys through a name of its own (DNS rebinding).
        log_queries: Whether the access log names what was asked.
        page: Whether the page is served.
    """

    host: str = "127.0.0.1"
    port: int = 8000
    keys: Keys = field(default_factory=Keys)
    limits: Limits = field(default_factory=Limits)
    origins: tuple[str, ...] = ()
    names: tuple[str, ...] = ()
    log_queries: bool = False
    page: bool = True

    def check(self) -> None:
        """Raises: UsageError: The server would be open to others without a key."""
        if not self.keys and not is_loopback(self.host):
            raise UsageError(
                f"host {self.host} lets other machines in, and there is no key: set {WRITE_KEY}, or name a file with "
                "--keys; or listen on 127.0.0.1"
            )
        if not 0 <= self.port <= 65535:
            raise UsageError(f"port is {self.port}; it must be between 0 and 65535")


def is_loopback(host: str) -> bool:
    """Whether only this machine reaches the address."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return False

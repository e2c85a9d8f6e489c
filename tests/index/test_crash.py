"""Killed at any moment, or on a full disk, an index is whole when it is opened again: what was acknowledged is there,
nothing is half there, and running again comes to the same bytes as a run that nobody disturbed.
"""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

SCRIPT = Path(__file__).with_name("crash.py")
KILLS = 200


@pytest.mark.slow
def test_killed_200_times_nothing_acknowledged_is_lost(tmp_path: Path) -> None:
    process = subprocess.run(
        [sys.executable, SCRIPT, "kill", tmp_path, str(KILLS), "7"], capture_output=True, text=True, check=False
    )
    assert process.returncode == 0, process.stderr[-3000:]
    report = json.loads(process.stdout)
    assert sum(report["kills"].values()) == KILLS
    assert len(report["kills"]) == 4, "every phase was hit"


@pytest.fixture
def small_disk(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Path]:
    """A file system of so many MiB."""
    path = tmp_path / "disk"
    path.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", f"size={request.param}m", "none", path]
    mounted = subprocess.run(command, capture_output=True, text=True, check=False)
    if mounted.returncode:
        pytest.skip(f"a small file system cannot be mounted here: {mounted.stderr.strip()}")
    yield path
    subprocess.run(["umount", path], check=True)


@pytest.mark.parametrize(("small_disk", "reserve"), [(110, "kept"), (25, "none")], indirect=["small_disk"])
def test_a_full_disk_loses_nothing(small_disk: Path, reserve: str) -> None:
    """With the reserve it is said before the disk is full; without it the engine hits the end, which may kill it."""
    process = subprocess.run(
        [sys.executable, SCRIPT, "fill", small_disk, reserve], capture_output=True, text=True, check=False
    )
    assert process.returncode == 0, process.stderr[-3000:]
    report = json.loads(process.stdout)
    assert report["acknowledged"] > 0
    if reserve == "kept":
        assert "the disk is nearly full" in report["said"]
    assert report["stored_after_making_room"] == report["wanted"]

"""The command line beside a server that has the index open."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

from .conftest import Start


def bicross(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, "-m", "bicross", *arguments], capture_output=True, text=True, timeout=120)


def test_search_asks_the_server(index: Path, serve: Start) -> None:
    query = ("search", str(index), "remove white space from both ends", "--json", "--explain")
    alone = bicross(*query)
    server = serve(index)
    beside = bicross(*query)
    assert beside.returncode == 0, beside.stderr
    before, after = ([json.loads(line) for line in done.stdout.splitlines()] for done in (alone, beside))
    assert [hit["document_id"] for hit in after] == [hit["document_id"] for hit in before]
    assert after[0].keys() == before[0].keys() and after[0]["reading"] == before[0]["reading"]
    assert server.metric('bicross_requests_total{method="POST",route="/search"') >= 1
    shown = bicross("search", str(index), "white space", "--explain")
    assert shown.returncode == 0 and "rerank" in shown.stdout
    wrong = bicross("search", str(index), "x", "--filter", "home ==")
    assert wrong.returncode == 2 and "filter" in wrong.stderr
    other = bicross("search", str(index), "x", "--cross-encoder", "some-model")
    assert other.returncode == 2 and "leave out --cross-encoder" in other.stderr
    locked = bicross("delete", str(index), "str.strip")
    assert locked.returncode == 1 and "open in another process" in locked.stderr
    server.stop()
    assert bicross(*query).returncode == 0


def test_a_server_that_was_killed_is_not_asked(index: Path, serve: Start) -> None:
    server = serve(index)
    server.stop(9)
    done = bicross("search", str(index), "white space")
    assert done.returncode == 0, done.stderr

"""What a second server process brings to reranking and searching: one index on a cluster, a core for each process.

A Qdrant server holds the documentation of Python; before it stand one or two ``bicross serve``, each held to a core of
its own, each with clients of its own. With one process the other core is left to the clients and Qdrant; with two, all
share two cores. So a search, which gives Qdrant work, gains less here than with a machine for each process. Both take
turns, for some rounds. Prints a line a round and writes ``benchmarks/results/processes.json``.

Run: ``python benchmarks/processes.py``
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
from contextlib import ExitStack
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parent.parent / "tests" / "cluster"))
sys.path.insert(0, str(Path(__file__).parent.parent / "examples"))

from demo import python_documentation
from qdrant_node import Node
from serve import free_port, server

import bicross

RESULTS = Path(__file__).parent / "results" / "processes.json"
LOAD = [sys.executable, str(Path(__file__).parent / "serve.py"), "--as-load"]
ROUTES = ("rerank", "search")
CLIENTS = 8  # of each process


def rates(urls: list[str], route: str, seconds: float, seed: int) -> list[dict[str, Any]]:
    """What each process answers while all are asked."""
    loads = [
        subprocess.Popen(
            [*LOAD, url, route, "bicross", str(CLIENTS), str(seconds), str(seed + n)], stdout=subprocess.PIPE
        )
        for n, url in enumerate(urls)
    ]
    return [json.loads(load.communicate()[0]) for load in loads]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=10.0, help="of each measurement")
    parser.add_argument("--rounds", type=int, default=3)
    asked = parser.parse_args()
    found: dict[str, dict[int, list[float]]] = {route: {1: [], 2: []} for route in ROUTES}
    errors = 0
    with tempfile.TemporaryDirectory() as folder:
        node = Node(Path(folder) / "node")
        address = f"qdrant://127.0.0.1:{node.http}/documentation"
        with bicross.create(address) as index:
            chunks = index.add(python_documentation()).chunks
        try:
            for number in range(asked.rounds):
                for processes in (1, 2):
                    with ExitStack() as running:
                        urls = []
                        for core in range(processes):
                            port = free_port()
                            command = ["taskset", "-c", str(core), sys.executable, "-m", "bicross", "serve", address]
                            urls.append(running.enter_context(server([*command, "--port", str(port)], port, "/ready")))
                        for route in ROUTES:
                            rates(urls, route, 3.0, 100)  # warms up
                            answers = rates(urls, route, asked.seconds, 1000 + 10 * number)
                            errors += sum(answer["errors"] for answer in answers)
                            found[route][processes].append(round(sum(a["requests_per_s"] for a in answers), 2))
                    print(number, processes, {route: found[route][processes][-1] for route in ROUTES}, flush=True)
        finally:
            node.stop()
    rows = {}
    for route, by in found.items():
        one, two = statistics.median(by[1]), statistics.median(by[2])
        ratio = statistics.median(b / a for a, b in zip(by[1], by[2], strict=True))
        rows[route] = {"one": one, "two": two, "ratio": round(ratio, 2), "rounds": by}
    RESULTS.write_text(json.dumps({"chunks": chunks, "clients": CLIENTS, "errors": errors, **rows}, indent=1) + "\n")
    print(rows)


if __name__ == "__main__":
    main()

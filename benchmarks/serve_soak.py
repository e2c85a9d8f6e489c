"""A long mixed load on a server that is killed again and again: is every acknowledged write there, is memory flat?

Some clients search, rerank, embed, write and delete, with pauses; now and then the process is killed with SIGKILL and
started again. After each start everything that was acknowledged is looked up: what was stored must be there in its last
version, what was deleted must be gone. What was under way at the kill may be either. Prints a line a life and writes
``benchmarks/results/serve-soak.json``.

Run: ``python benchmarks/serve_soak.py --minutes 30``
"""

from __future__ import annotations

import argparse
import json
import os
import random
import signal
import subprocess
import sys
import tempfile
import threading
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

os.environ["HF_HUB_OFFLINE"] = "1"
sys.path.insert(0, str(Path(__file__).parent.parent / "examples"))

import httpx
from demo import python_documentation
from serve import free_port

import bicross

RESULTS = Path(__file__).parent / "results" / "serve-soak.json"
WORDS = Path(__file__).read_text().split()


@dataclass
class Ledger:
    """What the server acknowledged: the text of each document that must be there, or None where it must not.

    What is under way is in ``open``: it may be there or not.
    """

    known: dict[str, str | None] = field(default_factory=dict)
    open: dict[str, list[str | None]] = field(default_factory=dict)
    lock: threading.Lock = field(default_factory=threading.Lock)
    answered: int = 0
    failed: list[str] = field(default_factory=list)


def client(url: str, ledger: Ledger, stop: threading.Event, seed: int, pause: float) -> None:
    """One client, until it is told to stop or the server is gone."""
    rng = random.Random(seed)
    with httpx.Client(base_url=url, timeout=60) as http:
        while not stop.wait(rng.random() * 2 * pause):
            text = " ".join(rng.choices(WORDS, k=rng.randint(5, 60)))
            kind = rng.random()
            try:
                if kind < 0.45:
                    answer = http.post("/search", json={"query": text[:80], "candidates": 20})
                elif kind < 0.55:
                    answer = http.post("/v1/rerank", json={"query": text[:80], "documents": [text, text[::-1]]})
                elif kind < 0.65:
                    answer = http.post("/v1/embeddings", json={"input": text})
                else:
                    answer = change(http, ledger, f"c{seed}-{rng.randrange(200)}", None if kind > 0.93 else text)
            except httpx.TransportError:
                if stop.is_set():
                    return
                time.sleep(0.2)
                continue
            with ledger.lock:
                ledger.answered += 1
                if answer.status_code >= 400 and answer.status_code not in (404, 429):
                    ledger.failed.append(f"{answer.status_code} {answer.text[:200]}")


def change(http: httpx.Client, ledger: Ledger, document_id: str, text: str | None) -> httpx.Response:
    """Store or delete a document, and note what must be there afterwards. Each id is one client's."""
    with ledger.lock:
        ledger.open[document_id] = [ledger.known.get(document_id), text]
    if text is None:
        answer = http.request("DELETE", "/documents", json={"ids": [document_id]})
    else:
        answer = http.post("/documents", json={"documents": [{"id": document_id, "text": text}]})
    if answer.status_code == 200:
        with ledger.lock:
            ledger.known[document_id] = text
            del ledger.open[document_id]
    return answer


def missing(url: str, ledger: Ledger) -> list[str]:
    """Where the server holds something else than it acknowledged; what was under way is settled by what is there."""
    wrong = []
    with httpx.Client(base_url=url, timeout=60) as http:
        for document_id in [*ledger.known, *(i for i in ledger.open if i not in ledger.known)]:
            answer = http.get(f"/documents/{document_id}")
            there = None if answer.status_code == 404 else " ".join(c["text"] for c in answer.json()["chunks"])
            may_be = ledger.open.pop(document_id, [ledger.known.get(document_id)])
            if there not in may_be:
                wrong.append(document_id)
            ledger.known[document_id] = there
    return wrong


def started(index: Path, log: Path) -> tuple[subprocess.Popen[bytes], str]:
    """A server that is ready, and where."""
    port = free_port()
    url = f"http://127.0.0.1:{port}"
    with log.open("a") as out:
        command = [sys.executable, "-m", "bicross", "serve", str(index), "--port", str(port)]
        process = subprocess.Popen(command, stdout=out, stderr=out)
    while True:
        try:
            if httpx.get(f"{url}/ready", timeout=5).status_code == 200:
                return process, url
        except httpx.TransportError:
            assert process.poll() is None, log.read_text()[-2000:]
        time.sleep(0.2)


def resident_mb(pid: int) -> float:
    status = Path(f"/proc/{pid}/status").read_text()
    return int(status.split("VmRSS:")[1].split()[0]) / 1024


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--minutes", type=float, default=30.0)
    parser.add_argument("--life", type=float, default=150.0, help="seconds from a start to its kill, in the mean")
    parser.add_argument("--clients", type=int, default=4)
    parser.add_argument(
        "--pause", type=float, default=0.2, help="seconds between two requests of a client, in the mean"
    )
    args = parser.parse_args()
    rng = random.Random(1)
    ledger = Ledger()
    lives: list[dict[str, Any]] = []
    end = time.monotonic() + 60 * args.minutes
    with tempfile.TemporaryDirectory() as temporary:
        index = Path(temporary) / "index"
        with bicross.create(index) as made:
            made.add(list(python_documentation())[:500])
        while time.monotonic() < end:
            process, url = started(index, Path(temporary) / "log")
            wrong = missing(url, ledger)
            stop = threading.Event()
            seeds = range(args.clients)
            threads = [threading.Thread(target=client, args=(url, ledger, stop, n, args.pause)) for n in seeds]
            for thread in threads:
                thread.start()
            memory = []
            # the first life is a long one: memory shows over time
            seconds = rng.uniform(0.3, 1.7) * args.life if lives else 4 * args.life
            until = min(end, time.monotonic() + seconds)
            while time.monotonic() < until:
                time.sleep(min(10.0, max(0.1, until - time.monotonic())))
                memory.append(round(resident_mb(process.pid)))
            process.send_signal(signal.SIGKILL)
            process.wait()
            stop.set()
            for thread in threads:
                thread.join()
            lives.append(
                {"seconds": 10 * len(memory), "lost": len(wrong), "memory_mb": memory[:: max(1, len(memory) // 10)]}
            )
            print(lives[-1], ledger.answered, len(ledger.known), ledger.failed[:2], flush=True)
        process, url = started(index, Path(temporary) / "log")
        lost_at_last = len(missing(url, ledger))
        process.send_signal(signal.SIGTERM)
        assert process.wait(60) == 0
    report = {
        "minutes": args.minutes,
        "kills": len(lives),
        "answered": ledger.answered,
        "failed": len(ledger.failed),
        "documents_looked_up": len(ledger.known),
        "lost": sum(life["lost"] for life in lives) + lost_at_last,
        "lives": lives,
    }
    RESULTS.write_text(json.dumps(report, indent=1) + "\n")
    print({k: v for k, v in report.items() if k != "lives"})


if __name__ == "__main__":
    main()

"""Requests a second and how long they take, beside other servers, all on the same machine in turns.

Each server is a process of its own, and so is the load: so many clients, each with one request on its way, for some
seconds. bicross stands there as it comes, and with both models in int8. The others are FastAPI over
sentence-transformers as anybody would write it (a request, a call), and infinity where it is installed. Every text is
new, so nothing is remembered. Prints a table and writes ``benchmarks/results/serve.json``: rows of ``system``,
``route``, ``clients``, ``requests_per_s``, ``p50_ms``, ``p99_ms``, ``errors``.

Run: ``python benchmarks/serve.py``; ``--infinity COMMAND`` names that of an environment that has infinity-emb.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import random
import signal
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

os.environ["HF_HUB_OFFLINE"] = "1"

RESULTS = Path(__file__).parent / "results" / "serve.json"
CLIENTS = (1, 8, 32, 128)
ROUTES = ("embed", "rerank", "search")

#: Documents of a request to rerank.
RERANKED = 10


# -- the servers -----------------------------------------------------------------------------------------------------


def plain(port: int, bi_encoder: str, cross_encoder: str) -> None:
    """What one writes without bicross: FastAPI, sentence-transformers, a call for each request."""
    import uvicorn
    from fastapi import FastAPI
    from sentence_transformers import CrossEncoder, SentenceTransformer

    # f32, as both are trained: in the fp16 of the file they crawl on a CPU
    whole = {"dtype": "float32"}
    embedder = SentenceTransformer(bi_encoder, model_kwargs=whole)
    judge = CrossEncoder(cross_encoder, model_kwargs=whole)
    app = FastAPI()

    @app.get("/ready")
    def ready() -> bool:
        return True

    @app.post("/embed")
    def embed(asked: dict[str, Any]) -> list[list[float]]:
        return embedder.encode([asked["inputs"]]).tolist()

    @app.post("/v1/rerank")
    def rerank(asked: dict[str, Any]) -> list[dict[str, float]]:
        scores = judge.predict([(asked["query"], document) for document in asked["documents"]])
        return [{"index": int(i), "relevance_score": float(scores[i])} for i in (-scores).argsort()]

    uvicorn.run(app, port=port, access_log=False, log_level="warning")


@contextmanager
def server(command: list[str], port: int, ready: str) -> Iterator[str]:
    """A server process, ready."""
    url = f"http://127.0.0.1:{port}"
    with tempfile.TemporaryFile() as log:
        process = subprocess.Popen(command, stdout=log, stderr=log)
        try:
            import httpx

            end = time.monotonic() + 180
            while True:
                try:
                    if httpx.get(url + ready, timeout=2).status_code == 200:
                        break
                except httpx.TransportError:
                    pass
                if process.poll() is not None or time.monotonic() > end:
                    log.seek(0)
                    raise SystemExit(log.read().decode(errors="replace")[-3000:])
                time.sleep(0.2)
            yield url
        finally:
            process.send_signal(signal.SIGTERM)
            process.wait(60)


def free_port() -> int:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return int(free.getsockname()[1])


# -- the load, a process of its own ----------------------------------------------------------------------------------


def load(url: str, route: str, system: str, clients: int, seconds: float, seed: int) -> None:
    """Ask for some seconds, and print what came of it."""
    print(json.dumps(asyncio.run(_load(url, route, system, clients, seconds, seed))))


async def _load(url: str, route: str, system: str, clients: int, seconds: float, seed: int) -> dict[str, Any]:
    import aiohttp

    rng = random.Random(seed)
    words = Path(__file__).read_text().split()
    path = {"embed": "/embed", "rerank": "/v1/rerank", "search": "/search"}[route]
    if system == "infinity":
        path = {"embed": "/embeddings", "rerank": "/rerank"}[route]

    def text(most: int) -> str:
        return " ".join(rng.choices(words, k=rng.randint(most // 3, most)))

    def body() -> dict[str, Any]:
        if route == "search":
            return {"query": text(10), "candidates": 20}
        if route == "rerank":
            return {"model": "reranker", "query": text(10), "documents": [text(80) for _ in range(RERANKED)]}
        return {"model": "embedder", "input": text(40)} if system == "infinity" else {"inputs": text(40)}

    taken: list[float] = []
    errors = 0
    end = time.perf_counter() + seconds

    async def ask(session: aiohttp.ClientSession) -> None:
        nonlocal errors
        while time.perf_counter() < end:
            sent = json.dumps(body())
            begun = time.perf_counter()
            try:
                async with session.post(url + path, data=sent, headers={"content-type": "application/json"}) as answer:
                    await answer.read()
                    errors += answer.status != 200
            except aiohttp.ClientError:
                errors += 1
            taken.append(time.perf_counter() - begun)

    connector = aiohttp.TCPConnector(limit=clients)
    async with aiohttp.ClientSession(connector=connector, timeout=aiohttp.ClientTimeout(120)) as session:
        begun = time.perf_counter()
        await asyncio.gather(*(ask(session) for _ in range(clients)))
        whole = time.perf_counter() - begun
    taken.sort()
    return {
        "requests_per_s": round((len(taken) - errors) / whole, 2),
        "p50_ms": round(1e3 * taken[len(taken) // 2], 1),
        "p99_ms": round(1e3 * taken[min(len(taken) - 1, int(0.99 * len(taken)))], 1),
        "errors": errors,
    }


# -- the comparison --------------------------------------------------------------------------------------------------


def median_of(rounds: list[dict[str, Any]]) -> dict[str, Any]:
    shown = {name: statistics.median(r[name] for r in rounds) for name in ("requests_per_s", "p50_ms", "p99_ms")}
    return {**shown, "errors": sum(r["errors"] for r in rounds), "rounds": [r["requests_per_s"] for r in rounds]}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=6.0, help="of each measurement")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--clients", type=int, nargs="*", default=CLIENTS)
    parser.add_argument("--infinity", default=None, help="the command infinity_emb of an environment of its own")
    args = parser.parse_args()
    from demo import python_documentation

    import bicross
    from bicross.encoders.loading import DEFAULT_CROSS_ENCODER, find_model

    bi_encoder, cross_encoder = (str(find_model(n)) for n in ("all-MiniLM-L6-v2", DEFAULT_CROSS_ENCODER))
    me = [sys.executable, __file__]
    with tempfile.TemporaryDirectory() as temporary:
        ports = {name: free_port() for name in ("bicross", "bicross int8", "plain", "infinity")}
        systems: dict[str, tuple[list[str], str]] = {}
        for name, precision in (("bicross", "auto"), ("bicross int8", "int8")):
            index = str(Path(temporary) / precision)
            with bicross.create(index, precision=precision) as made:
                made.add(python_documentation())
            options = ["--port", str(ports[name]), "--precision", precision]
            systems[name] = ([sys.executable, "-m", "bicross", "serve", index, *options], "/ready")
        systems["plain"] = ([*me, "--as-plain", str(ports["plain"]), bi_encoder, cross_encoder], "/ready")
        if args.infinity:
            command = [args.infinity, "v2", "--port", str(ports["infinity"]), "--device", "cpu"]
            for model, name in ((bi_encoder, "embedder"), (cross_encoder, "reranker")):
                command += ["--model-id", model, "--served-model-name", name]
            systems["infinity"] = (command, "/health")
        rows: dict[tuple[str, str, int], list[dict[str, Any]]] = {}
        for number in range(args.rounds):
            for system, (command, ready) in systems.items():  # one at a time: the others would take its cores
                with server(command, ports[system], ready) as url:
                    for route in ROUTES:
                        if route == "search" and not system.startswith("bicross"):
                            continue
                        for clients in (4, *args.clients):  # the first one warms up, and is not counted
                            seconds = args.seconds if clients != 4 else 2.0
                            asked = [url, route, system, str(clients), str(seconds), str(1000 * number + clients)]
                            done = subprocess.run([*me, "--as-load", *asked], capture_output=True, text=True)
                            if done.returncode:
                                raise SystemExit(done.stderr)
                            if clients != 4:
                                rows.setdefault((system, route, clients), []).append(json.loads(done.stdout))
                                print(number, system, route, clients, done.stdout.strip(), flush=True)
    shown = [
        {"system": system, "route": route, "clients": clients, **median_of(rounds)}
        for (system, route, clients), rounds in rows.items()
    ]
    RESULTS.write_text(json.dumps(shown, indent=1) + "\n")
    for row in shown:
        print(row)


if __name__ == "__main__":
    sys.path.insert(0, str(Path(__file__).parent.parent / "examples"))
    if sys.argv[1:2] == ["--as-plain"]:
        plain(int(sys.argv[2]), *sys.argv[3:])
    elif sys.argv[1:2] == ["--as-load"]:
        url, route, system, clients, seconds, seed = sys.argv[2:]
        load(url, route, system, int(clients), float(seconds), int(seed))
    else:
        main()

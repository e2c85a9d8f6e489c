"""Run the server until it is told to stop: what was accepted is finished first."""

from __future__ import annotations

import asyncio
import logging
import signal
import socket
from pathlib import Path
from typing import TYPE_CHECKING, Any

import uvicorn
from starlette.types import ASGIApp
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from bicross.errors import UsageError
from bicross.server.app import build_app
from bicross.server.intake import Intake
from bicross.server.metrics import Metrics
from bicross.server.serving import Serving
from bicross.server.settings import Settings
from bicross.server.tracing import tracing

if TYPE_CHECKING:
    from mcp.server import MCPServer

#: Seconds that a stop waits for requests that are under way.
GRACE = 30


def serve(
    path: str | Path,
    settings: Settings,
    *,
    cross_encoder: str | None = None,
    device: str = "cpu",
    precision: str = "auto",
) -> None:
    """Serve the index in a folder until SIGTERM or Ctrl-C.

    Raises:
        UsageError: It would be open to others without a key, or the port is taken.
        BicrossError: The index or a model cannot be opened.
    """
    settings.check()
    traces = tracing()
    _log()
    listening = _listen(settings)
    try:
        metrics = Metrics()
        serving = Serving(
            path, metrics, settings.limits, cross_encoder=cross_encoder, device=device, precision=precision
        )
    except BaseException:
        listening.close()
        raise
    host, port = listening.getsockname()[:2]
    url = f"http://{f'[{host}]' if ':' in host else host}:{port}"
    serving.announce(url)
    logging.getLogger("bicross.server").info("%s is served at %s", path, url)
    _run(build_app(serving, settings, metrics, traces), settings, listening)


def run_mcp(server: MCPServer, settings: Settings) -> None:
    """Serve tools at ``/mcp`` until SIGTERM or Ctrl-C, behind what stands before the HTTP server too."""
    _log()
    listening = _listen(settings)
    metrics = Metrics()
    # one answer a request: no session is kept, so that there is nothing to fill the memory with
    app = server.streamable_http_app(json_response=True, stateless_http=True, host=settings.host)
    traces = tracing()
    app.add_middleware(Intake, settings=settings, metrics=metrics, waiting_tokens=lambda: 0, traces=traces)
    logging.getLogger("bicross.server").info("MCP is served at http://%s:%s/mcp", *listening.getsockname()[:2])
    try:
        _run(app, settings, listening)
    finally:
        traces.close()


def _run(app: ASGIApp, settings: Settings, listening: socket.socket) -> None:
    config = uvicorn.Config(
        app,
        http=_patient(settings.limits.head_seconds),
        log_config=None,
        access_log=False,  # our own says no more than it must
        server_header=False,
        proxy_headers=False,
        timeout_keep_alive=30,
        timeout_graceful_shutdown=GRACE,
    )
    for told in (signal.SIGTERM, signal.SIGINT):  # uvicorn stops by them, and then raises them once more
        signal.signal(told, lambda number, frame: None)
    uvicorn.Server(config).run(sockets=[listening])


def _listen(settings: Settings) -> socket.socket:
    """A socket at the address, before the models are loaded: a port that is taken is said at once."""
    family = socket.AF_INET6 if ":" in settings.host else socket.AF_INET
    made = socket.socket(family, socket.SOCK_STREAM)
    made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        made.bind((settings.host.strip("[]"), settings.port))
    except OSError as error:
        made.close()
        raise UsageError(
            f"cannot listen on {settings.host}:{settings.port} ({error.strerror}); choose another --port"
        ) from None
    return made


def _patient(seconds: float) -> type[asyncio.Protocol]:
    """The protocol of uvicorn, but a connection that sends no whole head in time is cut (slow loris)."""

    class Patient(HttpToolsProtocol):
        def connection_made(self, transport: Any) -> None:
            super().connection_made(transport)
            self.cut = asyncio.get_running_loop().call_later(seconds, transport.abort)

        def on_headers_complete(self) -> None:
            self.cut.cancel()
            super().on_headers_complete()

        def on_message_begin(self) -> None:
            if self.cut.cancelled():  # of a later request on the same connection
                self.cut = asyncio.get_running_loop().call_later(seconds, self.transport.abort)
            super().on_message_begin()

        def connection_lost(self, error: Exception | None) -> None:
            self.cut.cancel()
            super().connection_lost(error)

    return Patient


def _log() -> None:
    """Both logs to standard error, a line an entry."""
    handler = logging.StreamHandler()
    handler.setFormatter(logging.Formatter("%(message)s"))
    for name in ("bicross.access", "bicross.server", "uvicorn.error"):
        logger = logging.getLogger(name)
        logger.handlers, logger.propagate = [handler], False
        logger.setLevel(logging.WARNING if name == "uvicorn.error" else logging.INFO)

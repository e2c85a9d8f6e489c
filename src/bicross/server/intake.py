"""What comes in: bodies within bounds, no more requests than can be served, and none that nobody waits for.

Plain ASGI, so that a streamed answer stays one.
"""

from __future__ import annotations

import asyncio
import json
import logging
import time
from collections.abc import Callable
from contextlib import suppress

from starlette.datastructures import Headers
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from bicross.server.engine import Work, working
from bicross.server.metrics import Metrics
from bicross.server.settings import Keys, Right, Settings, is_loopback
from bicross.server.tracing import Span, Tracing

log = logging.getLogger("bicross.access")

#: Methods whose body changes something, or is work.
_WITH_BODY = ("POST", "PUT", "PATCH", "DELETE")

#: What anybody may see who reaches the server: whether it lives, and the page (which asks for the key itself).
_OPEN = ("/", "/health", "/ready", "/page/")

#: What is answered without queueing.
_LIGHT = (*_OPEN, "/metrics", "/openapi.json", "/docs")

#: Seconds after which a client that was refused may try again.
RETRY_AFTER = 1

HEADERS = [
    (b"x-content-type-options", b"nosniff"),
    (b"x-frame-options", b"DENY"),
    (b"referrer-policy", b"no-referrer"),
    (b"cross-origin-opener-policy", b"same-origin"),
    (b"cross-origin-resource-policy", b"same-origin"),
    (
        b"content-security-policy",
        b"default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self'; "
        b"base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
    ),
]


class RefusedError(Exception):
    """A request that is not taken on."""

    def __init__(self, status: int, message: str, why: str, headers: dict[str, str] | None = None) -> None:
        super().__init__(message)
        self.status, self.message, self.why, self.headers = status, message, why, headers or {}


def error_body(message: str, kind: str) -> dict[str, object]:
    """The body of every error: as clients of OpenAI's interface read it, and of Cohere's."""
    return {"message": message, "error": {"message": message, "type": kind}}


class Intake:
    """Everything that is asked of a request before it reaches its route.

    Args:
        app: What serves it.
        settings: Of the server.
        metrics: Is told.
        waiting_tokens: How many tokens wait for the encoders.
        traces: Of requests.
    """

    def __init__(
        self, app: ASGIApp, settings: Settings, metrics: Metrics, waiting_tokens: Callable[[], int], traces: Tracing
    ) -> None:
        self._app = app
        self._traces = traces
        self._settings = settings
        self._metrics = metrics
        self._waiting_tokens = waiting_tokens
        self._in_flight = 0

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        begun = time.perf_counter()
        answer = _Answer(send)
        with self._traces.request(scope["method"], Headers(scope=scope)) as span:
            try:
                await self._take(scope, receive, answer)
            except RefusedError as refused:
                self._metrics.refused.labels(refused.why).inc()
                await answer.error(refused.status, refused.message, refused.why, refused.headers)
            finally:
                self._note(scope, answer, time.perf_counter() - begun, span)

    async def _take(self, scope: Scope, receive: Receive, send: _Answer) -> None:
        headers = Headers(scope=scope)
        path: str = scope["path"]
        self._check_origin(headers)
        if not _one_of(path, _OPEN):
            scope["bicross.right"] = right_of(headers, self._settings.keys)
        if _one_of(path, _LIGHT) and scope["method"] not in _WITH_BODY:
            await self._app(scope, receive, send)
            return
        limits = self._settings.limits
        if self._in_flight >= limits.in_flight or self._waiting_tokens() > limits.waiting_tokens:
            raise RefusedError(
                429, "too many requests wait; try again later", "busy", {"Retry-After": str(RETRY_AFTER)}
            )
        self._in_flight += 1
        self._metrics.in_flight.set(self._in_flight)
        try:
            body = await self._body(scope, headers, receive)
            await self._work(scope, body, receive, send)
        finally:
            self._in_flight -= 1
            self._metrics.in_flight.set(self._in_flight)

    def _check_origin(self, headers: Headers) -> None:
        """No web page may call a server that it does not come from, unless it was named."""
        host = headers.get("host", "")
        bare = host.rsplit(":", 1)[0] if not host.endswith("]") else host
        if not self._settings.keys and not is_loopback(bare) and bare not in self._settings.names:
            raise RefusedError(421, f"this server is not called {bare or '(no name)'}", "host")
        origin = headers.get("origin")
        if origin and origin not in self._settings.origins and origin.partition("://")[2] != host:
            raise RefusedError(403, f"pages of {origin} may not call this server", "origin")

    async def _body(self, scope: Scope, headers: Headers, receive: Receive) -> bytes:
        """All of it, before anything is done: in time, and no more than is allowed."""
        limits = self._settings.limits
        if scope["method"] in _WITH_BODY:
            kind = headers.get("content-type", "").partition(";")[0].strip().lower()
            length = headers.get("content-length", "0")
            has_body = length != "0" or "transfer-encoding" in headers
            # text/plain and forms are what a foreign page may send without being asked for leave
            if has_body and kind != "application/json":
                raise RefusedError(415, "send JSON, with Content-Type: application/json", "content type")
            if length.isdigit() and int(length) > limits.body_bytes:
                raise RefusedError(413, f"a request may have {limits.body_bytes:,} bytes", "too large")
        parts: list[bytes] = []
        size = 0
        try:
            async with asyncio.timeout(limits.body_seconds):
                while True:
                    message = await receive()
                    if message["type"] == "http.disconnect":
                        raise RefusedError(499, "the client went away", "gone")
                    parts.append(message.get("body", b""))
                    size += len(parts[-1])
                    if size > limits.body_bytes:
                        raise RefusedError(413, f"a request may have {limits.body_bytes:,} bytes", "too large")
                    if not message.get("more_body"):
                        return b"".join(parts)
        except TimeoutError:
            raise RefusedError(
                408, f"the body did not come within {limits.body_seconds:g} seconds", "slow", {"Connection": "close"}
            ) from None

    async def _work(self, scope: Scope, body: bytes, receive: Receive, send: Send) -> None:
        """Serve it, and drop it when the client goes away."""
        work = Work(urgent=True)
        working.set(work)
        sent = False

        async def replay() -> Message:
            nonlocal sent
            if not sent:
                sent = True
                return {"type": "http.request", "body": body, "more_body": False}
            await asyncio.Event().wait()  # who asks again waits for a disconnection, which is seen below
            raise AssertionError

        async def watch() -> None:
            while (await receive())["type"] != "http.disconnect":
                pass
            work.gone.set()

        watcher = asyncio.create_task(watch())
        try:
            await self._app(scope, replay, send)
        finally:
            watcher.cancel()
            with suppress(asyncio.CancelledError):
                await watcher
            if work.gone.is_set():
                self._metrics.abandoned.labels("gone").inc()

    def _note(self, scope: Scope, answer: _Answer, seconds: float, span: Span) -> None:
        route = getattr(scope.get("route"), "path", None) or ("other" if answer.status >= 400 else scope["path"])
        self._metrics.requests.labels(route, scope["method"], str(answer.status)).inc()
        self._metrics.request_seconds.labels(route).observe(seconds)
        span.update_name(f"{scope['method']} {route}")
        span.set_attribute("http.route", route)
        span.set_attribute("http.response.status_code", answer.status)
        entry = {
            "time": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
            "client": (scope.get("client") or ("",))[0],
            "method": scope["method"],
            "route": route,
            "status": answer.status,
            "ms": round(1e3 * seconds, 2),
            "bytes": answer.bytes,
        }
        if self._settings.log_queries and (asked := scope.get("bicross.asked")):
            entry["query"] = asked
        log.info(json.dumps(entry, ensure_ascii=False))


class _Answer:
    """What is sent, with our headers, and what became of it."""

    def __init__(self, send: Send) -> None:
        self._send = send
        self.status = 0
        self.bytes = 0

    async def __call__(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            self.status = message["status"]
            given = {name.lower() for name, _ in message.get("headers", [])}
            added = [(name, value) for name, value in HEADERS if name not in given]
            message = {**message, "headers": [*message.get("headers", []), *added]}
        else:
            self.bytes += len(message.get("body", b""))
        await self._send(message)

    async def error(self, status: int, message: str, kind: str, headers: dict[str, str]) -> None:
        body = json.dumps(error_body(message, kind)).encode()
        sent = {"content-type": "application/json", "content-length": str(len(body)), **headers}
        pairs = [(name.lower().encode(), value.encode()) for name, value in sent.items()]
        with suppress(OSError):  # nobody may be there any more
            await self({"type": "http.response.start", "status": status, "headers": pairs})
            await self({"type": "http.response.body", "body": body})


def right_of(headers: Headers, keys: Keys) -> Right:
    """What the key of a request allows.

    Raises:
        RefusedError: There is none, or it is unknown.
    """
    if not keys:
        return "write"
    scheme, _, token = headers.get("authorization", "").partition(" ")
    key = headers.get("x-api-key") or (token.strip() if scheme.lower() == "bearer" else "")
    right = keys.right_of(key) if key else None
    if right is None:
        what = "the key is not known" if key else "a key is needed: Authorization: Bearer KEY"
        raise RefusedError(401, what, "key", {"WWW-Authenticate": "Bearer"})
    return right


def _one_of(path: str, known: tuple[str, ...]) -> bool:
    return any(path == name or (name.endswith("/") and name != "/" and path.startswith(name)) for name in known)

"""The HTTP server: routes, what stands before them, and how errors reach a client."""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import anyio.to_thread
from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import FileResponse, JSONResponse
from starlette.exceptions import HTTPException
from starlette.middleware.cors import CORSMiddleware
from starlette.staticfiles import StaticFiles

import bicross
from bicross.errors import BicrossError, ClusterError, DocumentError, IndexLockedError, StorageError, UsageError
from bicross.server.engine import AbandonedError
from bicross.server.intake import Intake, RefusedError, error_body
from bicross.server.metrics import Metrics
from bicross.server.routes import documents, openai, operations, rerank, scoring, search, tei
from bicross.server.routes.shared import Server
from bicross.server.serving import Serving
from bicross.server.settings import Settings
from bicross.server.tracing import Tracing

log = logging.getLogger("bicross.server")

PAGE = Path(__file__).parent / "page"

#: What any route may answer, besides what it is for.
ERRORS: dict[int | str, dict[str, object]] = {
    status: {"description": what, "content": {"application/json": {"schema": {"type": "object"}}}}
    for status, what in (
        (400, "The request is wrong: the message says what to change."),
        (401, "A key is needed."),
        (403, "The key does not allow it."),
        (404, "There is no such document."),
        (408, "The body did not come in time."),
        (413, "The body is too large."),
        (415, "The body is not JSON."),
        (422, "The request is not of the right shape."),
        (429, "Too many requests wait; Retry-After says when to try again."),
        (503, "The cluster does not answer."),
        (504, "Its time was up."),
        (507, "The disk is full."),
    )
}


def build_app(serving: Serving, settings: Settings, metrics: Metrics, traces: Tracing) -> FastAPI:
    """The application that answers from ``serving``; it closes it when it ends."""

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        # a request that waits for an encoder, or for the disk, holds a thread
        anyio.to_thread.current_default_thread_limiter().total_tokens = settings.limits.in_flight + 8
        yield
        await anyio.to_thread.run_sync(serving.close)
        await anyio.to_thread.run_sync(traces.close)

    app = FastAPI(
        title="bicross",
        version=bicross.__version__,
        description="Two-stage semantic search over your own documents.",
        lifespan=lifespan,
        docs_url=None,  # its page loads scripts from elsewhere
        redoc_url=None,
        responses=ERRORS,
    )
    app.state.server = Server(settings, metrics, serving, traces)
    for router in (search.router, documents.router, scoring.router, openai.router, rerank.router, tei.router):
        app.include_router(router)
    app.include_router(operations.router)
    if settings.page:
        app.mount("/page", StaticFiles(directory=PAGE), name="page")
        app.add_api_route("/", _page, include_in_schema=False)
    app.add_exception_handler(RequestValidationError, _not_of_the_shape)
    app.add_exception_handler(RefusedError, _refused)
    app.add_exception_handler(BicrossError, _failed)
    app.add_exception_handler(HTTPException, _of_the_framework)
    app.add_exception_handler(Exception, _unexpected)
    if settings.origins:
        app.add_middleware(
            CORSMiddleware,
            allow_origins=settings.origins,
            allow_methods=["GET", "POST", "PUT", "DELETE"],
            allow_headers=["authorization", "content-type", "x-api-key"],
        )
    app.add_middleware(Intake, settings=settings, metrics=metrics, waiting_tokens=serving.waiting_tokens, traces=traces)
    return app


def _page() -> FileResponse:
    return FileResponse(PAGE / "index.html")


def _not_of_the_shape(request: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, RequestValidationError)
    first = error.errors()[0]
    where = ".".join(str(part) for part in first["loc"] if part != "body") or "the body"
    return JSONResponse(error_body(f"{where[:200]}: {first['msg']}", "shape"), 422)


def _refused(request: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, RefusedError)
    return JSONResponse(error_body(error.message, error.why), error.status, error.headers)


def _failed(request: Request, error: Exception) -> JSONResponse:
    """An error of our own: its message is for the user, unless it is about this machine."""
    metrics: Metrics = request.app.state.server.metrics
    if isinstance(error, AbandonedError):
        metrics.abandoned.labels("deadline").inc()
        return JSONResponse(error_body(str(error), "deadline"), 504)
    if isinstance(error, UsageError | DocumentError):
        return JSONResponse(error_body(str(error), "usage"), 400)
    log.error("%s: %s", request.scope["path"], error)
    if isinstance(error, IndexLockedError):
        body = error_body("another process writes to the index; try again later", "locked")
        return JSONResponse(body, 503, {"Retry-After": "10"})
    if isinstance(error, ClusterError):
        return JSONResponse(error_body("the cluster does not answer; try again later", "cluster"), 503)
    if isinstance(error, StorageError):
        return JSONResponse(error_body("nothing could be written: the disk is full, or broken", "storage"), 507)
    return JSONResponse(error_body("it failed; the log of the server says why", "server"), 500)


def _of_the_framework(request: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, HTTPException)
    return JSONResponse(error_body(str(error.detail), "http"), error.status_code, error.headers)


def _unexpected(request: Request, error: Exception) -> JSONResponse:
    log.exception("%s", request.scope["path"])
    return JSONResponse(error_body("it failed; the log of the server says why", "server"), 500)

"""``/health``, ``/ready``, ``/metrics``: for those who run it."""

from __future__ import annotations

from typing import Literal

from fastapi import APIRouter
from fastapi.responses import Response
from prometheus_client import CONTENT_TYPE_LATEST, generate_latest

from bicross.server.routes.shared import Asked, ThisServer

router = APIRouter(tags=["operations"])


class Health(Asked):
    """The process lives."""

    status: Literal["ok"] = "ok"


class Ready(Asked):
    """It can answer."""

    ready: Literal[True] = True
    documents: int
    chunks: int


@router.get("/health")
def health() -> Health:
    """Whether the process lives."""
    return Health()


@router.get("/ready")
def ready(server: ThisServer) -> Ready:
    """Whether it answers searches: the models are loaded and the index is open."""
    with server.serving.opened() as opened:
        count = opened.index.count()
    return Ready(documents=count.documents, chunks=count.chunks)


@router.get("/metrics", response_class=Response, responses={200: {"content": {"text/plain": {}}}})
def metrics(server: ThisServer) -> Response:
    """For Prometheus."""
    return Response(generate_latest(server.metrics.registry), media_type=CONTENT_TYPE_LATEST)

"""What routes share: who asks, for how long, and what a request may hold."""

from __future__ import annotations

from dataclasses import dataclass
from time import monotonic
from typing import Annotated

from fastapi import Depends, Request
from pydantic import BaseModel, ConfigDict, Field

from bicross.errors import UsageError
from bicross.server.engine import Work, working
from bicross.server.intake import RefusedError
from bicross.server.metrics import Metrics
from bicross.server.serving import Serving
from bicross.server.settings import Settings
from bicross.server.tracing import Tracing


@dataclass(frozen=True)
class Server:
    """What the routes of one server work with."""

    settings: Settings
    metrics: Metrics
    serving: Serving
    traces: Tracing


def _server(request: Request) -> Server:
    server: Server = request.app.state.server
    return server


def _may_write(request: Request) -> None:
    if request.scope.get("bicross.right") != "write":
        raise RefusedError(403, "this key may read and not write", "key")


ThisServer = Annotated[Server, Depends(_server)]
MayWrite = Depends(_may_write)


class Asked(BaseModel):
    """A request. Fields that are unknown are refused: a misspelt option is not passed over."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class Foreign(BaseModel):
    """A request in the shape of another service, whose clients send fields that mean nothing here."""

    model_config = ConfigDict(extra="ignore", frozen=True, protected_namespaces=())


#: Milliseconds that the answer may take.
Budget = Annotated[
    float | None,
    Field(gt=0, le=3.6e6, description="Milliseconds that the answer may take, waiting included; then it fails."),
]


def begin(urgent: bool = True, budget_ms: float | None = None) -> None:
    """Say what the work of this request is to the encoders."""
    work = working.get() or Work()
    work.urgent = urgent
    if budget_ms is not None:
        work.deadline = monotonic() + budget_ms / 1e3
    working.set(work)


def check_texts(texts: list[str], what: str, server: Server) -> None:
    """Raises: UsageError: There are none or too many, or one is empty or too long."""
    if not texts:
        raise UsageError(f"{what} is empty; give at least one text")
    check_number(len(texts), f"{what} has {len(texts):,} texts", server)
    for place, text in enumerate(texts):
        check_text(text, f"{what}[{place}]", server)


def check_number(number: int, said: str, server: Server) -> None:
    """Raises: UsageError: It is more than a request may have; ``said`` begins the message."""
    most = server.settings.limits.texts
    if number > most:
        raise UsageError(f"{said}; a request may have {most:,}")


def check_text(text: str, what: str, server: Server) -> None:
    """Raises: UsageError: It is empty or too long."""
    most = server.settings.limits.text_characters
    if not text.strip():
        raise UsageError(f"{what} is empty")
    if len(text) > most:
        raise UsageError(f"{what} has {len(text):,} characters; a text may have {most:,}")

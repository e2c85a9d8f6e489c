"""Traces by OpenTelemetry, where the environment says where to (``OTEL_EXPORTER_OTLP_ENDPOINT``); else nothing."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any, Protocol

from bicross.errors import UsageError
from bicross.search import SearchResult

#: Any of these says where traces go.
ENDPOINTS = ("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "OTEL_EXPORTER_OTLP_ENDPOINT")


class Span(Protocol):
    """A stretch of work."""

    def set_attribute(self, key: str, value: Any) -> None: ...
    def update_name(self, name: str) -> None: ...


class _NoSpan:
    def set_attribute(self, key: str, value: Any) -> None: ...
    def update_name(self, name: str) -> None: ...


class Tracing:
    """No traces."""

    @contextmanager
    def request(self, method: str, headers: Mapping[str, str]) -> Iterator[Span]:
        """A span around a request; its caller's trace goes on in it."""
        yield _NoSpan()

    def searched(self, result: SearchResult) -> None:
        """A span for each stage of a search that has just ended."""

    def close(self) -> None:
        """Send what was not sent yet."""


class OpenTelemetry(Tracing):
    """Traces to a collector, by the environment's settings (https://opentelemetry.io/docs/specs/otel/protocol/exporter)."""

    def __init__(self) -> None:
        from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
        from opentelemetry.propagate import extract
        from opentelemetry.sdk.resources import Resource
        from opentelemetry.sdk.trace import TracerProvider
        from opentelemetry.sdk.trace.export import BatchSpanProcessor
        from opentelemetry.trace import SpanKind

        named = {} if os.environ.get("OTEL_SERVICE_NAME") else {"service.name": "bicross"}
        self._provider = TracerProvider(resource=Resource.create(named))
        self._provider.add_span_processor(BatchSpanProcessor(OTLPSpanExporter()))
        self._tracer = self._provider.get_tracer("bicross")
        self._extract, self._kind = extract, SpanKind.SERVER

    @contextmanager
    def request(self, method: str, headers: Mapping[str, str]) -> Iterator[Span]:
        context = self._extract(dict(headers))
        with self._tracer.start_as_current_span(method, context=context, kind=self._kind) as span:
            yield span

    def searched(self, result: SearchResult) -> None:
        end = time.time_ns()
        begun = end - int(1e6 * result.milliseconds)
        for stage in result.stages:
            span = self._tracer.start_span(stage.stage, start_time=begun)
            begun += int(1e6 * stage.milliseconds)
            span.set_attribute("bicross.tokens", stage.tokens)
            span.set_attribute("bicross.items", stage.items)
            span.end(begun)

    def close(self) -> None:
        self._provider.shutdown()


def tracing() -> Tracing:
    """As the environment says.

    Raises:
        UsageError: It says where to, and the library is not installed.
    """
    endpoint = next((name for name in ENDPOINTS if os.environ.get(name)), None)
    if endpoint is None or os.environ.get("OTEL_SDK_DISABLED", "").lower() == "true":
        return Tracing()
    try:
        return OpenTelemetry()
    except ImportError as error:
        raise UsageError(
            f"{endpoint} is set, and traces need {error.name}; type: pip install 'bicross[tracing]'"
        ) from None

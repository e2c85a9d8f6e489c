"""Metrics, traces, and the dashboard that shows them."""

from __future__ import annotations

import json
import re
import threading
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

from .conftest import Running, Start

ROOT = Path(__file__).parents[2]


def test_a_request_is_a_trace_with_the_stages_in_it(index: Path, serve: Start) -> None:
    spans = []

    class Collector(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            request = ExportTraceServiceRequest.FromString(self.rfile.read(int(self.headers["content-length"])))
            spans.extend(s for r in request.resource_spans for scope in r.scope_spans for s in scope.spans)
            self.send_response(200)
            self.end_headers()

        def log_message(self, *arguments: object) -> None: ...

    with HTTPServer(("127.0.0.1", 0), Collector) as collector:
        thread = threading.Thread(target=collector.serve_forever)
        thread.start()
        endpoint = f"http://127.0.0.1:{collector.server_port}"
        server = serve(index, environment={"OTEL_EXPORTER_OTLP_ENDPOINT": endpoint})
        trace = "0af7651916cd43dd8448eb211c80319c"
        header = {"traceparent": f"00-{trace}-b7ad6b7169203331-01"}
        assert server.http.post("/search", json={"query": "sort a list"}, headers=header).status_code == 200
        assert server.stop() == 0  # sends what is left
        collector.shutdown()
        thread.join()
    mine = {span.name: span for span in spans if span.trace_id.hex() == trace}
    assert {"POST /search", "embed query", "retrieve dense", "retrieve lexical", "rerank"} <= mine.keys()
    root = mine["POST /search"]
    assert all(span.parent_span_id == root.span_id for name, span in mine.items() if span is not root)
    assert root.start_time_unix_nano < mine["rerank"].end_time_unix_nano <= root.end_time_unix_nano


def test_without_being_told_where_to_there_are_no_traces(running: Running) -> None:
    assert "opentelemetry" not in running.log.read_text()


def test_metrics_are_those_of_the_dashboard(running: Running) -> None:
    running.search("sort a list")
    shown = running.http.get("/metrics").text
    known = set(re.findall(r"^(bicross_\w+?)(?:\{| )", shown, re.MULTILINE))
    dashboard = (ROOT / "deploy" / "grafana-dashboard.json").read_text()
    asked = set(
        re.findall(r"bicross_\w+", " ".join(t["expr"] for p in json.loads(dashboard)["panels"] for t in p["targets"]))
    )
    assert asked and asked <= known
    for name in ("bicross_search_stage_seconds_bucket", "bicross_batch_fill_bucket", "bicross_pairs_spared_total"):
        assert name in asked

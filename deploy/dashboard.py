"""Writes ``grafana-dashboard.json``: a panel a line. Run: ``python deploy/dashboard.py``"""

from __future__ import annotations

import json
from pathlib import Path

RATE = "[$__rate_interval]"


def quantile(q: float, name: str, by: str) -> str:
    return f"histogram_quantile({q}, sum by (le, {by}) (rate({name}_bucket{RATE})))"


#: Title, unit, and queries with what each is called.
PANELS: list[tuple[str, str, list[tuple[str, str]]]] = [
    ("Requests a second", "reqps", [(f"sum by (route) (rate(bicross_requests_total{RATE}))", "{{route}}")]),
    (
        "Time of a request",
        "s",
        [
            (quantile(0.5, "bicross_request_seconds", "route"), "{{route}}, median"),
            (quantile(0.99, "bicross_request_seconds", "route"), "{{route}}, 99 of 100"),
        ],
    ),
    (
        "Refused, abandoned, failed, a second",
        "reqps",
        [
            (f"sum by (why) (rate(bicross_requests_refused_total{RATE}))", "refused: {{why}}"),
            (f"sum by (why) (rate(bicross_requests_abandoned_total{RATE}))", "abandoned: {{why}}"),
            (f'sum(rate(bicross_requests_total{{status=~"5.."}}{RATE}))', "failed"),
        ],
    ),
    ("Time of each stage, median", "s", [(quantile(0.5, "bicross_search_stage_seconds", "stage"), "{{stage}}")]),
    ("Time of each stage, 99 of 100", "s", [(quantile(0.99, "bicross_search_stage_seconds", "stage"), "{{stage}}")]),
    (
        "Candidates a second",
        "short",
        [
            (f"rate(bicross_pairs_read_total{RATE})", "read"),
            (f"rate(bicross_pairs_spared_total{RATE})", "spared"),
        ],
    ),
    ("Why reading ended", "reqps", [(f"sum by (why) (rate(bicross_reading_stopped_total{RATE}))", "{{why}}")]),
    (
        "Waiting for the encoders",
        "short",
        [("bicross_queue_items", "{{encoder}}"), ("bicross_requests_in_flight", "requests")],
    ),
    ("Tokens that wait", "short", [("bicross_queue_tokens", "{{encoder}}")]),
    ("Tokens read a second", "short", [(f"sum by (encoder) (rate(bicross_tokens_total{RATE}))", "{{encoder}}")]),
    ("How full batches are, median", "percentunit", [(quantile(0.5, "bicross_batch_fill", "encoder"), "{{encoder}}")]),
    ("Padding in batches, median", "percentunit", [(quantile(0.5, "bicross_batch_padding", "encoder"), "{{encoder}}")]),
    (
        "Found in the cache",
        "percentunit",
        [
            (
                f'sum by (encoder) (rate(bicross_cache_total{{found="yes"}}{RATE})) / '
                f"sum by (encoder) (rate(bicross_cache_total{RATE}))",
                "{{encoder}}",
            )
        ],
    ),
    ("In the index", "short", [("bicross_index_documents", "documents"), ("bicross_index_chunks", "chunks")]),
]


def panel(number: int, title: str, unit: str, queries: list[tuple[str, str]]) -> dict[str, object]:
    source = {"type": "prometheus", "uid": "${source}"}
    return {
        "id": number + 1,
        "type": "timeseries",
        "title": title,
        "datasource": source,
        "gridPos": {"h": 8, "w": 8, "x": 8 * (number % 3), "y": 8 * (number // 3)},
        "fieldConfig": {"defaults": {"unit": unit, "min": 0}, "overrides": []},
        "targets": [
            {"refId": chr(65 + n), "datasource": source, "expr": expr, "legendFormat": legend}
            for n, (expr, legend) in enumerate(queries)
        ],
    }


def main() -> None:
    dashboard = {
        "title": "bicross",
        "uid": "bicross",
        "tags": ["bicross"],
        "schemaVersion": 39,
        "refresh": "10s",
        "time": {"from": "now-1h", "to": "now"},
        "templating": {"list": [{"name": "source", "label": "Source", "type": "datasource", "query": "prometheus"}]},
        "panels": [panel(n, *each) for n, each in enumerate(PANELS)],
    }
    file = Path(__file__).parent / "grafana-dashboard.json"
    file.write_text(json.dumps(dashboard, indent=1) + "\n")


if __name__ == "__main__":
    main()

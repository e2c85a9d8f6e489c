"""Pairs and clusters as CSV, JSON, or lines for the eye."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Mapping
from dataclasses import asdict, fields
from pathlib import Path
from typing import Any

from bicross.errors import UsageError
from bicross.pairs.report import Cluster, PairReport, TextPair
from bicross.writing import check_place, written

FORMATS = ("csv", "json")


def format_of(file: Path) -> str:
    """The format that the end of a file's name stands for.

    Raises:
        UsageError: It stands for none, or there is no such folder.
    """
    kind = file.suffix.lower().removeprefix(".")
    if kind not in FORMATS:
        raise UsageError(f"{file}: write to a name that ends in {' or '.join('.' + name for name in FORMATS)}")
    check_place(file)
    return kind


def pairs_as(kind: str, report: PairReport, texts: Mapping[str, str] | None = None) -> str:
    """All pairs, in JSON with the clusters and the report; with ``texts`` by id, also both texts of each pair."""

    def record(pair: TextPair) -> dict[str, Any]:
        both = {"text_a": texts[pair.a], "text_b": texts[pair.b]} if texts else {}
        return vars(pair) | both

    if kind == "csv":
        columns = [field.name for field in fields(TextPair)] + (["text_a", "text_b"] if texts else [])
        return _csv(columns, map(record, report.pairs))
    about = asdict(report)
    clusters, _ = about.pop("clusters"), about.pop("pairs")
    return _json({"report": about, "pairs": [*map(record, report.pairs)], "clusters": clusters})


def clusters_as(kind: str, clusters: tuple[Cluster, ...]) -> str:
    """A row a member in CSV; the clusters as objects in JSON."""
    if kind == "json":
        return _json([asdict(cluster) for cluster in clusters])
    rows = (
        {"cluster": number, "id": member, "representative": cluster.representative}
        for number, cluster in enumerate(clusters, start=1)
        for member in cluster.members
    )
    return _csv(["cluster", "id", "representative"], rows)


def write(file: Path, content: str) -> None:
    """Write a file whole or not at all.

    Raises:
        StorageError: The disk is full, or the folder cannot be written to.
    """
    with written(file) as stream:
        stream.write(content)


def _csv(columns: list[str], rows: Any) -> str:
    out = io.StringIO()
    writer = csv.DictWriter(out, columns, lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return out.getvalue()


def _json(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False, indent=1) + "\n"

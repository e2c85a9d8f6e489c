"""``bicross info``"""

from __future__ import annotations

import json
from dataclasses import asdict
from typing import Annotated

import typer

from bicross.cli.options import IndexPlace


def info(
    index: IndexPlace,
    facet: Annotated[
        list[str] | None, typer.Option("--facet", help="Count the values of this metadata field; repeatable.")
    ] = None,
    filter: Annotated[str | None, typer.Option("--filter", help="Count among these documents only.")] = None,
    limit: Annotated[int, typer.Option("--limit", help="The most frequent values to show of a facet.")] = 20,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object.")] = False,
) -> None:
    """Say what an index holds and what it was made with."""
    from bicross.errors import UsageError
    from bicross.index.first_stage import read_fitted
    from bicross.opening import open

    if filter is not None and not facet:
        raise UsageError("--filter limits what --facet counts; name a field with --facet")
    with open(index) as opened:
        stats, manifest, numbers = opened.stats(), opened.manifest, opened.first_stage
        own = read_fitted(opened.path) is not None
        facets = {field: opened.facets(field, filter=filter, limit=limit) for field in facet or ()}
    facts = {"path": str(index), **asdict(stats)}
    if as_json:
        counts = {field: [{"value": v, "documents": n} for v, n in values] for field, values in facets.items()}
        fusion = {**asdict(numbers), "sha256": numbers.sha256, "own": own} if numbers else None
        typer.echo(json.dumps({**facts, "facets": counts, **asdict(manifest), "fusion": fusion}, ensure_ascii=False))
        return
    for field, values in facets.items():
        typer.echo(field)
        for value, documents in values:
            typer.echo(f"{documents:>10}  {value}")
    if facets:
        return
    fields = ", ".join(f"{name} ({kind})" for name, kind in facts.pop("fields").items())
    fingerprint = manifest.fingerprint
    lines = {**facts, "fields": fields or "none", "format": manifest.format, "model": manifest.model}
    lines |= {**fingerprint.encoder, "chunk_tokens": fingerprint.chunk_tokens, "overlap": fingerprint.overlap}
    lines |= {"language": fingerprint.lexical_language, "dtype": fingerprint.dtype}
    fitted = f"fitted for {'this index' if own else 'the model'}"
    lines["fusion"] = f"{fitted} (sha256 {numbers.sha256[:12]})" if numbers else "reciprocal ranks"
    for name, value in lines.items():
        typer.echo(f"{name.replace('_', ' '):<16} {value}")

"""``bicross score``"""

from __future__ import annotations

import json
from typing import Annotated, Literal

import typer

from bicross.cli.options import CrossEncoderName, Device


def score(
    query: Annotated[str, typer.Argument(help="The query.")],
    texts: Annotated[list[str], typer.Argument(help="Texts to score against it.")],
    cross_encoder: CrossEncoderName = None,
    device: Device = "cpu",
    precision: Annotated[str, typer.Option("--precision", help="auto, f32, bf16 or int8.")] = "auto",
    on_long: Annotated[
        Literal["truncate", "error", "max_passage"],
        typer.Option("--on-long", help="What happens to a text that is too long."),
    ] = "truncate",
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object a line.")] = False,
) -> None:
    """Score a query with each text by the cross-encoder; the best first."""
    from bicross.encoders import CrossEncoder
    from bicross.encoders.loading import DEFAULT_CROSS_ENCODER
    from bicross.errors import UsageError

    if not query.strip():
        raise UsageError("the query is empty")
    model = CrossEncoder(cross_encoder or DEFAULT_CROSS_ENCODER, device=device, precision=precision, on_long=on_long)
    model.check_orders()
    scored = model.score([(query, text) for text in texts])
    relevance = model.relevance(scored.logits)
    for i in sorted(range(len(texts)), key=lambda i: -scored.logits[i]):
        logit, probability, lost = float(scored.logits[i]), float(relevance[i]), int(scored.lost[i])
        if as_json:
            record = {"text": texts[i], "score": logit, "relevance": probability, "truncated": lost > 0, "lost": lost}
            typer.echo(json.dumps(record, ensure_ascii=False))
        else:
            note = f"  [{lost} tokens not read]" if lost else ""
            typer.echo(f"{logit:8.4f}  relevance {probability:.3f}{note}  {texts[i]}")

"""``/embed`` and ``/rerank`` in the shape of Hugging Face's text-embeddings-inference.

https://huggingface.github.io/text-embeddings-inference
"""

from __future__ import annotations

from typing import Annotated, Any

import numpy as np
import orjson
from fastapi import APIRouter
from fastapi.responses import Response
from pydantic import Field

import bicross
from bicross.errors import UsageError
from bicross.server.routes.shared import Budget, Foreign, ThisServer, begin, check_text, check_texts

router = APIRouter(tags=["as other services"])


class EmbedRequest(Foreign):
    """Texts to embed."""

    inputs: str | list[str]
    normalize: bool = True
    truncate: Annotated[bool, Field(description="Cut what is too long; else it is refused.")] = True
    prompt_name: Annotated[str | None, Field(description="query, or document.")] = None
    budget_ms: Budget = None


class TeiRerankRequest(Foreign):
    """Texts to put in order for a query."""

    query: str
    texts: Annotated[list[str], Field(min_length=1)]
    raw_scores: Annotated[bool, Field(description="Logits in place of relevance between 0 and 1.")] = False
    return_text: bool = False
    truncate: bool = True
    budget_ms: Budget = None


class Rank(Foreign):
    """A text: its place in the request, and what it scored."""

    index: int
    score: float
    text: str | None = None


@router.post("/embed", response_class=Response, responses={200: {"content": {"application/json": {}}}})
def embed(asked: EmbedRequest, server: ThisServer) -> Response:
    """Embed texts with the bi-encoder of the index: a list of vectors."""
    begin(urgent=True, budget_ms=asked.budget_ms)
    texts = [asked.inputs] if isinstance(asked.inputs, str) else asked.inputs
    check_texts(texts, "inputs", server)
    encoder = server.serving.bi_encoder
    prompts = {None: "", "query": encoder.query_prompt, "document": encoder.document_prompt}
    if asked.prompt_name not in prompts:
        raise UsageError(f"prompt_name is {str(asked.prompt_name)[:40]!r}; it may be query or document")
    if encoder.normalise and not asked.normalize:
        raise UsageError(f"{encoder.name} normalises its embeddings; leave normalize out, or say true")
    encoded = encoder.encode(texts, prompts[asked.prompt_name], "inputs", False)
    if not asked.truncate and encoded.truncated.any():
        raise UsageError(f"inputs[{int(encoded.truncated.argmax())}] is longer than {encoder.max_tokens} tokens")
    rows = encoded.embeddings
    if asked.normalize and not encoder.normalise:
        rows = rows / np.maximum(np.linalg.norm(rows, axis=1, keepdims=True), 1e-12)
    return Response(
        orjson.dumps([np.ascontiguousarray(row) for row in rows], option=orjson.OPT_SERIALIZE_NUMPY),
        media_type="application/json",
    )


@router.post("/rerank", response_model_exclude_none=True)
def rerank(asked: TeiRerankRequest, server: ThisServer) -> list[Rank]:
    """Put texts in order for a query."""
    begin(urgent=True, budget_ms=asked.budget_ms)
    check_text(asked.query, "query", server)
    check_texts(asked.texts, "texts", server)
    model = server.serving.cross_encoder
    scored = model.score([(asked.query, text) for text in asked.texts], show_progress=False)
    if not asked.truncate and scored.truncated.any():
        raise UsageError(f"texts[{int(scored.truncated.argmax())}] is longer than the model reads")
    shown = scored.logits if asked.raw_scores else model.relevance(scored.logits)
    return [
        Rank(index=int(i), score=float(shown[i]), text=asked.texts[i] if asked.return_text else None)
        for i in (-scored.logits).argsort(kind="stable")
    ]


@router.get("/info")
def info(server: ThisServer) -> dict[str, Any]:
    """What this server is and holds."""
    with server.serving.opened() as opened:
        count = opened.index.count()
    encoder = server.serving.bi_encoder
    limits = server.settings.limits
    return {
        "version": bicross.__version__,
        "model_id": encoder.name,
        "model_dtype": encoder.precision,
        "cross_encoder": server.serving.cross_encoder.name,
        "max_input_length": encoder.max_tokens,
        "max_client_batch_size": limits.texts,
        "max_concurrent_requests": limits.in_flight,
        "dimension": encoder.dimension,
        "documents": count.documents,
        "chunks": count.chunks,
    }

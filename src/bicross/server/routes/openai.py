"""``/v1/embeddings`` in the shape of OpenAI's API.

https://platform.openai.com/docs/api-reference/embeddings/create
"""

from __future__ import annotations

import base64
from typing import Annotated, Any, Literal

import numpy as np
import orjson
from fastapi import APIRouter
from fastapi.responses import Response
from pydantic import Field

from bicross.errors import UsageError
from bicross.server.routes.shared import Budget, Foreign, ThisServer, begin, check_texts

router = APIRouter(prefix="/v1", tags=["as other services"])


class EmbeddingsRequest(Foreign):
    """Texts to embed."""

    input: str | list[str]
    model: Annotated[str, Field(description="Any name; the index's bi-encoder embeds.")] = ""
    encoding_format: Literal["float", "base64"] = "float"
    dimensions: Annotated[int | None, Field(ge=1, description="That of the model; others are refused.")] = None
    input_type: Annotated[
        Literal["query", "document"], Field(description="Which prompt of the model goes before; not of OpenAI's.")
    ] = "document"
    budget_ms: Budget = None


class Model(Foreign):
    """A model that can be named in a request."""

    id: str
    object: Literal["model"] = "model"
    created: int = 0
    owned_by: str = "bicross"


class Models(Foreign):
    """All of them."""

    object: Literal["list"] = "list"
    data: list[Model]


@router.post("/embeddings", response_class=Response, responses={200: {"content": {"application/json": {}}}})
def embeddings(asked: EmbeddingsRequest, server: ThisServer) -> Response:
    """Embed texts with the bi-encoder of the index."""
    begin(urgent=True, budget_ms=asked.budget_ms)
    texts = [asked.input] if isinstance(asked.input, str) else asked.input
    check_texts(texts, "input", server)
    encoder = server.serving.bi_encoder
    if asked.dimensions not in (None, encoder.dimension):
        raise UsageError(f"dimensions is {asked.dimensions}; {encoder.name} gives {encoder.dimension}")
    prompt = encoder.query_prompt if asked.input_type == "query" else encoder.document_prompt
    encoded = encoder.encode(texts, prompt, "input", False)
    rows = encoded.embeddings.astype("<f4", copy=False)
    shown: list[Any] = (
        [base64.b64encode(row.tobytes()).decode() for row in rows]
        if asked.encoding_format == "base64"
        else [np.ascontiguousarray(row) for row in rows]
    )
    data = [{"object": "embedding", "index": place, "embedding": row} for place, row in enumerate(shown)]
    usage = {"prompt_tokens": encoded.tokens, "total_tokens": encoded.tokens}
    body = {"object": "list", "data": data, "model": asked.model or encoder.name, "usage": usage}
    return Response(orjson.dumps(body, option=orjson.OPT_SERIALIZE_NUMPY), media_type="application/json")


@router.get("/models")
def models(server: ThisServer) -> Models:
    """The models of this server."""
    names = (server.serving.bi_encoder.name, server.serving.cross_encoder.name)
    return Models(data=[Model(id=name) for name in names])

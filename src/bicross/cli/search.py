"""``bicross search``"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from bicross.cli.options import CrossEncoderName, Device, IndexPlace

if TYPE_CHECKING:
    from bicross.search import SearchResult


def search(
    index: IndexPlace,
    query: Annotated[str | None, typer.Argument(help="What to look for.")] = None,
    top_k: Annotated[int, typer.Option("--top-k", "-k", help="Documents to return.")] = 10,
    candidates: Annotated[
        int, typer.Option("--candidates", help="The most chunks that the cross-encoder reads; at least --top-k.")
    ] = 50,
    rerank: Annotated[bool, typer.Option("--rerank/--no-rerank", help="Second stage: yes or no.")] = True,
    mode: Annotated[
        Literal["dense", "lexical", "hybrid"],
        typer.Option("--mode", help="First stage: by meaning, by words (BM25), or both fused."),
    ] = "hybrid",
    filter: Annotated[
        str | None,
        typer.Option("--filter", help="Only documents with such metadata: 'year >= 2020 and lang == \"en\"'."),
    ] = None,
    dense_weight: Annotated[
        float | None,
        typer.Option("--dense-weight", help="Fuse weighted scores by this weight of the meaning, 0 to 1."),
    ] = None,
    fusion: Annotated[
        Literal["fitted", "rrf"] | None,
        typer.Option(
            "--fusion",
            help="Fuse by weights fitted on judged queries, or by reciprocal ranks (default: fitted where possible).",
        ),
    ] = None,
    min_relevance: Annotated[
        float | None,
        typer.Option("--min-relevance", help="Leave out hits of less relevance (0 to 1); perhaps none is left."),
    ] = None,
    budget_ms: Annotated[
        float | None,
        typer.Option("--budget-ms", help="Milliseconds a search may take; the cross-encoder reads as far as it gets."),
    ] = None,
    read_all: Annotated[
        bool, typer.Option("--read-all", help="Read every candidate, also where the rest can hardly enter the top.")
    ] = False,
    model: Annotated[
        str | None, typer.Option("--model", help="Bi-encoder; only the one that the index was made with fits.")
    ] = None,
    cross_encoder: CrossEncoderName = None,
    queries: Annotated[
        Path | None, typer.Option("--queries", help="A .jsonl file of queries (_id, text) in place of QUERY.")
    ] = None,
    device: Device = "cpu",
    precision: Annotated[
        str, typer.Option("--precision", help="Of the cross-encoder: auto, f32, bf16 or int8.")
    ] = "auto",
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object a line and hit.")] = False,
    explain: Annotated[bool, typer.Option("--explain", help="Every stage's score, rank and cost.")] = False,
) -> None:
    """Search an index in two stages: the bi-encoder finds candidates, the cross-encoder orders them."""
    from bicross.cli.output import print_result
    from bicross.errors import UsageError

    if (query is None) == (queries is None):
        raise UsageError("give either a QUERY or --queries FILE")
    if query is not None and not query.strip():
        raise UsageError("the query is empty")
    asked = [(None, query)] if query is not None else list(_read_queries(queries))
    with _answering(index, rerank, model, cross_encoder, device, precision) as searched:
        for query_id, text in asked:
            result = searched(
                text or "",
                top_k=top_k,
                candidates=candidates,
                mode=mode,
                filter=filter,
                dense_weight=dense_weight,
                fusion=fusion,
                min_relevance=min_relevance,
                budget_ms=budget_ms,
                read_all=read_all,
            )
            if as_json:
                _print_json(result, query_id, explain)
            else:
                if query_id is not None:
                    typer.echo(f"{query_id}: {text}")
                print_result(result, explain)


@contextmanager
def _answering(
    index: str, rerank: bool, model: str | None, cross_encoder: str | None, device: str, precision: str
) -> Iterator[Callable[..., SearchResult]]:
    """What answers: the index in the folder, or the server that has it open."""
    from bicross.encoders import CrossEncoder
    from bicross.errors import IndexLockedError, UsageError
    from bicross.opening import default_cross_encoder, open
    from bicross.search import Searcher
    from bicross.server.remote import RemoteIndex, where_served

    try:
        opened = open(index, model, device=device)
    except IndexLockedError:
        url = where_served(Path(index).resolve())
        if not url:
            raise
        if cross_encoder:
            raise UsageError(f"{index}: served at {url}, by its own cross-encoder; leave out --cross-encoder") from None
        yield partial(RemoteIndex(url).search, rerank=rerank)
        return
    with opened:
        name = cross_encoder or default_cross_encoder(index)
        reranker = CrossEncoder(name, device=device, precision=precision) if rerank else None
        yield Searcher(opened, reranker).search


def _print_json(result: SearchResult, query_id: str | None, explain: bool) -> None:
    for hit in result.hits:
        record = hit.as_dict()
        if query_id is not None:
            record = {"query_id": query_id, **record}
        if explain:
            record["stages"] = [vars(stage) for stage in result.stages]
            record["weights"] = dict(result.weights)
            record["reading"] = result.reading and vars(result.reading)
            record["weighing"] = asdict(result.weighing) if result.weighing else None
        typer.echo(json.dumps(record, ensure_ascii=False))


def _read_queries(path: Path | None) -> list[tuple[str, str]]:
    from bicross.documents import read_documents

    return [(document.id, document.text) for document in read_documents([path] if path else [])]

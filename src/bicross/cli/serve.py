"""``bicross serve``"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from bicross.cli.options import CrossEncoderName, Device


def serve(
    index: Annotated[
        str, typer.Argument(help="Folder of the index, or a link to one; or its address, qdrant://HOST:6333/NAME.")
    ],
    host: Annotated[
        str, typer.Option("--host", help="Address to listen on; another one than this machine's needs a key.")
    ] = "127.0.0.1",
    port: Annotated[int, typer.Option("--port", help="0 takes one that is free.")] = 8000,
    keys: Annotated[
        Path | None, typer.Option("--keys", help="File of keys: a line each, 'read KEY' or 'write KEY'.")
    ] = None,
    origin: Annotated[
        list[str] | None, typer.Option("--origin", help="Web site whose pages may call this server; repeat it.")
    ] = None,
    name: Annotated[
        list[str] | None, typer.Option("--name", help="Name under which it may be called without keys; repeat it.")
    ] = None,
    in_flight: Annotated[
        int, typer.Option("--in-flight", help="Requests at once; beyond them clients are told to come again.")
    ] = 256,
    body_mb: Annotated[int, typer.Option("--body-mb", help="Of a request, at most.")] = 16,
    page: Annotated[bool, typer.Option("--page/--no-page", help="The page at /.")] = True,
    log_queries: Annotated[bool, typer.Option("--log-queries", help="Let the access log say what was asked.")] = False,
    cross_encoder: CrossEncoderName = None,
    precision: Annotated[str, typer.Option("--precision", help="Of the cross-encoder.")] = "auto",
    device: Device = "cpu",
) -> None:
    """Serve an index: HTTP, a page, metrics; needs the extra [server].

    Keys are read from BICROSS_API_KEY (reads and writes), BICROSS_READ_KEY and --keys.
    """
    from bicross.errors import UsageError

    try:
        from bicross.server.running import serve as run
    except ImportError as error:
        raise UsageError(f"serving needs {error.name}; type: pip install 'bicross[server]'") from None
    from bicross.server.settings import Limits, Settings, read_keys

    if in_flight < 1 or body_mb < 1:
        raise UsageError("--in-flight and --body-mb must be at least 1")
    settings = Settings(
        host=host,
        port=port,
        keys=read_keys(keys),
        limits=Limits(in_flight=in_flight, body_bytes=body_mb * 2**20),
        origins=tuple(origin or ()),
        names=tuple(name or ()),
        log_queries=log_queries,
        page=page,
    )
    run(index, settings, cross_encoder=cross_encoder, device=device, precision=precision)

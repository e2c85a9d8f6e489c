"""``bicross mcp``"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from bicross.cli.options import CrossEncoderName, Device, IndexPlace


def mcp(
    index: IndexPlace,
    http: Annotated[
        bool, typer.Option("--http", help="Listen at http://HOST:PORT/mcp in place of standard input.")
    ] = False,
    host: Annotated[
        str, typer.Option("--host", help="With --http; another one than this machine's needs a key.")
    ] = "127.0.0.1",
    port: Annotated[int, typer.Option("--port", help="With --http.")] = 8001,
    keys: Annotated[Path | None, typer.Option("--keys", help="With --http: file of keys.")] = None,
    cross_encoder: CrossEncoderName = None,
    precision: Annotated[str, typer.Option("--precision", help="Of the cross-encoder.")] = "auto",
    device: Device = "cpu",
) -> None:
    """Let an assistant search an index (Model Context Protocol): tools search and get_document; needs the extra [mcp].

    Where a server has the index open, that is asked.
    """
    from bicross.errors import UsageError

    try:
        from bicross.server.mcp import build_mcp, open_answers
    except ImportError as error:
        raise UsageError(f"this needs {error.name}; type: pip install 'bicross[mcp]'") from None
    from bicross.server.settings import Settings, read_keys

    settings = Settings(host=host, port=port, keys=read_keys(keys)) if http else None
    if settings:
        settings.check()
    answers, serving = open_answers(index, cross_encoder=cross_encoder, device=device, precision=precision)
    try:
        server = build_mcp(answers)
        if settings is None:
            server.run("stdio")
            return
        from bicross.server.running import run_mcp

        run_mcp(server, settings)
    finally:
        if serving is not None:
            serving.close()

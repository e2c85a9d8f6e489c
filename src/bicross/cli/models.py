"""``bicross models``"""

from __future__ import annotations

import typer


def models() -> None:
    """List the models that are on this machine, and where."""
    from bicross.encoders.loading import DEFAULT_BI_ENCODER, DEFAULT_CROSS_ENCODER, models_here

    defaults = {DEFAULT_BI_ENCODER: "default bi-encoder", DEFAULT_CROSS_ENCODER: "default cross-encoder"}
    for found in models_here():
        role = next((f"  [{role}]" for name, role in defaults.items() if found.name.endswith(name)), "")
        typer.echo(f"{found.name}{role}")
        typer.echo(f"    {found.source}: {found.folder or 'not installed; ' + found.advice}")

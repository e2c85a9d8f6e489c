"""The command ``bicross``: one file a verb."""

from bicross.cli.app import main

__all__ = ["main"]

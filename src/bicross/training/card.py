"""The card of a trained model: what it is, what it learnt from, how well it did. No text of the user's is in it."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from bicross.writing import written

_CALLS = {
    "sentence-similarity": (
        "bi-encoder",
        "model = BiEncoder({folder!r})\nmodel.encode_query(queries) @ model.encode_document(documents).T",
    ),
    "text-ranking": ("cross-encoder", "CrossEncoder({folder!r}).rank(query, documents)"),
}


def write_card(folder: Path, task: str, base: str, lines: Sequence[str], made_by: str = "") -> None:
    """Write ``README.md`` into a model folder.

    Args:
        folder: Of the model.
        task: ``sentence-similarity`` or ``text-ranking``, as hubs call them.
        base: What it was trained from.
        lines: How it was trained and measured, a line each.
        made_by: The command; by default the one that trains such a model.
    """
    kind, call = _CALLS[task]
    command = made_by or f"bicross train {kind}"
    name = "BiEncoder" if kind == "bi-encoder" else "CrossEncoder"
    opened = call.format(folder=folder.name)
    facts = "\n".join(f"* {line}" for line in lines)
    with written(folder / "README.md") as out:
        out.write(
            f"---\npipeline_tag: {task}\nlibrary_name: sentence-transformers\ntags: [bicross, {kind}]\n---\n\n"
            f"# {folder.name}\n\nA {kind}, trained from `{Path(base).name}` by `{command}`.\n\n"
            f"```python\nfrom bicross import {name}\n\n{opened}\n```\n\n"
            f"It opens with sentence-transformers too.\n\n## How it was trained\n\n{facts}\n"
        )

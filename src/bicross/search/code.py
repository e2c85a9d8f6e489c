"""Whether texts are program code.

A cross-encoder that was trained on prose reads code badly and does not know it. What gives code away are its lines:
calls that end them, assignments, brackets and semicolons at the end. Documentation with an example in it is no code.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from statistics import median

_STATEMENT = re.compile(r"\w\(.*\) ?[:;{]?$|^(?:\w+ )?[\w.\[\]'\",*]+(?:, [\w.]+)* [-+*/|&]?= |[;{}]$")

#: So many texts are looked at, the first of a list.
LOOKED_AT = 10


def share_of_code(texts: Sequence[str]) -> float:
    """The share of the lines of a text that look like code: the median of the first texts; 0 where there are none."""
    return median([_share(text) for text in texts[:LOOKED_AT]] or [0.0])


def _share(text: str) -> float:
    lines = [line for part in text.splitlines() if (line := part.strip())]
    return sum(_STATEMENT.search(line) is not None for line in lines) / len(lines) if lines else 0.0

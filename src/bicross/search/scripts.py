"""Whether texts are written in another script than the Latin one.

A cross-encoder whose vocabulary is English splits Chinese into single characters and still gives a logit, which means
nothing. A few Greek letters in a formula are no reason to distrust it.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Sequence
from functools import cache
from statistics import median

from bicross.search.code import LOOKED_AT

#: Letters of a text that are looked at, the first ones.
LETTERS = 500


def share_of_foreign(texts: Sequence[str]) -> float:
    """The share of the letters of a text that are not Latin: the median of the first texts; 0 where there are none."""
    return median([_share(text) for text in texts[:LOOKED_AT]] or [0.0])


def _share(text: str) -> float:
    letters = [letter for letter in text[: 4 * LETTERS] if letter.isalpha()][:LETTERS]
    return sum(not (letter.isascii() or _latin(letter)) for letter in letters) / len(letters) if letters else 0.0


@cache
def _latin(letter: str) -> bool:
    return unicodedata.name(letter, "").startswith(("LATIN", "FULLWIDTH LATIN"))

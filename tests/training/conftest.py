"""A little language to learn: a query of two words is answered by a text of two others, word for word."""

from __future__ import annotations

from itertools import permutations

import pytest

from bicross.training.examples import Example

WORDS = {
    "one": "apple", "two": "river", "three": "stone", "four": "window", "five": "garden", "six": "horse",
    "seven": "music", "eight": "paper", "nine": "winter", "ten": "bridge",
}  # fmt: skip


@pytest.fixture(scope="session")
def translated() -> list[Example]:
    """90 examples; each word is in 18 of them, so that what is held out can be told from the others."""
    return [Example(f"{a} {b}", f"{WORDS[a]} {WORDS[b]}", (f"{WORDS[b]} snow",)) for a, b in permutations(WORDS, 2)]


@pytest.fixture(scope="session")
def meanings() -> dict[str, str]:
    """What each word of a query is called in its answer."""
    return WORDS

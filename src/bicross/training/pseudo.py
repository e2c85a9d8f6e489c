"""Queries that documents suggest themselves: their titles, their headings, their first sentences.

Nobody has to judge anything: the passage that a query was taken from answers it. It is shown without the query in it,
or finding it would be a matter of equal words.
"""

from __future__ import annotations

import random
from collections.abc import Iterator
from dataclasses import dataclass

from bicross.documents.sentences import sentences
from bicross.index import Index

#: Words of a query that says something, and of a passage that is left without it.
FEWEST_WORDS, MOST_WORDS, LEFT_WORDS = 3, 40, 15


@dataclass(frozen=True)
class PseudoQuery:
    """A query and the passage that it was taken from.

    Attributes:
        text: The query.
        answer: The passage, as models read it, without the query.
        document_id: Whose passage it is.
    """

    text: str
    answer: str
    document_id: str


def pseudo_queries(index: Index, number: int, seed: int) -> list[PseudoQuery]:
    """At most so many, one of a document, of documents chosen by chance; each text once."""
    ids = [entry.id for entry in index.catalogue.entries()]
    rng = random.Random(seed)
    rng.shuffle(ids)
    found: dict[str, PseudoQuery] = {}
    for document_id in ids:
        if len(found) == number:
            break
        chunk = rng.choice(index.get(document_id)).chunk if index.get(document_id) else None
        if chunk is None:
            continue
        suggested = list(_suggested(chunk.title, chunk.text))
        if suggested:
            query, answer = rng.choice(suggested)
            found.setdefault(query.casefold(), PseudoQuery(query, answer, document_id))
    return list(found.values())


def _suggested(title: str, text: str) -> Iterator[tuple[str, str]]:
    """Queries of a passage, each with what is left of it; the title stays out where it is the query."""
    spans = list(sentences(text))
    candidates = [(title, text)] if title else []
    above = f"{title}\n" if title else ""
    candidates += [(text[start:end], above + text[:start] + text[end:]) for start, end, heading in spans if heading]
    first = next(((start, end) for start, end, heading in spans if not heading), None)
    if first:
        rest = text[: first[0]] + text[first[1] :]
        candidates.append((text[first[0] : first[1]], above + rest))
    for raw, left in candidates:
        query = " ".join(raw.lstrip("#").split())
        # many collections say the title again as the first sentence
        rest = left.replace(raw, " ").strip()
        if FEWEST_WORDS <= _words(query) <= MOST_WORDS and _words(rest) >= LEFT_WORDS:
            yield query, rest


def _words(text: str) -> int:
    """Of Chinese, which has no spaces, two characters count as a word."""
    spaced = len(text.split())
    return max(spaced, sum("\u4e00" <= character <= "\u9fff" for character in text) // 2)

"""What training is measured on while it runs: queries that it does not see, and the documents to find."""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol, TypeVar

from bicross.documents import read_documents
from bicross.errors import UsageError
from bicross.evaluation.collection import find_collection
from bicross.evaluation.judged import judged_queries, read_queries
from bicross.training.examples import Example, plain, read_examples

#: More of either take longer to embed than they make the measure steadier.
MOST_QUERIES, MOST_DOCUMENTS = 500, 5000

#: Of the queries so many are held out where no dev split is named.
HELD_OUT = 0.1


class _Asked(Protocol):
    @property
    def query(self) -> str: ...


A = TypeVar("A", bound=_Asked)


@dataclass(frozen=True)
class Dev:
    """A small collection.

    Attributes:
        name: For people.
        queries, documents: Texts by id.
        relevant: Ids of documents by that of the query.
    """

    name: str
    queries: dict[str, str]
    documents: dict[str, str]
    relevant: dict[str, set[str]]


def read_dev(path: Path, split: str, seed: int) -> Dev:
    """The dev split of a BEIR folder (``qrels/SPLIT.tsv``), or a file of examples.

    Of a folder at most ``MOST_QUERIES`` queries are asked, and at most ``MOST_DOCUMENTS`` documents searched: those
    that are relevant, and others by chance.

    Raises:
        UsageError, DocumentError: See ``read_examples``; or no query has a relevant document.
    """
    if not path.is_dir():
        return _of_examples(str(path), read_examples(path), seed)
    collection = find_collection(path, split, None, None, None)
    assert collection.queries is not None and collection.corpus is not None
    judged = judged_queries(collection.queries, collection.qrels, None)
    relevant = {q: {d for d, grade in judged.qrels[q].items() if grade > 0} for q in judged.ids}
    ids = [document.id for document in read_documents([collection.corpus]) if document.title or document.text]
    there = set(ids)
    relevant = {q: found & there for q, found in relevant.items() if found & there}
    if not relevant:
        raise UsageError(f"{path}: no query of the split {split} has a relevant document; choose another --dev-split")
    rng = random.Random(seed)
    asked = set(rng.sample(sorted(relevant), min(MOST_QUERIES, len(relevant))))
    relevant = {q: found for q, found in relevant.items() if q in asked}
    needed = set().union(*relevant.values())
    others = sorted(there - needed)
    kept = needed | set(rng.sample(others, min(len(others), max(0, MOST_DOCUMENTS - len(needed)))))
    documents = {
        document.id: f"{document.title}\n{document.text}".strip()
        for document in read_documents([collection.corpus])  # read again: a corpus need not fit into memory
        if document.id in kept
    }
    queries = {q: text for q, text in read_queries(collection.queries) if q in relevant}
    return Dev(f"{path} ({split})", queries, documents, relevant)


def hold_out(examples: Sequence[Example], seed: int) -> tuple[list[Example], Dev]:
    """Keep a tenth of the queries, with all their examples, out of training.

    Raises:
        UsageError: There is only one query.
    """
    train, asked = split_by_query(examples, HELD_OUT, MOST_QUERIES, seed, "examples", "dev split")
    others = [text for example in train for text in (example.positive, *example.negatives)]
    out, queries = (len({plain(example.query) for example in some}) for some in (asked, examples))
    return train, _of_examples(f"{out} of {queries} queries, held out", asked, seed, others)


def split_by_query(
    items: Sequence[A], share: float, most: int, seed: int, what: str, dev: str
) -> tuple[list[A], list[A]]:
    """Those to learn from, and those of a share of the queries, at most so many, that is kept out.

    Args:
        items: Each with its query; queries that differ in case and spaces only are one.
        share: Of the queries, to keep out.
        most: Queries to keep out.
        seed: Of the choice.
        what: What the items are called in the message.
        dev: What else could be measured on, in the message.

    Raises:
        UsageError: There is only one query.
    """
    queries = sorted({plain(item.query) for item in items})
    if len(queries) < 2:
        raise UsageError(f"all {what} are of one query; nothing is left to measure with: name a {dev} with --dev")
    out = set(random.Random(seed).sample(queries, min(most, max(1, round(share * len(queries))))))
    return (
        [item for item in items if plain(item.query) not in out],
        [item for item in items if plain(item.query) in out],
    )


def _of_examples(name: str, examples: Sequence[Example], seed: int, others: Sequence[str] = ()) -> Dev:
    """Their positives are to be found among all texts, and among ``others``."""
    rng = random.Random(seed)
    queries = list(dict.fromkeys(example.query for example in examples))
    asked = set(rng.sample(queries, min(MOST_QUERIES, len(queries))))
    needed = dict.fromkeys(example.positive for example in examples if example.query in asked)
    rest = dict.fromkeys(text for example in examples for text in (example.positive, *example.negatives))
    spare = [text for text in dict.fromkeys((*rest, *others)) if text not in needed]
    spare = rng.sample(spare, min(len(spare), max(0, MOST_DOCUMENTS - len(needed))))
    ids = {text: f"d{number}" for number, text in enumerate((*needed, *spare))}
    query_ids = {query: f"q{number}" for number, query in enumerate(q for q in queries if q in asked)}
    relevant: dict[str, set[str]] = {}
    for example in examples:
        if example.query in asked:
            relevant.setdefault(query_ids[example.query], set()).add(ids[example.positive])
    return Dev(name, {i: q for q, i in query_ids.items()}, {i: t for t, i in ids.items()}, relevant)

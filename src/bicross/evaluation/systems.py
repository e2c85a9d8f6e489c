"""The ways to search that can be compared, by name."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from bicross.errors import UsageError
from bicross.evaluation.runs import Ranking
from bicross.index.index import MOST_CHUNKS
from bicross.search import Hit, Searcher, SearchResult

#: Systems without a cross-encoder, and how each searches.
FIRST_STAGE: Mapping[str, Mapping[str, Any]] = {
    "dense": {"mode": "dense"},
    "lexical": {"mode": "lexical"},
    "hybrid": {"mode": "hybrid"},
    "rrf": {"mode": "hybrid", "fusion": "rrf"},
}

#: Systems with a cross-encoder over N candidates of the default first stage (``rerank@50``), and how each searches.
SECOND_STAGE: Mapping[str, Mapping[str, Any]] = {
    "rerank": {"read_all": True},
    "adaptive": {},
    "cross-encoder": {"read_all": True},
}

#: Documents for which ``adaptive@N`` stops reading when they are settled; the first stage orders what follows.
TOP = 10

DEFAULT_SYSTEMS = ("dense", "lexical", "hybrid", "rerank@50")


@dataclass(frozen=True)
class System:
    """One way to search.

    Attributes:
        name: As the user wrote it.
        settings: What ``Searcher.search`` is given.
        candidates: Chunks that the cross-encoder reads; None where there is none.
        order: The stage whose ranks order the documents.
    """

    name: str
    settings: Mapping[str, Any] = field(default_factory=dict)
    candidates: int | None = None
    order: str = "final"

    @property
    def call(self) -> tuple[object, ...]:
        """What tells one search from another: systems that only order otherwise share it, and its cost."""
        return (self.candidates, *sorted(self.settings.items()))

    def search(self, searcher: Searcher, query: str, depth: int, filter: str | None) -> SearchResult:
        """Find the best ``depth`` documents, or as many as the candidates hold."""
        if self.candidates is None:
            return Searcher(searcher.index).search(query, top_k=depth, filter=filter, **self.settings)
        if not self.settings.get("read_all"):
            return searcher.search(query, top_k=TOP, candidates=self.candidates, filter=filter, **self.settings)
        # a searcher reads further pairs until it has top_k documents; here the number of pairs is what is compared
        found = searcher.index.search(query, top_k=self.candidates, filter=filter)
        documents = len({candidate.chunk.document_id for candidate in found})
        asked: dict[str, Any] = {"top_k": max(1, documents), **self.settings}
        return searcher.search(query, candidates=self.candidates, filter=filter, **asked)

    def ranking(self, result: SearchResult, depth: int) -> Ranking:
        """The documents of a result in this system's order."""
        if self.order == "final":
            hits = result.hits[:depth]
            listed = {hit.document_id: hit.score for hit in hits}
            if self.candidates is not None and not self.settings.get("read_all"):
                last = hits[-1].score if hits else 0.0
                for place, document_id in enumerate(result.retrieved[:depth], start=1):
                    listed.setdefault(document_id, last - place)
            return Ranking.of(list(listed)[:depth], list(listed.values())[:depth])

        def rank(hit: Hit) -> int:
            return hit.scores[self.order].rank

        hits = sorted(result.hits, key=rank)[:depth]
        return Ranking.of((hit.document_id for hit in hits), (hit.scores[self.order].score for hit in hits))


def parse_system(name: str) -> System:
    """The system of a name.

    Raises:
        UsageError: There is none of that name.
    """
    if name in FIRST_STAGE:
        return System(name, FIRST_STAGE[name])
    match = re.fullmatch(r"(.+)@(\d+)", name)
    if match is None or match[1] not in SECOND_STAGE or not 1 <= int(match[2]) <= MOST_CHUNKS:
        known = [*FIRST_STAGE, *(f"{kind}@N" for kind in SECOND_STAGE)]
        raise UsageError(f"the system {name!r} is not known; choose {', '.join(known)}, where N candidates are read")
    order = "cross_encoder" if match[1] == "cross-encoder" else "final"
    return System(name, SECOND_STAGE[match[1]], int(match[2]), order)

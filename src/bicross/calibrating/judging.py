"""Ask a judged query of an index and let the cross-encoder read all that some first stages bring."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from bicross.calibrating.pools import ReadQuery
from bicross.encoders import CrossEncoder
from bicross.index import Candidate, Index
from bicross.index.first_stage import FirstStage
from bicross.index.retrieval import DEPTH

#: How candidates are found: by fitted weights, by reciprocal ranks (``rrf``), or by meaning alone (``dense``).
Way = FirstStage | str


def name_of(way: Way) -> str:
    """What a way to find candidates is called in ``bicross.search.two_stages.before``."""
    return way.sha256 if isinstance(way, FirstStage) else way


def read_query(
    index: Index,
    cross_encoder: CrossEncoder,
    query_id: str,
    text: str,
    grades: Mapping[str, int],
    ways: Sequence[Way],
) -> ReadQuery:
    """The candidates of each way with their scores, and the logit of each.

    Raises:
        UsageError: The text is empty.
    """
    candidates = {name_of(way): _candidates(index, text, way) for way in ways}
    found = {c.chunk.id: c.chunk for each in candidates.values() for c in each}
    pairs = [(text, chunk.embedded_text) for chunk in found.values()]
    logits = cross_encoder.score(pairs, show_progress=False).logits.tolist()
    return ReadQuery(
        query_id,
        {name: chunk.document_id for name, chunk in found.items()},
        {name: {c.chunk.id: c.score for c in each} for name, each in candidates.items()},
        dict(zip(found, logits, strict=True)),
        grades,
    )


def _candidates(index: Index, text: str, way: Way) -> list[Candidate]:
    question = index.ask(text, "dense" if way == "dense" else "hybrid")
    return index.retrieve(question, DEPTH, fusion=way if isinstance(way, FirstStage) else "rrf").candidates

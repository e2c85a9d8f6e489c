"""Ask judged queries of an index and let the cross-encoder read all that a first stage may bring."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from bicross.calibrating.pools import Fuse, JudgedQuery
from bicross.encoders import CrossEncoder
from bicross.index import LocalIndex
from bicross.index.retrieval import DEPTH


def find(index: LocalIndex, query_id: str, text: str, grades: Mapping[str, int]) -> JudgedQuery:
    """What both sides of the first stage find; nothing is read yet.

    Raises:
        UsageError: The text is empty.
    """
    question = index.ask(text, "hybrid")
    shard = index.shard
    assert question.vector is not None
    assert question.terms is not None
    dense = shard.nearest(question.vector, DEPTH, None)
    lexical = shard.matching(question.terms, DEPTH, None)
    names = list(dict.fromkeys([*dense, *lexical]))
    all_dense = dense | shard.similarities(question.vector, [name for name in names if name not in dense])
    documents = {name: item.chunk.document_id for name, item in shard.fetch(names).items()}
    return JudgedQuery(query_id, documents, all_dense, lexical, tuple(dense), {}, grades)


def read(
    index: LocalIndex, cross_encoder: CrossEncoder, query: JudgedQuery, text: str, fuses: Sequence[Fuse], depth: int
) -> JudgedQuery:
    """The query with the logits of the best ``depth`` chunks of each first stage."""
    wanted: dict[str, None] = {}
    for fuse in fuses:
        scores = fuse(query)
        wanted |= dict.fromkeys(sorted(scores, key=lambda name: -scores[name])[:depth])
    stored = index.shard.fetch(wanted)
    pairs = [(text, item.chunk.embedded_text) for item in stored.values()]
    logits = cross_encoder.score(pairs, show_progress=False).logits.tolist()
    return JudgedQuery(
        query.id,
        query.documents,
        query.dense,
        query.lexical,
        query.by_dense,
        dict(zip(stored, logits, strict=True)),
        query.grades,
        query.weight,
    )

"""What stronger models say of a pair: the scores that a smaller one is to learn."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import numpy.typing as npt

from bicross.encoders import BiEncoder, CrossEncoder
from bicross.encoders.folder import read_config
from bicross.encoders.loading import find_model
from bicross.errors import UsageError
from bicross.training.groups import Group

Scores = npt.NDArray[np.float64]

#: Standard deviation that scores are brought to: about that of a cross-encoder's logits over what a search finds.
SPREAD = 3.0


def scored_by(
    teachers: Sequence[str], groups: Sequence[Group], *, device: str = "cpu", max_tokens: int | None = None
) -> list[Group]:
    """The groups with the mean of what the teachers say of each document, in units that suit a logit; see ``joined``.

    Args:
        teachers: Names or folders, of bi-encoders or of cross-encoders.
        groups: Scores that are there already are replaced.
        device: Where the teachers run.
        max_tokens: Of a text or pair.

    Raises:
        UsageError: A teacher says the same of all.
        ModelNotFoundError, ModelError: See ``find_model``.
    """
    said = joined([scores_of(name, groups, device=device, max_tokens=max_tokens) for name in teachers], groups)
    return [
        replace(group, scores=tuple(float(value) for value in part))
        for group, part in zip(groups, _by_query(said, groups), strict=True)
    ]


def joined(said: Sequence[Scores], groups: Sequence[Group]) -> Scores:
    """The mean of what several say of all documents, one group after the other.

    Cosines and logits are brought to one scale first: each one's scores are taken from their mean over a query, and
    divided by their standard deviation over all.

    Returns:
        float64, with mean 0 in each group and a standard deviation of about ``SPREAD``.

    Raises:
        UsageError: Somebody says the same of all documents of a query, for all queries.
    """
    together = np.zeros(sum(len(group.documents) for group in groups))
    for scores in said:
        centred = np.concatenate([part - part.mean() for part in _by_query(scores, groups)])
        if not (spread := float(centred.std())) > 0:
            raise UsageError("a teacher gives all documents of a query the same score; nothing can be learnt from it")
        together += SPREAD * centred / spread / len(said)
    return together


def _by_query(scores: Scores, groups: Sequence[Group]) -> list[Scores]:
    return np.split(scores, np.cumsum([len(group.documents) for group in groups])[:-1])


def scores_of(
    teacher: str | Path, groups: Sequence[Group], *, device: str = "cpu", max_tokens: int | None = None
) -> Scores:
    """What one model, of either kind, says of every document of every group, float64, one after the other.

    Raises:
        UsageError: It gives several labels a pair.
        ModelNotFoundError, ModelError: See ``find_model``.
    """
    folder = find_model(teacher)
    kinds = read_config(folder).get("architectures") or [""]
    if kinds[0].endswith("ForSequenceClassification"):
        pairs = [(group.query, document) for group in groups for document in group.documents]
        cross_encoder = CrossEncoder(folder, device=device, max_tokens=max_tokens)
        cross_encoder.check_orders()
        return cross_encoder.predict(pairs).astype(np.float64)
    model = BiEncoder(folder, device=device, max_tokens=max_tokens)
    queries = list(dict.fromkeys(group.query for group in groups))
    documents = list(dict.fromkeys(document for group in groups for document in group.documents))
    of_queries = dict(zip(queries, model.encode_query(queries), strict=True))
    of_documents = dict(zip(documents, model.encode_document(documents), strict=True))
    return np.concatenate(
        [np.stack([of_documents[d] for d in group.documents]) @ of_queries[group.query] for group in groups]
    ).astype(np.float64)

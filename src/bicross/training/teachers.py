"""What stronger models say of a pair: the scores that a smaller one is to learn."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import numpy.typing as npt

from bicross.encoders import BiEncoder, CrossEncoder
from bicross.encoders.folder import read_config
from bicross.encoders.loading import find_model
from bicross.errors import UsageError
from bicross.training.groups import Group

#: Standard deviation that scores are brought to: about that of a cross-encoder's logits over what a search finds.
SPREAD = 3.0


def scored_by(
    teachers: Sequence[str], groups: Sequence[Group], *, device: str = "cpu", max_tokens: int | None = None
) -> list[Group]:
    """The groups with the mean of what the teachers say of each document, in units that suit a logit.

    Cosines and logits are brought to one scale before they are joined: each teacher's scores are taken from the mean of
    their query, and divided by their standard deviation over all.

    Args:
        teachers: Names or folders, of bi-encoders or of cross-encoders.
        groups: Scores that are there already are replaced.
        device: Where the teachers run.
        max_tokens: Of a text or pair.

    Raises:
        UsageError: A teacher says the same of all.
        ModelNotFoundError, ModelError: See ``find_model``.
    """
    together = np.zeros(sum(len(group.documents) for group in groups))
    for teacher in teachers:
        scores = _scorer(teacher, device, max_tokens)(groups)
        edges = np.cumsum([len(group.documents) for group in groups])[:-1]
        centred = np.concatenate([part - part.mean() for part in np.split(scores, edges)])
        if not (spread := float(centred.std())) > 0:
            raise UsageError(f"the teacher {teacher} gives all documents of a query the same score")
        together += SPREAD * centred / spread / len(teachers)
    taught, start = [], 0
    for group in groups:
        end = start + len(group.documents)
        taught.append(replace(group, scores=tuple(float(v) for v in together[start:end])))
        start = end
    return taught


def _scorer(teacher: str, device: str, max_tokens: int | None) -> Callable[[Sequence[Group]], npt.NDArray[np.float64]]:
    """A function that gives every document of every group a score, in their order."""
    folder: Path = find_model(teacher)
    kinds = read_config(folder).get("architectures") or [""]
    if kinds[0].endswith("ForSequenceClassification"):
        cross_encoder = CrossEncoder(folder, device=device, max_tokens=max_tokens)

        def by_pairs(groups: Sequence[Group]) -> npt.NDArray[np.float64]:
            return cross_encoder.predict([(g.query, d) for g in groups for d in g.documents]).astype(np.float64)

        return by_pairs
    bi_encoder = BiEncoder(folder, device=device, max_tokens=max_tokens)

    def by_vectors(groups: Sequence[Group]) -> npt.NDArray[np.float64]:
        queries = list(dict.fromkeys(group.query for group in groups))
        documents = list(dict.fromkeys(document for group in groups for document in group.documents))
        places = {text: place for place, text in enumerate(documents)}
        of_queries = dict(zip(queries, bi_encoder.encode_query(queries), strict=True))
        of_documents = bi_encoder.encode_document(documents)
        return np.concatenate(
            [
                of_documents[[places[document] for document in group.documents]] @ of_queries[group.query]
                for group in groups
            ]
        ).astype(np.float64)

    return by_vectors

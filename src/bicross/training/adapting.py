"""Fit the second stage to a corpus that nobody judged: pseudo queries, and what stronger models say of what they find.

The pupil is the cross-encoder. It learns the mean of what it says itself, what the index's bi-encoder says and what
named teachers say of each pair (Hinton et al. 2015, over pairs as in GPL, Wang et al. 2022), in the units of its own
logits: so the numbers that join both stages, and relevance, keep their meaning.
"""

from __future__ import annotations

import random
import shutil
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np

from bicross.encoders import CrossEncoder
from bicross.encoders.calibration import FILE as FITTED
from bicross.encoders.loading import find_model
from bicross.errors import UsageError
from bicross.index import LocalIndex
from bicross.opening import ADAPTED
from bicross.training.cross_encoder import CrossEncoderTraining, TrainedCrossEncoder, train_cross_encoder
from bicross.training.dev import HELD_OUT
from bicross.training.groups import Group, split_groups
from bicross.training.pseudo import PseudoQuery, pseudo_queries
from bicross.training.teachers import joined, scores_of

#: Where the model is while it learns, in the folder of the index.
UNFINISHED = "adapting"

#: Fewer teach nothing that would hold for others.
FEWEST_QUERIES = 50

#: Held-out pseudo queries, at most.
MOST_HELD_OUT = 100

#: Documents of a query beside its own passage: of the first ten found, of the first fifty, by chance.
NEAR, FAR, ELSEWHERE = 3, 3, 1
NEAR_RANKS, FAR_RANKS = 10, 50


@dataclass(frozen=True)
class Adapted:
    """What came of it.

    Attributes:
        folder: Of the adapted cross-encoder, in the folder of the index.
        queries: Pseudo queries learnt from.
        training: What the training of the cross-encoder came to; measured on pseudo queries that were held out.
    """

    folder: str
    queries: int
    training: TrainedCrossEncoder


def adapt(
    index: LocalIndex,
    teachers: Sequence[str] = (),
    *,
    queries: int = 1000,
    settings: CrossEncoderTraining | None = None,
    label_bonus: float = 1.0,
    device: str = "cpu",
    say: Callable[[str], None] = lambda line: None,
) -> Adapted:
    """Teach a cross-encoder the corpus of an index, and keep it there: searches of the index then use it.

    A run that was stopped goes on from its last checkpoint when the same is called again.

    Args:
        index: Open.
        teachers: Models of either kind, stronger than the pupil and the bi-encoder of the index, which teach too.
        queries: Pseudo queries to make, at most.
        settings: Of the training; the loss is ``mse``.
        label_bonus: What the passage that a query was taken from gets beside what the teachers say.
        device: Of teachers and pupil.
        say: Is given a line now and then.

    Raises:
        UsageError: The corpus suggests fewer than ``FEWEST_QUERIES`` queries.
        ModelNotFoundError, ModelError, TrainingError, StorageError: See ``train_cross_encoder``.
    """
    settings = replace(settings or CrossEncoderTraining(), loss="mse")
    asked = pseudo_queries(index, queries, settings.seed)
    if len(asked) < FEWEST_QUERIES:
        raise UsageError(
            f"{index.path}: its documents suggest {len(asked)} queries, and at least {FEWEST_QUERIES} are needed: "
            "passages with a title, a heading or a first sentence of some words, and some more text"
        )
    say(f"{len(asked)} queries from titles, headings and first sentences; {queries} were asked for")
    groups = _groups(index, asked, settings.seed)
    base = find_model(settings.base)
    pupil = CrossEncoder(base, device=device, max_tokens=settings.max_tokens)
    say(f"{sum(len(group.documents) for group in groups):,} pairs: {settings.base} reads them")
    own = pupil.predict([(g.query, d) for g in groups for d in g.documents]).astype(np.float64)
    others = []
    for teacher in (index.embedder.name, *teachers):
        say(f"{teacher} reads them")
        others.append(scores_of(teacher, groups, device=device, max_tokens=settings.max_tokens))
    taught = _in_its_own_units(groups, own, joined([own, *others], groups), label_bonus)
    train, held_out = split_groups(taught, HELD_OUT, MOST_HELD_OUT, settings.seed)
    unfinished, finished = index.path / UNFINISHED, index.path / ADAPTED
    trained = train_cross_encoder(train, held_out, unfinished, settings, device=device, say=say)
    if (base / FITTED).is_file():  # the weights of both stages and relevance: the units are the same
        shutil.copy(base / FITTED, unfinished / FITTED)
    before = finished.with_name(f"{ADAPTED}.before")
    if finished.exists():
        finished.rename(before)
    unfinished.rename(finished)
    shutil.rmtree(before, ignore_errors=True)
    return Adapted(str(finished), len(train), trained)


def _groups(index: LocalIndex, asked: Sequence[PseudoQuery], seed: int) -> list[Group]:
    """For each query its own passage (1) and what the index finds elsewhere (0)."""
    rng = random.Random(seed)
    groups = []
    elsewhere: list[str] = []
    for query in asked:
        found = [
            candidate.chunk.embedded_text
            for candidate in index.search(query.text, top_k=FAR_RANKS)
            if candidate.chunk.document_id != query.document_id
        ]
        near, far = found[:NEAR_RANKS], found[NEAR_RANKS:]
        chosen = [
            *rng.sample(near, min(NEAR, len(near))),
            *rng.sample(far, min(FAR, len(far))),
            *rng.sample(elsewhere, min(ELSEWHERE, len(elsewhere))),
        ]
        elsewhere = found
        documents = tuple(dict.fromkeys((query.answer, *chosen)))
        groups.append(Group(query.text, documents, (1.0, *(0.0 for _ in documents[1:]))))
    return groups


def _in_its_own_units(
    groups: Sequence[Group], own: np.ndarray, teachers: np.ndarray, label_bonus: float
) -> list[Group]:
    """Targets: the level of the pupil's own logits for each query, and the spread that it has over all."""
    edges = np.cumsum([len(group.documents) for group in groups])[:-1]
    parts = np.split(own, edges)
    spread = float(np.concatenate([part - part.mean() for part in parts]).std())
    scale = spread / max(float(teachers.std()), 1e-9)
    return [
        replace(
            group,
            scores=tuple(
                float(value) for value in level.mean() + scale * said + label_bonus * np.asarray(group.labels)
            ),
        )
        for group, level, said in zip(groups, parts, np.split(teachers, edges), strict=True)
    ]

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
from pathlib import Path

import numpy as np

from bicross.calibrating.storing import store
from bicross.encoders.calibration import FILE as FITTED
from bicross.encoders.loading import find_model, weights_sha256
from bicross.errors import UsageError
from bicross.index import Index
from bicross.index.fitted import FILE as OF_INDEX
from bicross.opening import ADAPTED, ADAPTED_BEFORE, ADAPTING
from bicross.search.two_stages import read_two_stages
from bicross.training.card import write_card
from bicross.training.cross_encoder import CrossEncoderTraining, TrainedCrossEncoder, learn
from bicross.training.dev import HELD_OUT
from bicross.training.groups import Group, split_groups
from bicross.training.pseudo import PseudoQuery, pseudo_queries
from bicross.training.running import check_machine, close_run
from bicross.training.teachers import joined, scores_of

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
        folder: Of the adapted cross-encoder, in the folder of the index; empty where it was no gain and was not kept.
        queries: Pseudo queries learnt from.
        training: What the training of the cross-encoder came to; measured on pseudo queries that were held out.
    """

    folder: str
    queries: int
    training: TrainedCrossEncoder


def adapt(
    index: Index,
    teachers: Sequence[str] = (),
    *,
    queries: int = 1000,
    settings: CrossEncoderTraining | None = None,
    label_bonus: float = 1.0,
    device: str = "cpu",
    say: Callable[[str], None] = lambda line: None,
) -> Adapted:
    """Teach a cross-encoder the corpus of an index, and keep it there: searches of the index then use it.

    A run that was stopped goes on from its last checkpoint when the same is called again; with other documents or
    settings it begins anew. What is no gain on held-out pseudo queries is not kept.

    Args:
        index: Open.
        teachers: Models of either kind, stronger than the pupil and the bi-encoder of the index, which teach too.
        queries: Pseudo queries to make, at most.
        settings: Of the training; the loss is ``mse``.
        label_bonus: What the passage that a query was taken from gets beside what the teachers say.
        device: Of teachers and pupil.
        say: Is given a line now and then.

    Raises:
        UsageError: ``queries`` is less than ``FEWEST_QUERIES``, or the corpus does not suggest as many.
        ModelNotFoundError, ModelError, TrainingError, StorageError: See ``train_cross_encoder``.
    """
    settings = replace(settings or CrossEncoderTraining(), loss="mse")
    settings.check()
    check_machine(settings, device)
    if queries < FEWEST_QUERIES:
        raise UsageError(f"queries is {queries}; it must be at least {FEWEST_QUERIES}")
    unfinished, finished, before = (index.path / name for name in (ADAPTING, ADAPTED, ADAPTED_BEFORE))
    if before.exists() and not finished.exists():  # it was stopped between two renames
        before.rename(finished)
    asked = pseudo_queries(index, queries, settings.seed)
    if len(asked) < FEWEST_QUERIES:
        raise UsageError(
            f"{index.path}: its documents suggest {len(asked)} queries, and at least {FEWEST_QUERIES} are needed: "
            "passages with a title, a heading or a first sentence of some words, and some more text"
        )
    say(f"{len(asked)} queries from titles, headings and first sentences; {queries} were asked for")
    groups = _groups(index, asked, settings.seed)
    base = find_model(settings.base)
    say(f"{sum(len(group.documents) for group in groups):,} pairs")
    said = []
    for model in (settings.base, index.embedder.name, *teachers):
        say(f"{model} reads them")
        said.append(scores_of(model, groups, device=device, max_tokens=settings.max_tokens))
    taught = _in_its_own_units(groups, said[0], joined(said, groups), label_bonus)
    train, held_out = split_groups(taught, HELD_OUT, MOST_HELD_OUT, settings.seed)
    run, trained = learn(train, held_out, unfinished, settings, device=device, say=say, ours=True)
    if trained.after <= trained.before:
        shutil.rmtree(unfinished)
        return Adapted("", len(train), trained)
    if (base / FITTED).is_file():  # the weights of both stages and relevance: the units are the same
        shutil.copy(base / FITTED, unfinished / FITTED)
    close_run(run, trained)
    shutil.rmtree(before, ignore_errors=True)
    if finished.exists():
        finished.rename(before)
    unfinished.rename(finished)
    shutil.rmtree(before, ignore_errors=True)
    lines = _described(index, teachers, len(train), trained)
    write_card(finished, "text-ranking", settings.base, lines, "bicross adapt")
    _carry_numbers(index, weights_sha256(base), weights_sha256(finished))
    return Adapted(str(finished), len(train), trained)


def _carry_numbers(index: Index, base: str, adapted: str) -> None:
    """What was calibrated on the index for the base holds for the adapted one too."""
    file = index.path / OF_INDEX
    for numbers in read_two_stages(file):
        if numbers.cross_encoder_sha256 == base:
            store(file, replace(numbers, cross_encoder_sha256=adapted))


def _described(index: Index, teachers: Sequence[str], queries: int, trained: TrainedCrossEncoder) -> list[str]:
    """Lines of the model card."""
    named = ", ".join([index.embedder.name, *(Path(teacher).name for teacher in teachers)])
    return [
        f"Adapted to the documents of an index: {queries:,} queries from their titles, headings and first sentences, "
        f"{trained.pairs:,} pairs, {trained.steps} steps.",
        f"Taught by the mean of what it said itself and of {named}.",
        f"nDCG@10 on such queries that it did not learn from: {trained.before:.4f} before, {trained.after:.4f} after. "
        "What it is worth on queries of people, only their judgements say.",
        "Relevance and the weights of both stages are those of the model that it was adapted from.",
    ]


def _groups(index: Index, asked: Sequence[PseudoQuery], seed: int) -> list[Group]:
    """For each query its own passage (1) and what the index finds elsewhere (0)."""
    rng = random.Random(seed)
    groups = []
    before: list[tuple[str, str]] = []
    for query in asked:
        listed = [(c.chunk.document_id, c.chunk.embedded_text) for c in index.search(query.text, top_k=FAR_RANKS)]
        found, elsewhere = (
            [text for document_id, text in some if document_id != query.document_id] for some in (listed, before)
        )
        near, far = found[:NEAR_RANKS], found[NEAR_RANKS:]
        chosen = [
            *rng.sample(near, min(NEAR, len(near))),
            *rng.sample(far, min(FAR, len(far))),
            *rng.sample(elsewhere, min(ELSEWHERE, len(elsewhere))),
        ]
        before = listed
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

"""Train a cross-encoder on judged pairs, on what a teacher says of them, or on both.

The trainer is that of sentence-transformers; the losses are in ``losses.py``. When it is done, relevance is fitted on
the held-out queries, and int8 and bf16 are compared with f32 on them.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

import ir_measures
import numpy as np
import numpy.typing as npt
import torch
from datasets import Dataset
from ir_measures import nDCG
from sentence_transformers.base.evaluation import BaseEvaluator
from sentence_transformers.cross_encoder import CrossEncoderTrainer, CrossEncoderTrainingArguments

from bicross.calibrating.relevance import fit_calibration
from bicross.calibrating.storing import update
from bicross.encoders import CrossEncoder, quantise
from bicross.encoders.calibration import FILE as FITTED
from bicross.encoders.engines.openvino import resolve_precision
from bicross.encoders.families import architecture
from bicross.encoders.folder import read_config
from bicross.encoders.loading import DEFAULT_CROSS_ENCODER, find_model, weights_sha256
from bicross.encoders.quantising import FEWEST
from bicross.errors import UsageError
from bicross.search.two_stages import calibration_json
from bicross.training.card import write_card
from bicross.training.groups import Group, in_pieces
from bicross.training.lengths import PairsByLength
from bicross.training.losses import LOSSES, POINTWISE, TAUGHT, loss_of, wanted
from bicross.training.running import (
    NDCG,
    Patience,
    Run,
    SayMeasures,
    arguments,
    check_folder,
    check_machine,
    close_run,
    fingerprint,
    one_device,
    open_run,
    run_to_the_end,
    saving,
)

#: Texts that int8 is calibrated on, at most.
INT8_TEXTS = 256


@dataclass(frozen=True)
class CrossEncoderTraining:
    """What the result depends on, besides the groups.

    Attributes:
        base: The model to start from: a cross-encoder, or a bi-encoder whose body gets a new head.
        loss: One of ``LOSSES``; empty: margin-mse where a teacher scored, graded where there are grades, else binary.
        layers: Keep so many of the base's layers, evenly spread; 0: all.
        epochs: How often each pair is seen, at most.
        batch: Pairs a step.
        group: Documents of a query that are compared with each other at once, at most.
        learning_rate: At its highest; it rises over the first tenth of the steps and falls to 0.
        max_tokens: Of a pair; what is longer is cut.
        patience: Stop after so many measures in a row that are not better.
        every: Steps from one measure, and checkpoint, to the next; 0: a fifth of all steps.
        precision: ``auto`` (bf16 where the machine computes in it), ``f32`` or ``bf16``.
        seed: Of the order of the pairs, of a new head and of dropout.
    """

    base: str = DEFAULT_CROSS_ENCODER
    loss: str = ""
    layers: int = 0
    epochs: float = 1.0
    batch: int = 64
    group: int = 8
    learning_rate: float = 3e-5
    max_tokens: int = 256
    patience: int = 2
    every: int = 0
    precision: str = "auto"
    seed: int = 1

    def check(self) -> None:
        """Raises: UsageError: a number is out of its range, or there is no such loss."""
        for name in ("epochs", "batch", "learning_rate", "max_tokens", "patience"):
            if not getattr(self, name) > 0:
                raise UsageError(f"{name} is {getattr(self, name)}; it must be more than 0")
        for name in ("layers", "every"):
            if getattr(self, name) < 0:
                raise UsageError(f"{name} is {getattr(self, name)}; it must not be negative")
        if not 2 <= self.group <= self.batch:
            raise UsageError(f"group is {self.group}; it must be between 2 and the batch of {self.batch}")
        if self.loss and self.loss not in LOSSES:
            raise UsageError(f"the loss {self.loss!r} is unknown; choose one of {', '.join(LOSSES)}")


@dataclass(frozen=True)
class TrainedCrossEncoder:
    """What came of it.

    Attributes:
        loss: That was used.
        before, after: nDCG@10 of the held-out groups, of the base and of the model that was kept.
        step: At which that model stood.
        steps: That were done.
        stopped_early: Before all epochs were over, since it got no better.
        pairs, seconds: Learnt from, in this process.
        calibrated: Relevance was fitted: the held-out queries are judged.
        precisions: Of bf16 and int8, as far as this machine has them: nDCG@10 of the held-out groups, and the
            correlation of the logits with those of f32.
    """

    loss: str
    before: float
    after: float
    step: int
    steps: int
    stopped_early: bool
    pairs: int
    seconds: float
    calibrated: bool = False
    precisions: dict[str, dict[str, float]] = field(default_factory=dict)


def train_cross_encoder(
    groups: Sequence[Group],
    dev: Sequence[Group],
    into: Path,
    settings: CrossEncoderTraining | None = None,
    *,
    device: str = "cpu",
    say: Callable[[str], None] = lambda line: None,
) -> TrainedCrossEncoder:
    """Train, and write a model folder that bicross and sentence-transformers open.

    A run that was stopped, however hard, goes on from its last checkpoint when the same is called again.

    Args:
        groups: Queries that are not in ``dev``; with a teacher's scores (``scored_by``), judgements, or both.
        dev: What it is measured on: nDCG@10 of the order of each group, by its judgements, or where it has none by the
            teacher's scores. The model that was best there is kept.
        into: New folder, or that of a run that was stopped.
        settings: The default is ``CrossEncoderTraining()``.
        device: ``cpu``, or ``cuda``.
        say: Is given a line now and then.

    Raises:
        UsageError: A number is out of range, the loss needs what the groups lack, there are fewer pairs than a batch,
            nothing is to be told apart in ``dev``, or ``into`` holds something else.
        ModelNotFoundError, ModelError: See ``find_model``.
        TrainingError: The loss became no number; the last checkpoint is kept.
        StorageError: The disk is full; the last checkpoint is kept.
    """
    settings = settings or CrossEncoderTraining()
    run, trained = learn(groups, dev, into, settings, device=device, say=say)
    measured = [group for group in dev if group.tells_apart]
    say("relevance is fitted, and precisions are compared, on the held-out queries")
    trained = replace(trained, calibrated=_calibrate(into, dev), precisions=_precisions(into, measured))
    write_card(into, "text-ranking", settings.base, _described(len(measured), settings, trained))
    close_run(run, trained)
    return trained


def learn(
    groups: Sequence[Group],
    dev: Sequence[Group],
    into: Path,
    settings: CrossEncoderTraining,
    *,
    device: str,
    say: Callable[[str], None],
    ours: bool = False,
) -> tuple[Run, TrainedCrossEncoder]:
    """The training itself, without what ``train_cross_encoder`` does with the model afterwards.

    Takes and raises what that does. With ``ours``, what another run left in ``into`` is thrown away.

    Returns:
        The run, which is to be closed, and what came of it.
    """
    settings.check()
    check_machine(settings, device)
    if not ours:
        check_folder(into)
    loss, highest = chosen_loss(settings.loss, groups)
    measured = [group for group in dev if group.tells_apart]
    if not measured:
        raise UsageError("no held-out query has documents of different relevance; nothing can be measured on them")
    columns, pairs = _columns(groups, loss, highest, settings)
    per_step = settings.batch if loss in POINTWISE else max(1, settings.batch // settings.group)
    if len(columns["query"]) < per_step:
        raise UsageError(
            f"{pairs} pairs to learn from are fewer than a batch of {settings.batch}; give a smaller --batch"
        )
    base = find_model(settings.base)
    architecture(read_config(base), str(base))
    taught = any(group.scores for group in groups)
    model, limit = _model(base, settings, device, dropout=not taught)
    run = open_run(
        into,
        {
            **asdict(settings),
            "loss": loss,
            "base_sha256": weights_sha256(base),
            "groups": fingerprint(_texts(groups)),
            "dev": fingerprint(_texts(dev)),
        },
        ours=ours,
    )
    evaluator = _OrderOfGroups(measured)
    before = evaluator(model)[NDCG]
    say(f"before: nDCG@10 {before:.4f} on {len(measured)} held-out queries, {_count(measured)} pairs")
    trainer = CrossEncoderTrainer(
        model=model,
        args=one_device(
            CrossEncoderTrainingArguments(
                **arguments(settings, run, device, len(columns["query"]) // per_step, per_step)
            )
        ),
        train_dataset=Dataset.from_dict(columns),
        loss=loss_of(loss, model),
        evaluator=evaluator,
        callbacks=[Patience(settings.patience), SayMeasures(say)],
    )
    started = time.perf_counter()
    run_to_the_end(trainer, run, say)
    seconds = time.perf_counter() - started
    model.max_seq_length = limit  # what was cut was cut to learn faster
    with saving(run):
        model.save_pretrained(str(into), create_model_card=False)
    done = trainer.state.global_step
    return run, TrainedCrossEncoder(
        loss=loss,
        before=before,
        after=float(trainer.state.best_metric or 0.0),
        step=int(trainer.state.best_global_step or done),
        steps=done,
        stopped_early=done < trainer.state.max_steps,
        pairs=pairs,
        seconds=seconds,
    )


def chosen_loss(name: str, groups: Sequence[Group]) -> tuple[str, float]:
    """The loss to use, and the highest label.

    Raises:
        UsageError: The groups lack what it needs, or have labels that it cannot take.
    """
    taught = all(group.scores is not None for group in groups)
    judged = all(group.labels is not None for group in groups)
    highest = max((label for group in groups for label in group.labels or ()), default=0.0) or 1.0
    loss = name or ("margin-mse" if taught else "graded" if highest > 1 else "binary")
    if loss in ("margin-mse", "mse") and not taught:
        raise UsageError(f"{loss} learns from a teacher; name one with --teacher, or give pairs with a score")
    if (loss not in TAUGHT and not judged) or (loss == "softmax" and not (judged or taught)):
        raise UsageError(f"{loss} learns from labels, and not all pairs have one; label them, or name a --teacher")
    if loss == "binary" and highest > 1:
        raise UsageError(f"binary takes labels of 0 and 1, and there is {highest:g}; choose --loss graded or lambda")
    return loss, highest


def _columns(
    groups: Sequence[Group], loss: str, highest: float, settings: CrossEncoderTraining
) -> tuple[dict[str, list[Any]], int]:
    """What the trainer takes: a row for each pair, or for each query with some documents. And the number of pairs."""
    if loss in POINTWISE:
        rows = [
            (group.query, document, label)
            for group in groups
            for document, label in zip(
                group.documents, wanted(loss, list(group.labels or ()), None, highest), strict=True
            )
        ]
        return {n: [row[i] for row in rows] for i, n in enumerate(("query", "document", "label"))}, len(rows)
    pieces = in_pieces(groups, settings.group, settings.seed)
    return {
        "query": [piece.query for piece in pieces],
        "documents": [list(piece.documents) for piece in pieces],
        "labels": [
            wanted(loss, piece.labels and list(piece.labels), piece.scores and list(piece.scores), highest)  # type: ignore[arg-type]
            for piece in pieces
        ],
    }, _count(pieces)


def _model(
    base: Path, settings: CrossEncoderTraining, device: str, *, dropout: bool
) -> tuple[PairsByLength, int | None]:
    """The model, and how many tokens it reads when it is not learning."""
    torch.manual_seed(settings.seed)  # of a new head
    # soft targets do not let it overfit, and drawing masks takes a fifth of the time
    without = {"hidden_dropout_prob": 0.0, "attention_probs_dropout_prob": 0.0}
    model = PairsByLength(
        str(base),
        num_labels=1,
        device=device,
        model_kwargs={"dtype": torch.float32},
        config_kwargs={} if dropout else without,
    )
    model.model_card_data.generate_widget_examples = False  # they would be texts of the user's
    if settings.layers:
        _keep_layers(model, settings.layers)
    limit = model.max_seq_length
    model.max_seq_length = min(settings.max_tokens, limit or settings.max_tokens)
    return model, limit


def _keep_layers(model: PairsByLength, number: int) -> None:
    """Drop layers, evenly: of six, four leaves 0, 2, 3 and 5."""
    whole = model[0].model
    body = getattr(whole, whole.base_model_prefix)
    holder = body.encoder if hasattr(body, "encoder") else body.transformer
    there = len(holder.layer)
    if number > there:
        raise UsageError(f"layers is {number}, and the base has {there}")
    kept = np.linspace(0, there - 1, number).round().astype(int)
    holder.layer = torch.nn.ModuleList([holder.layer[int(place)] for place in kept])
    name = "num_hidden_layers" if hasattr(whole.config, "num_hidden_layers") else "n_layers"
    setattr(whole.config, name, number)


class _OrderOfGroups(BaseEvaluator):
    """nDCG@10 of the order that the model gives the documents of each group."""

    def __init__(self, groups: Sequence[Group]) -> None:
        super().__init__()
        self.groups = groups
        self.pairs = [(group.query, document) for group in groups for document in group.documents]
        self.primary_metric = NDCG

    def __call__(self, model: PairsByLength, *args: Any, **kwargs: Any) -> dict[str, float]:
        scores = model.predict(self.pairs, batch_size=32, activation_fn=torch.nn.Identity(), show_progress_bar=False)
        return {NDCG: order_quality(self.groups, scores)}


def order_quality(groups: Sequence[Group], scores: Sequence[float] | npt.NDArray[np.float32]) -> float:
    """Mean nDCG@10 of groups of which the documents have these scores, one after the other."""
    qrels: dict[str, dict[str, int]] = {}
    run: dict[str, dict[str, float]] = {}
    start = 0
    for number, group in enumerate(groups):
        values = np.asarray(group.labels if group.labels and len(set(group.labels)) > 1 else group.scores, float)
        gains = np.round(1000 * (values - min(values.min(), 0 if group.labels else np.inf)) / np.ptp(values)).astype(
            int
        )
        names = [f"d{i}" for i in range(len(group.documents))]
        qrels[f"q{number}"] = dict(zip(names, gains.tolist(), strict=True))
        own = scores[start : start + len(names)]
        run[f"q{number}"] = {name: float(score) for name, score in zip(names, own, strict=True)}
        start += len(names)
    return float(ir_measures.calc_aggregate([nDCG @ 10], qrels, run)[nDCG @ 10])


def _calibrate(folder: Path, dev: Sequence[Group]) -> bool:
    """Fit relevance on the judged held-out groups; False where there are too few of either kind."""
    judged = [group for group in dev if group.labels]
    relevant = [np.array([float(label > 0) for label in group.labels or ()]) for group in judged]
    if len(judged) < 5 or not 0 < np.concatenate(relevant).mean() < 1:
        return False
    logits = CrossEncoder(folder, precision="f32").predict([(g.query, d) for g in judged for d in g.documents])
    edges = np.cumsum([len(group.documents) for group in judged])[:-1]
    scores = [part.astype(np.float64) for part in np.split(logits, edges)]
    calibration = fit_calibration(scores, relevant, np.ones(len(judged)))
    update(folder / FITTED, {"calibration": calibration_json(calibration)})
    return True


def _precisions(folder: Path, dev: Sequence[Group]) -> dict[str, dict[str, float]]:
    """How near bf16 and int8 come to f32, on the held-out groups."""
    texts = list(dict.fromkeys(document for group in dev for document in group.documents))[:INT8_TEXTS]
    pairs = [(group.query, document) for group in dev for document in group.documents]
    wanted = ["bf16"] if resolve_precision("auto") == "bf16" else []
    if len(texts) >= FEWEST:
        quantise(folder, texts, show_progress=False)
        wanted.append("int8")
    exact = CrossEncoder(folder, precision="f32").predict(pairs, show_progress=False)
    found = {"f32": {"ndcg": order_quality(dev, exact), "correlation": 1.0}}
    for precision in wanted:
        logits = CrossEncoder(folder, precision=precision).predict(pairs, show_progress=False)
        alike = float(np.corrcoef(exact, logits)[0, 1])
        found[precision] = {"ndcg": order_quality(dev, logits), "correlation": alike}
    return {name: {what: round(value, 4) for what, value in row.items()} for name, row in found.items()}


def _texts(groups: Sequence[Group]) -> Any:
    for group in groups:
        yield group.query
        yield from group.documents
        yield repr((group.labels, group.scores and [round(score, 3) for score in group.scores]))


def _count(groups: Sequence[Group]) -> int:
    return sum(len(group.documents) for group in groups)


def _described(measured: int, settings: CrossEncoderTraining, trained: TrainedCrossEncoder) -> list[str]:
    """Lines of the model card."""
    near = ", ".join(
        f"{name} {row['ndcg']:.4f} (correlation with f32 {row['correlation']:.4f})"
        for name, row in trained.precisions.items()
        if name != "f32"
    )
    return [
        f"Learnt from {trained.pairs:,} pairs of a query and a document, with the loss {trained.loss}"
        + (f", from {settings.layers} layers of the base." if settings.layers else "."),
        f"{trained.steps} steps of {settings.batch} pairs, at most {settings.epochs:g} epochs, learning rate "
        f"{settings.learning_rate:g}, pairs cut at {settings.max_tokens} tokens, seed {settings.seed}.",
        f"nDCG@10 on {measured} queries that it did not learn from: {trained.before:.4f} before, {trained.after:.4f} "
        f"after (step {trained.step}, the best one)." + (f" In other precisions: {near}." if near else ""),
        "Relevance was fitted on the same queries."
        if trained.calibrated
        else "Relevance is the bare logistic of the logit: the held-out queries were not judged.",
    ]

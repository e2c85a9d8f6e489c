"""Train a bi-encoder by contrast: the text that answers a query is to be nearer to it than all others of the batch.

The loss is multiple negatives ranking (Henderson et al. 2017; InfoNCE, van den Oord et al. 2018), by default in both
directions, with mined negatives where the examples have them, and with GradCache (Gao et al. 2021) where a batch is too
large to be held at once. The trainer is that of sentence-transformers.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from datasets import Dataset
from sentence_transformers import SentenceTransformer, SentenceTransformerTrainer, SentenceTransformerTrainingArguments
from sentence_transformers.sentence_transformer.evaluation import InformationRetrievalEvaluator
from sentence_transformers.sentence_transformer.losses import (
    CachedMultipleNegativesRankingLoss,
    MatryoshkaLoss,
    MultipleNegativesRankingLoss,
)
from sentence_transformers.util import cos_sim
from torch import nn

from bicross.encoders.families import architecture
from bicross.encoders.folder import read_config
from bicross.encoders.loading import DEFAULT_BI_ENCODER, find_model, weights_sha256
from bicross.errors import UsageError
from bicross.training.batches import Apart, batches_apart
from bicross.training.card import write_card
from bicross.training.dev import Dev
from bicross.training.examples import Example, same_negatives
from bicross.training.lengths import ByLength
from bicross.training.running import (
    NDCG,
    Patience,
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

#: Tokens of a batch that are held at once, with all that their gradients need: about 6 GB with a model of six layers.
HELD_TOKENS = 20_000


@dataclass(frozen=True)
class BiEncoderTraining:
    """What the result depends on, besides the examples.

    Attributes:
        base: The model to start from: a name or a folder.
        epochs: How often each example is seen, at most.
        batch: Examples a step. The more, the more texts each query is told apart from.
        learning_rate: At its highest; it rises over the first tenth of the steps and falls to 0.
        max_tokens: Of a text; what is longer is cut.
        negatives: Of each example, at most so many.
        one_way: Only from the query to the texts, not from the text to the queries too.
        scale: Of the cosine in the softmax: 1 / temperature.
        dimensions: Matryoshka (Kusupati et al. 2022): embeddings are to be good when cut to these lengths too.
        patience: Stop after so many measures in a row that are not better.
        every: Steps from one measure, and checkpoint, to the next; 0: a fifth of all steps.
        precision: ``auto`` (bf16 where the machine computes in it), ``f32`` or ``bf16``.
        seed: Of the order of the examples and of dropout.
    """

    base: str = DEFAULT_BI_ENCODER
    epochs: float = 1.0
    batch: int = 64
    learning_rate: float = 2e-5
    max_tokens: int = 256
    negatives: int = 1
    one_way: bool = False
    scale: float = 20.0
    dimensions: tuple[int, ...] = ()
    patience: int = 2
    every: int = 0
    precision: str = "auto"
    seed: int = 1

    def check(self) -> None:
        """Raises: UsageError: a number is out of its range."""
        for name in ("epochs", "batch", "learning_rate", "max_tokens", "scale", "patience"):
            if not getattr(self, name) > 0:
                raise UsageError(f"{name} is {getattr(self, name)}; it must be more than 0")
        for name in ("negatives", "every"):
            if getattr(self, name) < 0:
                raise UsageError(f"{name} is {getattr(self, name)}; it must not be negative")
        if self.batch < 2:
            raise UsageError("batch is 1; contrast needs at least 2 examples")


@dataclass(frozen=True)
class Trained:
    """What came of it.

    Attributes:
        before, after: nDCG@10 of the dev split, of the base and of the model that was kept.
        step: At which that model stood.
        steps: That were done.
        stopped_early: Before all epochs were over, since it got no better.
        examples, seconds: Learnt from, in this process.
    """

    before: float
    after: float
    step: int
    steps: int
    stopped_early: bool
    examples: int
    seconds: float


def train_bi_encoder(
    examples: Sequence[Example],
    dev: Dev,
    into: Path,
    settings: BiEncoderTraining | None = None,
    *,
    device: str = "cpu",
    say: Callable[[str], None] = lambda line: None,
) -> Trained:
    """Train, and write a model folder that bicross and sentence-transformers open.

    A run that was stopped, however hard, goes on from its last checkpoint when the same is called again.

    Args:
        examples: Queries that are not in ``dev``; see ``without_overlap``.
        dev: What it is measured on; the model that was best there is kept.
        into: New folder, or that of a run that was stopped.
        settings: The default is ``BiEncoderTraining()``.
        device: ``cpu``, or ``cuda``.
        say: Is given a line now and then.

    Raises:
        UsageError: A number is out of range, there are fewer examples than a batch, or ``into`` holds something else.
        ModelNotFoundError, ModelError: See ``find_model``.
        TrainingError: The loss became no number; the last checkpoint is kept.
        StorageError: The disk is full; the last checkpoint is kept.
    """
    settings = settings or BiEncoderTraining()
    settings.check()
    check_machine(settings, device)
    check_folder(into)
    base = find_model(settings.base)
    architecture(read_config(base), str(base))
    model, limit = _model(base, settings, device)
    columns = _columns(same_negatives(examples, settings.negatives))
    batches = batches_apart(list(zip(*columns.values(), strict=True)), settings.batch, settings.seed)
    if not batches:
        queries, positives = (len(set(columns[name])) for name in ("query", "positive"))
        raise UsageError(
            f"{len(examples)} examples with {queries} different queries and {positives} different answers are fewer "
            f"than a batch of {settings.batch}, in which none may come twice; give more, or a smaller --batch"
        )
    asked = {
        **asdict(settings),
        "base_sha256": weights_sha256(base),
        "examples": fingerprint(text for column in columns.values() for text in column),
        "dev": fingerprint(iter((*dev.queries.values(), *dev.documents.values()))),
    }
    run = open_run(into, asked)
    evaluator = _Found(dev, *_prompts(model))
    before = evaluator(model)[NDCG]
    say(f"before: nDCG@10 {before:.4f} on {dev.name}: {len(dev.queries)} queries, {len(dev.documents)} documents")
    trainer = SentenceTransformerTrainer(
        model=model,
        args=one_device(
            SentenceTransformerTrainingArguments(
                batch_sampler=Apart,
                prompts=_prompts_of(columns, *_prompts(model)),
                **arguments(settings, run, device, len(batches), settings.batch),
            )
        ),
        train_dataset=Dataset.from_dict(columns),
        loss=_loss(model, settings, len(columns) - 1),
        evaluator=evaluator,
        callbacks=[Patience(settings.patience), SayMeasures(say)],
    )
    started = time.perf_counter()
    run_to_the_end(trainer, run, say)
    done = trainer.state.global_step
    trained = Trained(
        before=before,
        after=float(trainer.state.best_metric or 0.0),
        step=int(trainer.state.best_global_step or done),
        steps=done,
        stopped_early=done < trainer.state.max_steps,
        examples=len(examples),
        seconds=time.perf_counter() - started,
    )
    model.max_seq_length = limit  # what was cut was cut to learn faster
    with saving(run):
        model.save_pretrained(str(into), create_model_card=False)
    write_card(into, "sentence-similarity", settings.base, _described(examples, dev, settings, trained))
    close_run(run, trained)
    return trained


def _model(base: Path, settings: BiEncoderTraining, device: str) -> tuple[ByLength, int | None]:
    """The model, and how many tokens it reads when it is not learning."""
    # the master weights are in f32, whatever the base is stored in: small steps would be rounded away
    model = ByLength(str(base), device=device, model_kwargs={"dtype": torch.float32})
    model.model_card_data.generate_widget_examples = False  # they would be texts of the user's
    limit = model.max_seq_length
    model.max_seq_length = min(settings.max_tokens, limit or settings.max_tokens)
    dimension = model.get_embedding_dimension() or 0
    if wrong := [d for d in settings.dimensions if not 1 <= d < dimension]:
        raise UsageError(f"a dimension of {wrong[0]} does not shorten the {dimension} of {settings.base}")
    return model, limit


def _columns(examples: Sequence[Example]) -> dict[str, list[str]]:
    columns = {"query": [e.query for e in examples], "positive": [e.positive for e in examples]}
    for number in range(len(examples[0].negatives)):
        columns[f"negative_{number + 1}"] = [e.negatives[number] for e in examples]
    return columns


def _prompts(model: ByLength) -> tuple[str, str]:
    """What the model wants before a query and before a document; some call the latter a passage."""
    named = model.prompts
    return named.get("query") or "", named.get("document") or named.get("passage") or ""


def _prompts_of(columns: dict[str, list[str]], of_query: str, of_document: str) -> dict[str, str] | None:
    both = {column: of_query if column == "query" else of_document for column in columns}
    return both if of_query or of_document else None


def _loss(model: ByLength, settings: BiEncoderTraining, texts: int) -> nn.Module:
    directions = ("query_to_doc",) if settings.one_way else ("query_to_doc", "doc_to_query")
    shared: dict[str, Any] = {"scale": settings.scale, "directions": directions, "partition_mode": "per_direction"}
    if settings.batch * settings.max_tokens * texts <= HELD_TOKENS:
        loss: nn.Module = MultipleNegativesRankingLoss(model, **shared)
    else:
        held = max(2, HELD_TOKENS // settings.max_tokens)
        loss = CachedMultipleNegativesRankingLoss(model, mini_batch_size=held, **shared)
    if not settings.dimensions:
        return loss
    whole = model.get_embedding_dimension()
    return MatryoshkaLoss(model, loss, matryoshka_dims=[whole, *sorted(settings.dimensions, reverse=True)])


class _Found(InformationRetrievalEvaluator):
    """nDCG@10 of the documents that the model finds for the dev queries."""

    def __init__(self, dev: Dev, of_query: str, of_document: str) -> None:
        super().__init__(
            dev.queries,
            dev.documents,
            dev.relevant,
            accuracy_at_k=[10],
            precision_recall_at_k=[10],
            map_at_k=[10],
            write_csv=False,
            score_functions={"cosine": cos_sim},
            query_prompt=of_query or None,
            corpus_prompt=of_document or None,
        )

    def __call__(self, model: SentenceTransformer, *args: Any, **kwargs: Any) -> dict[str, float]:
        return {NDCG: float(super().__call__(model, *args, **kwargs)["cosine_ndcg@10"])}


def _described(examples: Sequence[Example], dev: Dev, settings: BiEncoderTraining, trained: Trained) -> list[str]:
    """Lines of the model card."""
    mined = sum(bool(example.negatives) for example in examples)
    directions = "from queries to texts" if settings.one_way else "in both directions"
    lines = [
        f"Learnt from {len(examples):,} pairs of a query and a text that answers it"
        + (f", {mined:,} of them with hard negatives ({settings.negatives} at most)." if mined else "."),
        f"Loss: multiple negatives ranking {directions}, scale {settings.scale:g}, batches of {settings.batch}.",
        f"{trained.steps} steps, at most {settings.epochs:g} epochs, learning rate {settings.learning_rate:g}, "
        f"texts cut at {settings.max_tokens} tokens, seed {settings.seed}.",
        f"nDCG@10 on {len(dev.queries)} queries that it did not learn from, among {len(dev.documents)} documents: "
        f"{trained.before:.4f} before, {trained.after:.4f} after (step {trained.step}, the best one).",
    ]
    if settings.dimensions:
        cut = ", ".join(map(str, settings.dimensions))
        lines.append(
            f"To be cut to {cut} numbers too (Matryoshka): `BiEncoder(…, truncate_dim={settings.dimensions[0]})`."
        )
    return lines

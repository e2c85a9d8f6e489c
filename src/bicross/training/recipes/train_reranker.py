"""Train the bundled cross-encoder on the groups that ``prepare_reranker`` made.

The loss of a group is the cross-entropy between softmax(teacher + LABEL_NATS * label) and
softmax(logit + offset_share * offset): listwise distillation (ListNet, Cao et al. 2007) in which the judgements move
the teacher's distribution and the retriever's score enters as a constant. Judged groups also pay a binary
cross-entropy on the bare logit, so that its level means the same for every query and can be calibrated.

Checkpoints are written as it goes; the same command continues from the last one.

Run: ``python -m bicross.training.recipes.train_reranker --groups WORK --base DIR --out RUN``. A second phase starts
from the first one's checkpoint, with ``--offset-share 0``: there the model learns to stand without the retriever.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from datasets import Dataset
from sentence_transformers.cross_encoder import CrossEncoder, CrossEncoderTrainer, CrossEncoderTrainingArguments
from torch import Tensor, nn

SEED = 20261123
LABEL_NATS = 3.0
MAX_TOKENS = 144
COLUMNS = 3  # teacher, offset, label: one flat list a group


def logits_of(model: CrossEncoder, pairs: list[tuple[str, str]], slice_pairs: int = 16) -> Tensor:
    """fp32 logits in the order of ``pairs``; texts of like length share a slice, so little is padding."""
    order = sorted(range(len(pairs)), key=lambda i: len(pairs[i][0]) + min(len(pairs[i][1]), 600))
    parts = []
    for start in range(0, len(order), slice_pairs):
        features = model.preprocess([pairs[i] for i in order[start : start + slice_pairs]])
        features = {k: v.to(model.device) if isinstance(v, Tensor) else v for k, v in features.items()}
        parts.append(model(features)["scores"].view(-1))
    back = torch.empty(len(order), dtype=torch.long)
    back[torch.tensor(order)] = torch.arange(len(order))
    return torch.cat(parts).float()[back]


class OffsetListwiseLoss(nn.Module):
    """Listwise distillation with the retriever's score as a constant; see the module's docstring."""

    def __init__(self, model: CrossEncoder, offset_share: float = 0.5, pointwise_weight: float = 0.2) -> None:
        super().__init__()
        self.model = model
        self.offset_share = offset_share
        self.pointwise_weight = pointwise_weight

    def forward(
        self, inputs: list[Any], labels: list[Tensor], prompt: str | None = None, task: str | None = None
    ) -> Tensor:
        queries, documents = inputs
        logits = logits_of(self.model, [(q, d) for q, group in zip(queries, documents, strict=True) for d in group])
        losses, start = [], 0
        for group, flat in zip(documents, labels, strict=True):
            logit = logits[start : start + len(group)]
            start += len(group)
            teacher, offset, label = flat.float().view(COLUMNS, -1).to(logit.device)
            judged = bool((label >= 0).all())
            target = torch.softmax(teacher + LABEL_NATS * label.clamp(min=0, max=1) * judged, dim=0)
            loss = -(target * torch.log_softmax(logit + self.offset_share * offset, dim=0)).sum()
            if judged:
                loss = loss + self.pointwise_weight * nn.functional.binary_cross_entropy_with_logits(
                    logit, label.clamp(max=1)
                )
            losses.append(loss)
        return torch.stack(losses).mean()


def chosen(groups: list[dict[str, Any]], sources: list[str]) -> list[dict[str, Any]]:
    """The groups of the named sources, at most so many of each as ``NAME:MOST`` says; all when none is named."""
    if not sources:
        return groups
    limits = {name: int(most or len(groups)) for name, _, most in (s.partition(":") for s in sources)}
    out = []
    for group in groups:
        if limits.get(group["source"], 0) > 0:
            limits[group["source"]] -= 1
            out.append(group)
    return out


def start(folder: str, max_tokens: int) -> CrossEncoder:
    """The model to train, with fp32 weights and a head of one logit."""
    torch.manual_seed(SEED)
    return CrossEncoder(
        folder,
        num_labels=1,
        max_length=max_tokens,
        model_kwargs={"dtype": torch.float32},
        # no dropout: one pass over soft targets does not overfit, and the random masks cost a fifth of the time
        config_kwargs={"hidden_dropout_prob": 0.0, "attention_probs_dropout_prob": 0.0},
    )


def train(
    model: CrossEncoder, dataset: Dataset, loss: Callable[[CrossEncoder], nn.Module], out: Path, **arguments: Any
) -> None:
    """Train, going on from the last checkpoint in ``out`` where there is one, and save the model as ``out/final``."""
    trainer = CrossEncoderTrainer(
        model=model,
        args=CrossEncoderTrainingArguments(
            output_dir=str(out),
            lr_scheduler_type="linear",
            weight_decay=0.01,
            bf16=True,
            use_cpu=not torch.cuda.is_available(),
            logging_steps=20,
            save_total_limit=3,
            report_to="none",
            seed=SEED,
            disable_tqdm=True,
            **arguments,
        ),
        train_dataset=dataset,
        loss=loss(model),
    )
    trainer.train(resume_from_checkpoint=any(out.glob("checkpoint-*")) or None)
    model.save_pretrained(str(out / "final"))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--groups", type=Path, required=True, help="the --out of prepare_reranker")
    parser.add_argument("--base", required=True, help="model folder whose body is the start")
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--epochs", type=float, default=1.0)
    parser.add_argument("--learning-rate", type=float, default=1e-4)
    parser.add_argument("--batch", type=int, default=8, help="groups a step")
    parser.add_argument("--steps", type=int, default=-1, help="stop after so many [default: --epochs]")
    parser.add_argument("--warmup", type=int, default=80, help="steps")
    parser.add_argument("--offset-share", type=float, default=0.5, help="of the retriever's score, in the loss")
    parser.add_argument("--pointwise-weight", type=float, default=0.2, help="of the cross-entropy on the bare logit")
    parser.add_argument("--sources", nargs="*", default=[], help="NAME or NAME:MOST groups [default: all]")
    args = parser.parse_args()

    with (args.groups / "groups.jsonl").open(encoding="utf-8") as lines:
        groups = chosen([json.loads(line) for line in lines], args.sources)
    dataset = Dataset.from_dict(
        {
            "query": [g["query"] for g in groups],
            "documents": [g["documents"] for g in groups],
            "labels": [[float(v) for v in g["teacher"] + g["offset"] + g["label"]] for g in groups],
        }
    )
    train(
        start(args.base, MAX_TOKENS),
        dataset,
        lambda model: OffsetListwiseLoss(model, args.offset_share, args.pointwise_weight),
        args.out,
        num_train_epochs=args.epochs,
        per_device_train_batch_size=args.batch,
        learning_rate=args.learning_rate,
        max_steps=args.steps,
        warmup_steps=args.warmup,
        save_steps=100,
    )


if __name__ == "__main__":
    main()

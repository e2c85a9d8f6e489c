"""Fit what is stored beside the bundled cross-encoder, and pack it for shipping.

On judged queries that training never saw (``held_out.json`` of ``prepare_reranker`` and the WikiQA dev split) the
retriever's top 50 are scored. Two fusion weights are fitted by conditional logit (each collection weighs the same),
then Platt's two numbers for the bare logit and for the fused score. The weights are stored in fp16.

Run: ``python -m bicross.training.recipes.fit_reranker --data DATA --groups WORK --model RUN/final
--indexes INDEXES --out FOLDER``
"""

from __future__ import annotations

import argparse
import json
import shutil
from pathlib import Path

import numpy as np
import torch
from safetensors.numpy import load_file, save_file

from bicross.documents import read_documents
from bicross.encoders import BiEncoder, CrossEncoder
from bicross.encoders.calibration import FILE
from bicross.encoders.loading import weights_sha256
from bicross.opening import open_or_create
from bicross.search import Searcher
from bicross.training.recipes.prepare_reranker import Collection, read_beir

CANDIDATES = 50
SHIPPED_TOKENS = 512
CARRIED = ("tokenizer.json", "tokenizer_config.json", "special_tokens_map.json", "vocab.txt")


def held_out_queries(data: Path, groups: Path) -> list[Collection]:
    held_out = json.loads((groups / "held_out.json").read_text())
    out = [read_beir(data / "beir" / "wikiqa-tok", "dev", 1)]
    for name in ("scifact", "nfcorpus"):
        source = read_beir(data / "beir" / name, "train", 1)
        source.queries = {k: source.queries[k] for k in held_out[name]}
        out.append(source)
    return out


def scored_candidates(source: Collection, corpus: Path, indexes: Path, model: CrossEncoder) -> list[np.ndarray]:
    """For each query an array (candidates, 3): logit, dense score, label 0 or 1."""
    rows = []
    with open_or_create(indexes / source.name) as index:
        index.add(read_documents([corpus]))
        searcher = Searcher(index, model)
        for query_id, query in source.queries.items():
            hits = searcher.search(query, top_k=CANDIDATES, candidates=CANDIDATES).hits
            grades = source.qrels.get(query_id, {})
            rows.append(
                np.array(
                    [
                        (h.scores["cross_encoder"].score, h.scores["dense"].score, grades.get(h.document_id, 0) > 0)
                        for h in hits
                    ],
                    dtype=np.float32,
                )
            )
    print(f"  {source.name}: {len(rows)} queries", flush=True)
    return rows


def fit_fusion(collections: list[list[np.ndarray]]) -> tuple[float, float]:
    """Weights of logit and dense score that make the relevant candidates likeliest under a softmax per query."""
    weights = torch.ones(2, requires_grad=True)
    optimiser = torch.optim.LBFGS([weights], max_iter=200)
    usable = [[torch.from_numpy(q) for q in rows if 0 < q[:, 2].sum() < len(q)] for rows in collections]

    def closure() -> torch.Tensor:
        optimiser.zero_grad()
        losses = [
            torch.stack(
                [-(q[:, 2] / q[:, 2].sum() * torch.log_softmax(q[:, :2] @ weights, dim=0)).sum() for q in rows]
            ).mean()
            for rows in usable
        ]
        loss = torch.stack(losses).mean()
        loss.backward()
        return loss

    optimiser.step(closure)
    logit, dense = (round(float(w), 4) for w in weights.detach())
    return logit, dense


def fit_platt(scores: np.ndarray, labels: np.ndarray) -> dict[str, float]:
    """Slope and intercept of logistic(slope * score + intercept), by maximum likelihood."""
    parameters = torch.tensor([1.0, 0.0], requires_grad=True)
    optimiser = torch.optim.LBFGS([parameters], max_iter=200)
    x, y = torch.from_numpy(scores), torch.from_numpy(labels)

    def closure() -> torch.Tensor:
        optimiser.zero_grad()
        loss = torch.nn.functional.binary_cross_entropy_with_logits(parameters[0] * x + parameters[1], y)
        loss.backward()
        return loss

    optimiser.step(closure)
    return {"slope": round(float(parameters.detach()[0]), 4), "intercept": round(float(parameters.detach()[1]), 4)}


def pack(model: Path, out: Path) -> None:
    """Copy the trained folder with fp16 weights and without what only training needs."""
    out.mkdir(parents=True, exist_ok=True)
    weights = {
        k: v.astype(np.float16) for k, v in load_file(model / "model.safetensors").items() if v.dtype.kind == "f"
    }
    save_file(weights, out / "model.safetensors", metadata={"format": "pt"})
    config = json.loads((model / "config.json").read_text())
    config |= {"dtype": "float16", "hidden_dropout_prob": 0.1, "attention_probs_dropout_prob": 0.1}
    (out / "config.json").write_text(json.dumps(config, indent=2) + "\n")
    for name in CARRIED:
        if (model / name).is_file():
            shutil.copy(model / name, out / name)
    tokenizer = json.loads((out / "tokenizer_config.json").read_text())
    tokenizer["model_max_length"] = SHIPPED_TOKENS
    (out / "tokenizer_config.json").write_text(json.dumps(tokenizer, indent=2) + "\n")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--groups", type=Path, required=True, help="the --out of prepare_reranker")
    parser.add_argument("--model", type=Path, required=True, help="the folder that train_reranker made")
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--indexes", type=Path, required=True, help="where indexes of the collections are kept")
    args = parser.parse_args()
    pack(args.model, args.out)
    (args.out / FILE).unlink(missing_ok=True)
    model = CrossEncoder(args.out)
    collections = [
        scored_candidates(source, args.data / "beir" / source.name / "corpus.jsonl.gz", args.indexes, model)
        for source in held_out_queries(args.data, args.groups)
    ]
    logit, dense = fit_fusion(collections)
    pooled = np.concatenate([q for rows in collections for q in rows])
    calibration = fit_platt(pooled[:, 0], pooled[:, 2])
    fused = fit_platt(logit * pooled[:, 0] + dense * pooled[:, 1], pooled[:, 2])
    retriever = weights_sha256(BiEncoder().folder)
    stored = {
        "calibration": calibration,
        "fusion": {"retriever_sha256": retriever, "logit": logit, "dense": dense, **fused},
    }
    (args.out / FILE).write_text(json.dumps(stored, indent=2) + "\n")
    print(json.dumps(stored, indent=2))


if __name__ == "__main__":
    main()

"""Fit what is stored beside the bundled cross-encoder, and pack it for shipping.

On judged queries that neither training nor the tests see, the candidates of both sides of the first stage are read to
depth 100: queries that ``sources`` holds out, and the dev split of WikiQA. Each collection weighs the same. Fitted are
the relevance of the bare logit, and for each way to find candidates the numbers of ``bicross.search.two_stages``. The
weights of the model are stored in fp16.

Run: ``python -m bicross.training.recipes.fit_reranker --data DATA --model WORK/cross-encoder --indexes INDEXES
--out FOLDER``; without ``--model`` what lies in FOLDER is fitted anew; with ``--bi-encoder`` its numbers behind another
bi-encoder are put beside those that are there.
"""

from __future__ import annotations

import argparse
import json
import pickle
import random
import shutil
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from safetensors.numpy import load_file, save_file

from bicross.calibrating.fitting import fit_relevance, fit_two_stages
from bicross.calibrating.judging import Way, name_of, read_query
from bicross.calibrating.pools import ReadQuery, pool
from bicross.calibrating.storing import store, update
from bicross.documents import read_documents
from bicross.encoders import CrossEncoder
from bicross.encoders.calibration import FILE
from bicross.encoders.loading import DEFAULT_BI_ENCODER
from bicross.index.first_stage import shipped
from bicross.index.retrieval import DEPTH
from bicross.opening import open_or_create
from bicross.search.two_stages import before, calibration_json
from bicross.training.recipes.fit_first_stage import place_of
from bicross.training.recipes.sources import SEED, Collection, held_out, read_beir

SHIPPED_TOKENS = 512
CARRIED = ("tokenizer.json", "tokenizer_config.json", "special_tokens_map.json", "vocab.txt")

#: Of the lines of candidates so many may be program code (see ``search/code.py``). In CoSQA, which is code, more are.
MOST_CODE = 0.1

#: Of the letters of candidates so many may be of other scripts than the Latin one: it reads English.
MOST_FOREIGN = 0.3

#: The first stage counts so many times what was fitted. The collections that are fitted on are of the kinds that
#: training saw, and flatter the logit; on DL19 and Vaswani 1.75 was worse than 3, and read twice as much.
EVIDENCE_TIMES = 3.0

#: The queries that are fitted on: so many of a split, at random; all of it where it says none. What the model does not
#: read, code and Chinese, has no part in its weight.
QUERIES = {("scifact", "train"): 40, ("nfcorpus", "train"): 60, ("wikiqa-tok", "dev"): None}


def ways(encoder: Mapping[str, Any]) -> list[Way]:
    """The first stages that numbers are fitted for, the default one first."""
    fitted = shipped(encoder)
    return [*([fitted] if fitted else []), "rrf", "dense"]


def fitting_queries(data: Path) -> list[Collection]:
    """The collections, each with the queries to fit on."""
    collections = []
    kept_out = held_out(data)
    for (name, split), most in QUERIES.items():
        source = read_beir(data / "beir" / name, split)
        ids = sorted(kept_out.get(name) or source.queries)
        random.Random(SEED).shuffle(ids)
        source.queries = {query_id: source.queries[query_id] for query_id in ids[:most]}
        collections.append(source)
    return collections


def judged(
    source: Collection, corpus: Path, indexes: Path, model: CrossEncoder, bi_encoder: str
) -> tuple[list[ReadQuery], dict[str, Any]]:
    """Every query of a collection with all logits that any fit needs, and the identity of the bi-encoder."""
    queries = []
    with open_or_create(place_of(indexes, source.name, bi_encoder), bi_encoder) as index:
        index.add(read_documents([corpus]))
        for query_id, text in source.queries.items():
            found = read_query(index, model, query_id, text, source.qrels[query_id], ways(index.embedder.identity))
            queries.append(replace(found, weight=1 / len(source.queries)))
        encoder = dict(index.manifest.fingerprint.encoder)
    print(f"  {source.name}: {len(queries)} queries", flush=True)
    return queries, encoder


def fit(queries: list[ReadQuery], encoder: dict[str, Any], file: Path, *, bare: bool) -> None:
    """Fit everything, with ``bare`` the relevance of the bare logit too, and put it beside what else is in the file."""
    for number, way in enumerate(ways(encoder)):
        name = name_of(way)
        pools = [p for query in queries if len((p := pool(query, name, DEPTH)).logits)]
        numbers = fit_two_stages(pools, before(encoder, name), evidence_times=EVIDENCE_TIMES)
        if number == 0 and bare:  # the logit alone: for every first stage that nothing was fitted for
            calibration = fit_relevance(pools, lambda p: p.logits)
            update(file, {"calibration": calibration_json(calibration)})
        store(file, replace(numbers, most_code=MOST_CODE, most_foreign=MOST_FOREIGN))


def carry(model: Path, out: Path) -> None:
    """Copy what belongs to the tokeniser."""
    for name in CARRIED:
        if (model / name).is_file():
            shutil.copy(model / name, out / name)


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
    carry(model, out)
    tokenizer = json.loads((out / "tokenizer_config.json").read_text())
    tokenizer["model_max_length"] = SHIPPED_TOKENS
    (out / "tokenizer_config.json").write_text(json.dumps(tokenizer, indent=2) + "\n")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--model", type=Path, help="the folder that train made")
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--indexes", type=Path, required=True, help="where indexes of the collections are kept")
    parser.add_argument("--bi-encoder", default=DEFAULT_BI_ENCODER, help="that stands before it")
    args = parser.parse_args()
    if args.model:
        pack(args.model, args.out)
        (args.out / FILE).unlink(missing_ok=True)  # its numbers are those of another model
    model = CrossEncoder(args.out)
    queries: list[ReadQuery] = []
    encoder: dict[str, Any] = {}
    for source in fitting_queries(args.data):
        corpus = args.data / "beir" / source.name / "corpus.jsonl.gz"
        kept = Path(
            f"{place_of(args.indexes, source.name, args.bi_encoder)}-{model.weights_sha256[:12]}.read"
        )  # reading takes long
        if not kept.is_file():
            kept.write_bytes(pickle.dumps(judged(source, corpus, args.indexes, model, args.bi_encoder)))
        found, encoder = pickle.loads(kept.read_bytes())  # our own file
        queries += found
    fit(queries, encoder, args.out / FILE, bare=args.bi_encoder == DEFAULT_BI_ENCODER)
    print((args.out / FILE).read_text())


if __name__ == "__main__":
    main()

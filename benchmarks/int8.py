"""What int8 costs in answers: both encoders on a judged collection, in f32, bf16 and int8.

The bi-encoder in int8 is calibrated twice: on the default sample, and on documents of the collection (its texts, not
its judgements). Agreement@10 is the share of each query's ten nearest documents that f32 finds too. NNCF, which makes
every linear layer int8, is measured on the same documents. The cross-encoder orders the 20 nearest documents of f32.
Prints a table and writes ``benchmarks/results/int8.json``.

Run: ``make bench DATA=folder``, where the folder has ``beir/scifact`` in BEIR layout.
"""

from __future__ import annotations

import argparse
import csv
import json
import shutil
import tempfile
from collections.abc import Iterable
from pathlib import Path

import ir_measures
import numpy as np
from ir_measures import Qrel, ScoredDoc, nDCG

import bicross
from bicross import BiEncoder, CrossEncoder
from bicross.encoders import find_model, quantise
from bicross.encoders.engines import Head, OpenVinoEngine
from bicross.encoders.engines.openvino import padded
from bicross.encoders.families import Tensors, architecture
from bicross.encoders.folder import read_config, read_weights, weights_file
from bicross.encoders.graphs import encoder_graph
from bicross.encoders.tokenising import TextTokeniser

RESULTS = Path(__file__).parent / "results" / "int8.json"
DEPTH = 20


def ndcg(qrels: list[Qrel], queries: list[str], documents: list[str], orders: Iterable[np.ndarray]) -> float:
    run = [
        ScoredDoc(query, documents[j], -float(rank))
        for query, order in zip(queries, orders, strict=True)
        for rank, j in enumerate(order[:10])
    ]
    return float(ir_measures.calc_aggregate([nDCG @ 10], qrels, run)[nDCG @ 10])


def by_nncf(folder: Path, texts: list[str]) -> BiEncoder:
    """The bi-encoder with every linear layer made int8 by NNCF, with its settings for transformers."""
    import nncf

    encoder = BiEncoder(folder, precision="f32")
    file = weights_file(folder)
    shape = architecture(read_config(folder), str(folder))
    graph = encoder_graph(Tensors(read_weights(file), shape.family, str(file)), shape, Head("embedding", "mean", True))
    items = TextTokeniser(folder, encoder.max_tokens).texts(texts, str)
    batches = nncf.Dataset([padded([item], 0) for item in items])
    quantised = nncf.quantize(graph, batches, subset_size=len(items), model_type=nncf.ModelType.TRANSFORMER)
    encoder.engine = OpenVinoEngine(quantised, "int8", 0, encoder.max_tokens)
    return encoder


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--set", default="scifact/test")
    args = parser.parse_args()
    folder, split = args.data / "beir" / args.set.split("/")[0], args.set.split("/")[1]
    with (folder / "qrels" / f"{split}.tsv").open(encoding="utf-8") as lines:
        qrels = [Qrel(q, d, int(grade)) for q, d, grade in list(csv.reader(lines, delimiter="\t"))[1:]]
    judged = {q.query_id for q in qrels}
    queries = [q for q in bicross.read_documents([folder / "queries.jsonl"]) if q.id in judged]
    documents = list(bicross.read_documents([folder / "corpus.jsonl.gz"]))
    texts = [f"{d.title} {d.text}".strip() for d in documents]
    query_ids, ids = [q.id for q in queries], [d.id for d in documents]
    rows = []

    with tempfile.TemporaryDirectory() as work:
        own = Path(work) / "own"
        shutil.copytree(find_model("all-MiniLM-L6-v2"), own, ignore=shutil.ignore_patterns("int8*"))
        default = Path(work) / "default"
        shutil.copytree(own, default)
        quantise(default)
        quantise(own, texts[:: max(1, len(texts) // 600)])
        print(f"{'bi-encoder':<34}{'agreement@10':>14}{'cosine':>10}{'nDCG@10':>10}")
        exact: tuple[np.ndarray, np.ndarray] | None = None
        best = np.empty(0)
        for name, encoder in (
            ("f32", BiEncoder(own, precision="f32")),
            ("bf16", BiEncoder(own)),
            ("int8, default sample", BiEncoder(default, precision="int8")),
            ("int8, own documents", BiEncoder(own, precision="int8")),
            ("int8 by NNCF, own documents", by_nncf(own, texts[:: max(1, len(texts) // 600)])),
        ):
            asked = encoder.encode_query([q.text for q in queries])
            stored = encoder.encode_document(texts)
            orders = np.argsort(-(asked @ stored.T), axis=1, kind="stable")
            if exact is None:
                exact, best = (asked, stored), orders
            same = [len({*a[:10]} & {*b[:10]}) / 10 for a, b in zip(best, orders, strict=True)]
            row = {
                "encoder": "bi-encoder",
                "precision": name,
                "agreement_at_10": round(float(np.mean(same)), 4),
                "cosine": round(float((stored * exact[1]).sum(axis=1).mean()), 5),
                "nDCG@10": round(ndcg(qrels, query_ids, ids, orders), 4),
            }
            rows.append(row)
            print(f"{name:<34}{row['agreement_at_10']:>14}{row['cosine']:>10}{row['nDCG@10']:>10}", flush=True)

    print(f"{'cross-encoder':<34}{'logit error':>14}{'':>10}{'nDCG@10':>10}")
    pairs = [(q.text, texts[j]) for q, order in zip(queries, best, strict=True) for j in order[:DEPTH]]
    logits = None
    for precision in ("f32", "auto", "int8"):
        judge = CrossEncoder(precision=precision)
        found = judge.predict(pairs).reshape(len(queries), DEPTH)
        logits = found if logits is None else logits
        reranked = [order[:DEPTH][np.argsort(-row, kind="stable")] for order, row in zip(best, found, strict=True)]
        row = {
            "encoder": "cross-encoder",
            "precision": judge.precision,
            "logit_error": round(float(np.sqrt(np.mean((found - logits) ** 2))), 4),
            "nDCG@10": round(ndcg(qrels, query_ids, ids, reranked), 4),
        }
        rows.append(row)
        print(f"{judge.precision:<34}{row['logit_error']:>14}{'':>10}{row['nDCG@10']:>10}", flush=True)
    RESULTS.write_text(json.dumps({"set": args.set, "depth": DEPTH, "rows": rows}, indent=1) + "\n")


if __name__ == "__main__":
    main()

"""Build the training groups of the bundled cross-encoder.

A *group* is one query with a handful of documents. Every document of a group carries three numbers:

* ``teacher`` - the log-odds (in nats, up to a constant per query) that a stronger scorer gives it. The scorer is a
  weighted sum of the similarity of one or more larger bi-encoders, the similarity of the retriever itself and BM25; its
  weights are a conditional logit fitted on the judged *training* queries, so the unit is natural.
* ``offset`` - what the retriever alone says, in the same unit. Training adds it to the logit as a constant, so the
  model learns the correction and not all of relevance anew.
* ``label`` - the judgement (grade, 0 for unjudged), or -1 where nobody judged.

Queries that are kept out of training (for fitting the fusion weights) are listed in ``held_out.json``.

Run: ``python -m bicross.training.recipes.prepare_reranker --data DATA --retriever DIR --teacher DIR --out WORK``; the
option ``--teacher`` may be repeated.
"""

from __future__ import annotations

import argparse
import csv
import gzip
import json
import pickle
import random
import re
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import bm25s
import numpy as np
import Stemmer
import torch

from bicross.encoders import BiEncoder

SEED = 20261123
GROUP_SIZE = 8
TEACHER_TOKENS = 112
#: Judged collections and the groups made of each of their queries.
HUMAN_JUDGED = {"scifact": 4, "nfcorpus": 1, "wikiqa-tok": 1}
HELD_OUT = {"scifact": 100, "nfcorpus": 200}


Group = dict[str, Any]


@dataclass
class Collection:
    """Documents (``title text``) and queries of one source, with judgements where there are any."""

    name: str
    documents: dict[str, str]
    queries: dict[str, str]
    qrels: dict[str, dict[str, int]] = field(default_factory=dict)
    groups_per_query: int = 1
    judged: bool = True


def read_jsonl(path: Path) -> list[dict[str, Any]]:
    opener = gzip.open if path.suffix == ".gz" else open
    with opener(path, "rt", encoding="utf-8") as lines:
        return [json.loads(line) for line in lines]


def joined(record: dict[str, Any]) -> str:
    return f"{record.get('title') or ''} {record['text']}".strip()


def read_qrels(path: Path) -> dict[str, dict[str, int]]:
    qrels: dict[str, dict[str, int]] = {}
    with path.open(encoding="utf-8") as lines:
        for query_id, document_id, grade in list(csv.reader(lines, delimiter="\t"))[1:]:
            qrels.setdefault(query_id, {})[document_id] = int(grade)
    return qrels


def read_beir(folder: Path, split: str, groups_per_query: int) -> Collection:
    qrels = read_qrels(folder / "qrels" / f"{split}.tsv")
    documents = {r["_id"]: joined(r) for r in read_jsonl(folder / "corpus.jsonl.gz")}
    queries = {r["_id"]: r["text"] for r in read_jsonl(folder / "queries.jsonl") if r["_id"] in qrels}
    return Collection(folder.name, documents, queries, qrels, groups_per_query)


def collections(data: Path, rng: random.Random) -> tuple[list[Collection], dict[str, list[str]]]:
    """All sources, and the ids of the judged queries that no group may use."""
    out: list[Collection] = []
    held_out: dict[str, list[str]] = {}
    for name, groups_per_query in HUMAN_JUDGED.items():
        source = read_beir(data / "beir" / name, "train", groups_per_query)
        kept_out = sorted(rng.sample(sorted(source.queries), HELD_OUT.get(name, 0)))
        held_out[name] = kept_out
        source.queries = {k: v for k, v in source.queries.items() if k not in set(kept_out)}
        if name == "wikiqa-tok":  # queries without any answer teach nothing about order
            source.queries = {k: v for k, v in source.queries.items() if any(source.qrels[k].values())}
        out.append(source)

    mixed = read_jsonl(data / "corpora" / "en-mixed-100k" / "corpus.jsonl.gz")
    papers = [r for r in mixed if r["_id"].startswith("pl") and r.get("title")]
    web = [r for r in mixed if r["_id"].startswith("msmarco_")]

    # Titles as queries over abstracts without their titles: what a paper is about, for free.
    for name, records, n_documents, n_queries in (
        ("scifact-titles", read_jsonl(data / "beir" / "scifact" / "corpus.jsonl.gz"), 1500, 700),
        ("nfcorpus-titles", read_jsonl(data / "beir" / "nfcorpus" / "corpus.jsonl.gz"), 1200, 500),
        ("paper-titles", papers, 1500, 700),
    ):
        titled = rng.sample([r for r in records if r.get("title") and r["text"]], n_documents)
        asked = rng.sample(titled, n_queries)
        out.append(
            Collection(
                name,
                {r["_id"]: r["text"] for r in titled},
                {r["_id"]: r["title"] for r in asked},
                {r["_id"]: {r["_id"]: 1} for r in asked},
            )
        )

    with (data / "train" / "web_queries.tsv").open(encoding="utf-8") as lines:
        questions = [(row[0], row[1].strip()) for row in csv.reader(lines, delimiter="\t", quoting=csv.QUOTE_NONE)]
    out.append(
        Collection(
            "web",
            {r["_id"]: joined(r) for r in rng.sample(web, 12000)},
            dict(rng.sample(questions, 2500)),
            judged=False,
        )
    )

    medquad = rng.sample(read_jsonl(data / "train" / "medquad_qa_pairs.jsonl.gz"), 800)
    out.append(
        Collection(
            "medquad",
            {r["id"]: r["pos"] for r in medquad},
            {r["id"]: r["query"] for r in medquad[:300]},
            {r["id"]: {r["id"]: 1} for r in medquad[:300]},
        )
    )
    return out, held_out


class CachedEncoder:
    """Embeds every text once, also over several runs: the forward passes are the dearest part of the preparation."""

    #: Texts that are embedded before they are stored.
    PORTION = 2000

    def __init__(self, model: str, max_tokens: int, store: Path) -> None:
        self.model = BiEncoder(model, max_tokens=max_tokens)
        self.store = store
        self.cache: dict[tuple[str, str], np.ndarray] = {}
        if store.exists():
            with store.open("rb") as stream:
                self.cache = pickle.load(stream)  # our own file of an earlier run

    def queries(self, texts: list[str]) -> np.ndarray:
        return self._embedded("query", texts, self.model.encode_query)

    def documents(self, texts: list[str]) -> np.ndarray:
        return self._embedded("document", texts, self.model.encode_document)

    def has(self, document: str) -> bool:
        return ("document", document) in self.cache

    def _embedded(self, kind: str, texts: list[str], encode: Callable[[list[str]], np.ndarray]) -> np.ndarray:
        missing = sorted({t for t in texts if (kind, t) not in self.cache}, key=len, reverse=True)
        for start in range(0, len(missing), self.PORTION):
            portion = missing[start : start + self.PORTION]
            started = time.perf_counter()
            for text, vector in zip(portion, encode(portion), strict=True):
                self.cache[kind, text] = vector.astype(np.float16)
            print(f"    {len(portion)} texts, {len(portion) / (time.perf_counter() - started):.1f}/s", flush=True)
            if len(portion) > 500:
                new = self.store.with_suffix(".new")
                with new.open("wb") as stream:
                    pickle.dump(self.cache, stream)
                new.replace(self.store)
        return np.stack([self.cache[kind, t] for t in texts]).astype(np.float32)


def bm25_matrix(documents: list[str], queries: list[str]) -> np.ndarray:
    stemmer = Stemmer.Stemmer("english")
    engine = bm25s.BM25(k1=0.9, b=0.4)
    engine.index(bm25s.tokenize(documents, stopwords="en", stemmer=stemmer, show_progress=False), show_progress=False)
    rows = []
    for query in queries:
        words = [stemmer.stemWord(w) for w in re.findall(r"(?u)\b\w\w+\b", query.lower())]
        rows.append(engine.get_scores(words) if words else np.zeros(len(documents), dtype=np.float32))
    return np.stack(rows)


def choose(rng: random.Random, order: list[int], positives: list[int], judged: bool) -> list[int]:
    """One group: up to two positives, the rest mostly from the retriever's top fifty, one at random."""
    chosen = rng.sample(positives, min(2, len(positives))) if judged else []
    top = [i for i in order[:10] if i not in chosen]
    chosen += rng.sample(top, min(3, len(top)))
    deep = [i for i in order[10:60] if i not in chosen]
    chosen += rng.sample(deep, min(max(0, GROUP_SIZE - 1 - len(chosen)), len(deep)))
    while len(chosen) < min(GROUP_SIZE, len(order)):
        other = rng.choice(order)
        if other not in chosen:
            chosen.append(other)
    return chosen


def groups_of(
    source: Collection, retriever: CachedEncoder, teachers: dict[str, CachedEncoder], rng: random.Random
) -> tuple[list[Group], list[Group]]:
    """Groups to train on, and for judged collections the retriever's whole top 50, to fit the teacher's weights.

    The weights cannot be fitted on the groups: their negatives were picked for a high retrieval score and their
    positives were not, which would turn the sign of its weight around.
    """
    ids, texts = list(source.documents), list(source.documents.values())
    place = {document_id: i for i, document_id in enumerate(ids)}
    query_ids, query_texts = list(source.queries), list(source.queries.values())
    similarity = retriever.queries(query_texts) @ retriever.documents(texts).T
    lexical = bm25_matrix(texts, query_texts)
    groups: list[Group] = []
    for row, (query_id, query) in enumerate(zip(query_ids, query_texts, strict=True)):
        grades = {place[d]: g for d, g in source.qrels.get(query_id, {}).items() if d in place}
        positives = [i for i, g in grades.items() if g > 0]
        # the retriever's order, with BM25's first ten let in, so that the exact-word cases are seen too
        dense_order = np.argsort(-similarity[row])[:200].tolist()
        lexical_order = [i for i in np.argsort(-lexical[row])[:10].tolist() if i not in dense_order[:20]]
        order = dense_order[:20] + lexical_order + [i for i in dense_order[20:] if i not in lexical_order]
        for _ in range(source.groups_per_query):
            chosen = choose(rng, order, positives, source.judged)
            best = max(float(lexical[row].max()), 1e-6)
            groups.append(
                {
                    "source": source.name,
                    "query": query,
                    "documents": [texts[i] for i in chosen],
                    "dense": [float(similarity[row, i]) for i in chosen],
                    "bm25": [float(lexical[row, i]) / best for i in chosen],
                    "label": [grades.get(i, 0) if source.judged else -1 for i in chosen],
                }
            )
    print(f"  {source.name}: {len(groups)} groups", flush=True)
    for name, teacher in teachers.items():
        print(f"   {name} reads", flush=True)
        teacher.queries([g["query"] for g in groups])
        teacher.documents([d for g in groups for d in g["documents"]])
        for group in groups:
            group[name] = (teacher.documents(group["documents"]) @ teacher.queries([group["query"]])[0]).tolist()
    pools: list[Group] = []
    if source.name in HUMAN_JUDGED:
        for row, (query_id, query) in enumerate(zip(query_ids, query_texts, strict=True)):
            # documents that the teachers did not read for any group are left out, at random
            top = np.argsort(-similarity[row])[:50].tolist()
            pool = [i for i in top if all(teacher.has(texts[i]) for teacher in teachers.values())]
            best = max(float(lexical[row].max()), 1e-6)
            judged = source.qrels.get(query_id, {})
            if not pool:
                continue
            pools.append(
                {
                    "source": source.name,
                    "dense": [float(similarity[row, i]) for i in pool],
                    "bm25": [float(lexical[row, i]) / best for i in pool],
                    "label": [judged.get(ids[i], 0) for i in pool],
                    **{
                        name: (teacher.documents([texts[i] for i in pool]) @ teacher.queries([query])[0]).tolist()
                        for name, teacher in teachers.items()
                    },
                }
            )
    return groups, pools


def fit_conditional_logit(pools: list[Group], features: list[str]) -> list[float]:
    """Weights w that maximise the likelihood of the judged documents under softmax(w . features) in each pool.

    Every collection weighs the same, however many queries it has.
    """
    by_source: dict[str, list[tuple[torch.Tensor, torch.Tensor]]] = {}
    for pool in pools:
        y = (torch.tensor(pool["label"]) > 0).float()
        if 0 < y.sum() < len(y):
            x = torch.tensor([pool[f] for f in features]).T
            by_source.setdefault(pool["source"], []).append((x, y / y.sum()))
    weights = torch.zeros(len(features), requires_grad=True)
    optimiser = torch.optim.LBFGS([weights], max_iter=200)

    def closure() -> torch.Tensor:
        optimiser.zero_grad()
        losses = [
            torch.stack([-(y * torch.log_softmax(x @ weights, dim=0)).sum() for x, y in rows]).mean()
            for rows in by_source.values()
        ]
        loss = torch.stack(losses).mean()
        loss.backward()
        return loss

    optimiser.step(closure)
    return [round(float(w), 3) for w in weights.detach()]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True, help="folder with beir/, train/ and corpora/")
    parser.add_argument("--retriever", required=True, help="model folder of the bi-encoder that retrieves")
    parser.add_argument("--teacher", action="append", required=True, help="folder of a larger bi-encoder; repeat it")
    parser.add_argument("--out", type=Path, required=True)
    args = parser.parse_args()
    args.out.mkdir(parents=True, exist_ok=True)
    rng = random.Random(SEED)
    sources, held_out = collections(args.data, rng)
    (args.out / "held_out.json").write_text(json.dumps(held_out, indent=1))
    retriever = CachedEncoder(args.retriever, 160, args.out / "retriever.pickle")
    teachers = {
        f"teacher-{number}": CachedEncoder(folder, TEACHER_TOKENS, args.out / f"teacher-{number}.pickle")
        for number, folder in enumerate(args.teacher, 1)
    }
    groups, pools = [], []
    for source in sources:
        for_training, for_weights = groups_of(source, retriever, teachers, rng)
        groups += for_training
        pools += for_weights
    features = [*teachers, "dense", "bm25"]
    teacher_weights = fit_conditional_logit(pools, features)
    (offset_weight,) = fit_conditional_logit(pools, ["dense"])
    for group in groups:
        rows = list(zip(*(group.pop(f) for f in features), strict=True))
        group["teacher"] = [float(np.dot(teacher_weights, row)) for row in rows]
        group["offset"] = [offset_weight * row[1] for row in rows]
    weights = {"teacher": dict(zip(features, teacher_weights, strict=True)), "offset": {"dense": offset_weight}}
    (args.out / "weights.json").write_text(json.dumps(weights, indent=1))
    rng.shuffle(groups)
    with (args.out / "groups.jsonl").open("w", encoding="utf-8") as lines:
        lines.writelines(json.dumps(g, ensure_ascii=False) + "\n" for g in groups)
    print(f"{len(groups)} groups; weights {weights}")


if __name__ == "__main__":
    main()

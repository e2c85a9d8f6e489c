"""The questions and the texts that the shipped models learn from, and the judged queries that no model may see.

Of collections with judges only the train splits are asked. Titles ask for their abstracts, a paper's last sentence asks
for the rest of it, the first line of a function's documentation for its code; web questions have no answer here: what
they teach is up to the teachers. No judgement of CoSQA, Cranfield, Vaswani or DL19 is read, nor any test split.
"""

from __future__ import annotations

import csv
import gzip
import json
import random
import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

SEED = 20261123

#: Train queries that are kept out of training: numbers are fitted on them afterwards.
HELD_OUT = {"scifact": 100, "nfcorpus": 200}

#: Collections and splits that show what a model is worth.
MEASURED = (
    ("scifact", "test"),
    ("nfcorpus", "dev"),
    ("cranfield", "test"),
    ("vaswani", "test"),
    ("msmarco-v1-dl19-pool", "test"),
    ("wikiqa-tok", "test"),
    ("cosqa", "test"),
)

#: Characters of a document: more than the models read in training.
MOST_CHARACTERS = 1100

#: A query that a paper's last sentence makes has so many words.
CLAIM_WORDS = (8, 40)

_DOCSTRING = re.compile(r'("""|\'\'\')(.*?)\1', re.DOTALL)
_LAST_SENTENCE = re.compile(r"^(.{200,}[.!?])\s+([A-Z][^.!?]+[.!?])\s*$", re.DOTALL)


@dataclass
class Collection:
    """Documents (``title text``) and queries of one source, with judgements where there are any.

    ``held_out`` names the queries that only measure and fit.
    """

    name: str
    documents: dict[str, str]
    queries: dict[str, str]
    qrels: dict[str, dict[str, int]] = field(default_factory=dict)
    held_out: frozenset[str] = frozenset()


def read_jsonl(path: Path) -> list[dict[str, Any]]:
    opener = gzip.open if path.suffix == ".gz" else open
    with opener(path, "rt", encoding="utf-8") as lines:
        return [json.loads(line) for line in lines]


def joined(record: dict[str, Any]) -> str:
    return f"{record.get('title') or ''}\n{record['text']}".strip()


def read_qrels(path: Path) -> dict[str, dict[str, int]]:
    qrels: dict[str, dict[str, int]] = {}
    with path.open(encoding="utf-8") as lines:
        for query_id, document_id, grade in list(csv.reader(lines, delimiter="\t"))[1:]:
            qrels.setdefault(query_id, {})[document_id] = int(grade)
    return qrels


def read_beir(folder: Path, split: str) -> Collection:
    qrels = read_qrels(folder / "qrels" / f"{split}.tsv")
    documents = {r["_id"]: joined(r) for r in read_jsonl(folder / "corpus.jsonl.gz")}
    queries = {r["_id"]: r["text"] for r in read_jsonl(folder / "queries.jsonl") if r["_id"] in qrels}
    return Collection(folder.name, documents, queries, qrels)


def held_out(data: Path) -> dict[str, list[str]]:
    """The train queries of each judged collection that training must not see."""
    rng = random.Random(SEED)
    out = {}
    for name, number in HELD_OUT.items():
        out[name] = sorted(rng.sample(sorted(read_beir(data / "beir" / name, "train").queries), number))
    return out


def judged_sources(data: Path) -> list[Collection]:
    """SciFact and NFCorpus, train; WikiQA, train, with its dev split held out."""
    out = []
    for name, kept_out in held_out(data).items():
        source = read_beir(data / "beir" / name, "train")
        source.held_out = frozenset(kept_out)
        out.append(source)
    source, dev = (read_beir(data / "beir" / "wikiqa-tok", split) for split in ("train", "dev"))
    source.queries |= dev.queries
    source.qrels |= dev.qrels
    source.held_out = frozenset(dev.queries)
    # queries without any answer teach nothing about order
    source.queries = {k: v for k, v in source.queries.items() if any(source.qrels[k].values())}
    return [*out, source]


def from_titles(name: str, records: list[dict[str, Any]], most: int, asked: int, rng: random.Random) -> Collection:
    """Titles as queries over abstracts without their titles: what a paper is about, for free."""
    titled = [r for r in records if r.get("title") and r["text"]]
    chosen = rng.sample(titled, min(most, len(titled)))
    queries = {r["_id"]: r["title"] for r in rng.sample(chosen, min(asked, len(chosen)))}
    return Collection(name, {r["_id"]: r["text"] for r in chosen}, queries, {q: {q: 1} for q in queries})


def from_claims(name: str, records: list[dict[str, Any]], most: int, asked: int, rng: random.Random) -> Collection:
    """The last sentence of an abstract as a query; of that document it is taken away, title and the rest stay."""
    chosen = rng.sample(records, min(most, len(records)))
    source = Collection(name, {r["_id"]: joined(r) for r in chosen}, {})
    for record in chosen:
        found = _LAST_SENTENCE.match(record["text"].strip())
        if found and CLAIM_WORDS[0] <= len(found[2].split()) <= CLAIM_WORDS[1] and len(source.queries) < asked:
            source.queries[record["_id"]] = found[2]
            source.documents[record["_id"]] = joined({**record, "text": found[1]})
    source.qrels = {q: {q: 1} for q in source.queries}
    return source


def from_code(name: str, records: list[dict[str, Any]], asked: int, rng: random.Random) -> Collection:
    """The first line of a function's documentation as a query over functions without any."""
    documents, queries = {}, {}
    for record in records:
        found = _DOCSTRING.search(record["text"])
        documents[record["_id"]] = record["text"] if not found else record["text"].replace(found[0], "")
        first = found[2].strip().split("\n")[0] if found else ""
        if len(first.split()) >= 4:
            queries[record["_id"]] = first
    queries = {q: queries[q] for q in rng.sample(sorted(queries), min(asked, len(queries)))}
    return Collection(name, documents, queries, {q: {q: 1} for q in queries})


def measured(data: Path) -> list[Collection]:
    """Test splits, and NFCorpus dev: to see what a model is worth. Nothing is learnt from them, nothing fitted."""
    out = []
    for name, split in MEASURED:
        source = read_beir(data / "beir" / name, split)
        source.name, source.held_out = f"{name}/{split}", frozenset(source.queries)
        out.append(source)
    return out


def sources(data: Path, share: float = 1.0) -> list[Collection]:
    """All of them; with a ``share`` below 1 so much of the texts and questions that nobody judged."""
    rng = random.Random(SEED)

    def part(number: int) -> int:
        return max(1, round(share * number))

    mixed = read_jsonl(data / "corpora" / "en-mixed-100k" / "corpus.jsonl.gz")
    papers = [r for r in mixed if r["_id"].startswith("pl") and r.get("title") and r["text"]]
    rng.shuffle(papers)
    with (data / "train" / "web_queries.tsv").open(encoding="utf-8") as lines:
        questions = [(row[0], row[1].strip()) for row in csv.reader(lines, delimiter="\t", quoting=csv.QUOTE_NONE)]
    web = [r for r in mixed if r["_id"].startswith("msmarco_")]
    answered = read_jsonl(data / "train" / "medquad_qa_pairs.jsonl.gz")
    answers = list(dict.fromkeys(r["pos"] for r in answered))
    medquad = [r for r in rng.sample(answered, part(4000)) if r["query"].strip() and r["pos"].strip()]
    scifact, nfcorpus = (read_jsonl(data / "beir" / name / "corpus.jsonl.gz") for name in ("scifact", "nfcorpus"))
    functions = read_jsonl(data / "beir" / "cosqa" / "corpus.jsonl.gz")
    claims = [r for r in [*scifact, *nfcorpus, *papers[:8000]] if r.get("title") and r["text"]]
    return [
        *judged_sources(data),
        Collection(
            "web",
            {r["_id"]: joined(r) for r in rng.sample(web, min(len(web), part(25_000)))},
            dict(rng.sample(questions, part(len(questions)))),
        ),
        Collection(
            "medquad",
            {a: a for a in rng.sample(answers, part(len(answers)))} | {r["pos"]: r["pos"] for r in medquad},
            {r["id"]: r["query"] for r in medquad},
            {r["id"]: {r["pos"]: 1} for r in medquad},
        ),
        from_titles("scifact-titles", scifact, part(6000), part(2500), rng),
        from_titles("nfcorpus-titles", nfcorpus, part(4000), part(1500), rng),
        from_titles("paper-titles", papers[8000:], part(30_000), part(9000), rng),
        from_claims("claims", claims, part(16_000), part(6000), rng),
        from_code("code", functions, part(2500), rng),
    ]

"""Fills pages of the documentation, both READMEs and the card of the cross-encoder with the numbers of ``results/``:
what stands between ``<!--=name-->`` and ``<!--/-->``.

Run: ``python benchmarks/page.py``; ``guide.py`` does it, too, once it has measured.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from bicross.planning import MachineProfile, Nodes, assumed, numbers, plan_cluster
from bicross.planning.cluster import (
    DIMENSION,
    FANOUT_MS,
    MONTH,
    chunk_disk,
    code_bytes,
    forwarded,
    own_memory,
    query_ms,
    sent_bytes,
    store_us,
)
from bicross.planning.workload import TOKENS_PER_WORD

RESULTS = Path(__file__).parent / "results"
ROOT = Path(__file__).parent.parent
PAGES = [
    ROOT / "docs" / "which-encoder.md",
    ROOT / "docs" / "second-stage.md",
    ROOT / "docs" / "plan.md",
    ROOT / "docs" / "training.md",
    ROOT / "docs" / "mining.md",
    ROOT / "docs" / "server.md",
    ROOT / "docs" / "scale.md",
    ROOT / "README.md",
    ROOT / "README.zh-CN.md",
    *(
        ROOT / "src" / "bicross" / "models" / name / "README.md"
        for name in ("bicross-reranker-minilm-l6", "bicross-reranker-minilm-l3", "bicross-retriever-minilm-l6")
    ),
]

WAYS = {
    "lexical": "words",
    "dense": "bi-encoder",
    "hybrid": "both fused",
    "two_stages": "two stages",
    "cross_encoder": "cross-encoder alone",
}
#: The systems of quality.json that the pages show, in their order, in English and in Chinese.
JUDGED = {
    "lexical": ("words", "词"),
    "dense": ("bi-encoder", "双编码器"),
    "rrf": ("reciprocal ranks", "倒数排名"),
    "hybrid": ("both fused", "两者融合"),
    "cross-encoder@100": ("cross-encoder alone", "仅交叉编码器"),
    "rerank@100": ("two stages", "两阶段"),
    "adaptive@100": ("two stages, adaptive", "两阶段,自适应"),
}
COLLECTIONS = {
    "scifact": "SciFact",
    "nfcorpus": "NFCorpus",
    "cranfield": "Cranfield",
    "vaswani": "Vaswani",
    "msmarco-v1-dl19-pool": "MS MARCO DL19 pool",
    "wikiqa-tok": "WikiQA",
    "cosqa": "CoSQA",
    "cmrc2018-dev-zh": "CMRC 2018 (Chinese)",
    "fire2017-irled": "FIRE 2017 (court judgements)",
}

#: Said on the page where other work was going on while the times were taken.
BUSY = " **The machine was busy meanwhile (load {}): all times on this page are too long.**"

Table = list[list[str]]


def duration(seconds: float) -> str:
    """Two digits that count, in a unit that people think in.

    >>> [duration(x) for x in (0.0042, 1.26, 75, 9000, 300_000, 9e7)]
    ['4.2 ms', '1.3 s', '75 s', '2.5 hours', '3.5 days', '2.9 years']
    """
    for unit, size, until in (("ms", 1e-3, 1), ("s", 1, 120), ("minutes", 60, 7200), ("hours", 3600, 172_800)):
        if seconds < until:
            return f"{_digits(seconds / size)} {unit}"
    days = seconds / 86_400
    return f"{_digits(days)} days" if days < 730 else f"{_digits(days / 365.25)} years"


def _digits(number: float) -> str:
    return f"{number:.1f}" if number < 10 else f"{number:,.0f}"


def table(rows: Table) -> str:
    """Markdown; the first row is the head. Best numbers of a row are not marked: that is for the text to say."""
    head, *body = ["| " + " | ".join(row) + " |" for row in rows]
    return "\n".join(["", "", head, "|" + "---|" * len(rows[0]), *body, "", ""])


def collection(name: str) -> str:
    folder, _, split = name.partition("/")
    return COLLECTIONS.get(folder, folder) + (f" {split}" if split in ("dev", "test") else "")


def ndcg(row: Mapping[str, Any]) -> dict[str, float]:
    """nDCG@10 of each system on a set, from its row of the results."""
    return {system["name"]: system["measures"]["nDCG@10"]["mean"] for system in row["systems"]}


def values(judged: Sequence[Mapping[str, Any]], guide: Mapping[str, Any]) -> dict[str, str]:
    """Each name on the page, and what stands there."""
    ways, costs, pairs = guide["ways"], guide["ways"]["costs"], guide["all_pairs"]
    everything = guide["everything"]
    chinese = next(ndcg(row) for row in judged if row["set"].startswith("cmrc2018"))
    per_pair = costs["two_stages"]["milliseconds"] - costs["hybrid"]["milliseconds"]
    per_pair /= costs["two_stages"]["pairs"]
    by_texts = {row["texts"]: row for row in pairs["rows"]}

    def spent(way: str) -> str:
        return duration(costs[way]["milliseconds"] / 1e3)

    return {
        "quality": _quality_table(judged, 0),
        "quality_zh": _quality_table(judged, 1),
        "costs": table(
            [
                ["a query", "time", "tokens", "texts embedded", "pairs scored", "embedded ahead"],
                *(
                    [
                        WAYS[way] + (" (forecast)" if way == "cross_encoder" else ""),
                        spent(way),
                        *(f"{cost[n]:,.0f}" for n in ("tokens", "encodings", "pairs", "ahead")),
                    ]
                    for way, cost in costs.items()
                ),
            ]
        ),
        "costs_set": collection(ways["set"]),
        "costs_queries": f"{ways['queries']}",
        "costs_chunks": f"{ways['chunks']:,}",
        "candidates": f"{ways['candidates']}",
        "busy": BUSY.format(load) if (load := guide["about"]["load_before"]) > 1 else "",
        "cores": f"{guide['about']['cores']}",
        "precision": guide["about"]["precision"],
        "first_stage_time": spent("hybrid"),
        "two_stages_time": spent("two_stages"),
        "alone_time": spent("cross_encoder"),
        "per_pair": duration(per_pair / 1e3),
        "two_hundred": duration((costs["hybrid"]["milliseconds"] + 200 * per_pair) / 1e3),
        "batch": duration(10_000 * costs["two_stages"]["milliseconds"] / 1e3),
        "within": f"{guide['crossover']['within_a_second']}",
        "crossover": table(
            [
                ["chunks read", "time", "tokens a pair"],
                *(
                    [f"{row['pairs']}", duration(row["seconds"]), f"{row['tokens_per_pair']:.0f}"]
                    for row in guide["crossover"]["measured"]
                ),
            ]
        ),
        "all_pairs": table(
            [
                ["texts", "pairs", "bi-encoder", "bi-encoder, then cross-encoder", "cross-encoder alone"],
                *(
                    [
                        f"{row['texts']:,}",
                        f"{row['pairs']:,}",
                        *(duration(row[who]) for who in ("bi_encoder_s", "both_s", "cross_encoder_s")),
                    ]
                    for row in pairs["rows"]
                ),
            ]
        ),
        "neighbours": f"{pairs['neighbours']}",
        "title_encodings": f"{pairs['encodings_per_s']:,.0f}",
        "title_pairs": f"{pairs['pairs_per_s']:,.0f}",
        "title_tokens": f"{pairs['tokens_per_pair']:.0f}",
        "dedup_texts": "10,000",
        "dedup_both": duration(by_texts[10_000]["both_s"]),
        "dedup_alone": duration(by_texts[10_000]["cross_encoder_s"]),
        "everything": table(
            [
                ["", *WAYS.values()],
                ["nDCG@10", *(f"{everything['nDCG@10'][way]:.3f}" for way in WAYS)],
                ["time a query", *(duration(everything["milliseconds"][way] / 1e3) for way in WAYS)],
            ]
        ),
        "everything_set": collection(everything["set"]),
        "everything_chunks": f"{everything['chunks']:,}",
        "everything_queries": f"{everything['queries']}",
        "chinese_words": f"{chinese['lexical']:.3f}",
        "chinese_dense": f"{chinese['dense']:.3f}",
    }


def second_stage_values(
    second: Mapping[str, Any], budget: Mapping[str, Any], cascade: Mapping[str, Any], legal: Mapping[str, Any]
) -> dict[str, str]:
    """What stands on ``docs/second-stage.md``."""
    together = second["pooled"]
    columns = ("first stage", "cross-encoder", "joined", "adaptive")
    return {
        "second_stage": table(
            [
                ["collection", "queries", *columns, "read", "ECE"],
                *(
                    [
                        collection(row["set"]),
                        f"{row['queries']}",
                        *(f"{row[name]:.3f}" for name in columns),
                        f"{row['read']:.0%}",
                        f"{row['ECE']:.3f}",
                    ]
                    for row in second["sets"]
                ),
            ]
        ),
        "pooled_queries": f"{together['queries']}",
        "pooled_ece": f"{together['fitted']['ECE']:.3f}",
        "pooled_bare": f"{together['bare logistic']['ECE']:.3f}",
        "no_answer": table(
            [
                ["collection", "queries", "keep a relevant hit", "no hit when nothing answers"],
                *(
                    [
                        collection(row["set"]),
                        f"{row['queries']}",
                        f"{row['keep a relevant hit']:.0%}",
                        f"{row['no hit when nothing answers']:.0%}",
                    ]
                    for row in second["no answer"]
                ),
            ]
        ),
        "read": table([["candidates", *second["read"]], ["read", *(f"{n:.0f}" for n in second["read"].values())]]),
        "budget": table(
            [
                ["budget", "searches", "over by more than 10 %", "median", "99 of 100 within", "pairs read, median"],
                *(
                    [
                        f"{row['budget_ms']} ms",
                        f"{row['searches']}",
                        f"{row['over by more than 10 %']:.1%}",
                        *(f"{row[f'p{p} ms']:.0f} ms" for p in (50, 99)),
                        f"{row['pairs read, median']:.0f}",
                    ]
                    for row in budget["budgets"]
                ),
            ]
        ),
        "cascade_time": f"{cascade['time of a pair, quick by large']:.0%}",
        "cascade_alike": f"{cascade['correlation of the logits of a query']:.2f}",
        "cascade_queries": f"{cascade['queries']}",
        "cascade": table(
            [
                ["", "nDCG@10", "pairs of two layers", "pairs of six layers", "cost, in pairs of six layers"],
                *(
                    [
                        row["way"],
                        f"{row['nDCG@10']:.4f}",
                        f"{row['read by the quick one']:.0f}",
                        f"{row['read by the other']:.0f}",
                        f"{row['cost in pairs']:.0f}",
                    ]
                    for row in cascade["ways"]
                ),
            ]
        ),
        "legal_queries": f"{legal['queries']}",
        "legal_documents": f"{legal['documents']:,}",
        "legal_chunks": f"{legal['chunks']:,}",
        "legal": table(
            [
                ["", "nDCG@10", "AP", "recall@100", "a query, median"],
                *(
                    [name, *(f"{row[m]:.3f}" for m in ("nDCG@10", "AP", "R@100")), duration(row["ms"] / 1e3)]
                    for name, row in legal["systems"].items()
                ),
            ]
        ),
    }


def plan_values(plans: Mapping[str, Any]) -> dict[str, str]:
    """What stands on ``docs/plan.md``."""
    return {
        "plan_rounds": f"{plans['rounds']}",
        "plan_cores": f"{plans['cores']}",
        "plan": table(
            [
                ["job", "", "predicted", "took", "ratio", "of all rounds"],
                *(
                    [
                        row["job"],
                        row["quantity"],
                        f"{row['predicted']:,.1f}",
                        f"{row['actual']:,.1f}",
                        f"{row['ratio']:.2f}",
                        ", ".join(f"{ratio:.2f}" for ratio in row["ratios"]),
                    ]
                    for row in plans["jobs"]
                ),
            ]
        ),
    }


def training_values(trained: Mapping[str, Any]) -> dict[str, str]:
    """What stands on ``docs/training.md``."""
    speed = [["", "pairs a second", "tokens a second", "times as fast", "rounds"]]
    for encoder, row in trained["rows"].items():
        pairs, tokens = (row[key]["ours"] for key in ("pairs_per_s", "tokens_per_s"))
        rounds = ", ".join(f"{ratio:.2f}" for ratio in row["ratios"])
        speed.append([encoder, f"{pairs:.1f}", f"{tokens:,}", f"{row['ratio']:.2f}", rounds])
    return {
        "train_speed": table(speed),
        "train_about": f"{trained['precision']}, batches of {trained['batch']}, medians of {trained['rounds']} rounds",
    }


#: The sets that a row of the recipe's tables is the mean of, and the one that stands by itself.
SIX = ("scifact/test", "nfcorpus/dev", "cranfield/test", "vaswani/test", "msmarco-v1-dl19-pool/test", "wikiqa-tok/test")
CODE = "cosqa/test"

#: What ``train`` calls its scorers, and what the page does.
SCORERS = {
    "dense": "all-MiniLM-L6-v2, the start",
    "bm25": "BM25",
    "teacher-1": "all-mpnet-base-v2, a teacher",
    "teacher-2": "multilingual-e5-small, a teacher",
    "similarities and BM25": "all of these, weighted",
    "reader": "all-mpnet-base-v2, trained to read pairs",
    "wanted": "all of these, weighted: what the models learn",
    "cross-encoder": "cross-encoder, 6 layers",
    "fast": "cross-encoder, 3 layers",
    "bi-encoder": "bi-encoder",
}
TRIED = {
    "labels and teachers": "judgements and teachers, 6 layers",
    "labels only": "judgements only",
    "teachers only": "teachers only",
    "without the reader": "teachers without the one that reads pairs",
    "score of the retriever as offset": "the retriever's score as a constant in the loss",
    "means of the segments": "means of query and document instead of `[CLS]`",
    "2 layers": "2 layers",
    "4 layers": "4 layers",
    "half the time": "half the time",
    "twice the time": "twice the time",
}


def recipe_values(run: Mapping[str, Any]) -> dict[str, str]:
    """What the training of the shipped models found."""

    def mean(name: str) -> str:
        return f"{sum(run[f'ndcg {name}'][s] for s in SIX) / len(SIX):.4f}"

    def shown(name: str) -> list[str]:
        return [*(f"{run[f'ndcg {name}'][s]:.3f}" for s in (*SIX, CODE)), mean(name)]

    head = [*(collection(s) for s in (*SIX, CODE)), "mean of the first six"]
    tried = [["", "pairs seen", "alone", "joined with the start and BM25"]]
    for name, title in TRIED.items():
        variant = f"variant: {name}"
        tried.append([title, f"{run[f'pairs {variant}']['pairs']:,}", mean(variant), mean(f"{variant}, joined")])
    seen = run["pairs cross-encoder"]["pairs"]
    tried.append(["what is shipped", f"{seen:,}", mean("cross-encoder"), mean("cross-encoder, joined")])
    groups = run["groups"]
    return {
        "recipe_scorers": table([["", *head], *([title, *shown(name)] for name, title in SCORERS.items())]),
        "recipe_variants": table(tried),
        "recipe_device": run["device"],
        "recipe_busy": f"{run['utilisation']['mean']:.0f} %",
        "recipe_pairs": f"{run['pairs']:,}",
        "recipe_groups": f"{sum(groups.values()):,}",
        "recipe_seen": f"{seen:,}",
        "recipe_speed": f"{run['pairs cross-encoder']['a second']:,}",
        "recipe_fast_speed": f"{run['pairs fast']['a second']:,}",
    }


def mining_values(rows: Sequence[Mapping[str, Any]]) -> dict[str, str]:
    """What mined negatives are worth."""
    shown = [["collection", "dev queries", "examples", "untrained", "random negatives", "mined negatives", "p"]]
    for row in rows:
        found = row["ndcg"]
        counts = [f"{row['queries']:,}", f"{row['examples']:,}"]
        numbers = [f"{found[name]:.4f}" for name in ("base", "random", "mined")]
        shown.append([collection(row["collection"]), *counts, *numbers, f"{row['p_mined_against_random']:.4f}"])
    seeds = [
        f"{random:.4f} / {mined:.4f}" for row in rows for random, mined in zip(*row["each_seed"].values(), strict=True)
    ]
    return {"mining": table(shown), "mining_seeds": ", ".join(seeds)}


def adapt_values(rows: Sequence[Mapping[str, Any]]) -> dict[str, str]:
    """What adapting to a corpus is worth."""
    names = {
        "hybrid": "first stage",
        "cross-encoder@50": "cross-encoder alone",
        "adaptive@50": "two stages, adaptive",
    }
    shown = [["collection", "", *names.values()]]
    for row in rows:
        before = [f"{s['ndcg']:.4f}" for s in row["before"]]
        shown.append([collection(row["set"]), "before", *before])
        for after in row["after"]:
            numbers = [f"{s['ndcg']:.4f}" + (f" (p {s['p']:.3f})" if n else "") for n, s in enumerate(after["systems"])]
            what = f"after, learning rate {after['learning_rate']:g}"
            shown.append([collection(row["set"]), what if after["kept"] else f"{what}: no gain, not kept", *numbers])
    return {
        "adapt": table(shown),
        "adapt_queries": f"{rows[0]['after'][0]['queries']:,}",
        "adapt_pairs": f"{rows[0]['after'][0]['pairs']:,}",
    }


def beside_values(
    judged: Sequence[Mapping[str, Any]], fast: Sequence[Mapping[str, Any]], retriever: Sequence[Mapping[str, Any]]
) -> dict[str, str]:
    """The other models that are shipped, beside the default ones."""
    default = {row["set"]: ndcg(row) for row in judged}
    cross = [["collection", "both fused", "two stages, 6 layers", "two stages, 3 layers", "pairs read, 3 layers"]]
    for row in fast:
        of_set, here = default[row["set"]], ndcg(row)["adaptive@100"]
        pairs = next(s["cost"]["pairs"] for s in row["systems"] if s["name"] == "adaptive@100")
        numbers = [f"{of_set['hybrid']:.3f}", f"{of_set['adaptive@100']:.3f}", f"{here:.3f}", f"{pairs:.0f}"]
        cross.append([collection(row["set"]), *numbers])
    names = ("dense", "rrf", "hybrid")
    bi = [["collection", *(f"{JUDGED[name][0]}, {whose}" for name in names for whose in ("default", "this"))]]
    totals = dict.fromkeys(((name, whose) for name in names for whose in ("default", "this")), 0.0)
    for row in retriever:
        of_set, here = default[row["set"]], ndcg(row)
        bi.append([collection(row["set"]), *(f"{x[name]:.3f}" for name in names for x in (of_set, here))])
        if row["set"] in SIX:
            for name in names:
                totals[name, "default"] += of_set[name] / len(SIX)
                totals[name, "this"] += here[name] / len(SIX)
    bi.append(["mean of the six of English prose", *(f"{total:.4f}" for total in totals.values())])
    return {"fast": table(cross), "retriever": table(bi)}


def soak_values(soak: Mapping[str, Any]) -> dict[str, str]:
    """What became of a server under mixed load that is killed again and again."""
    longest = max(soak["lives"], key=lambda life: life["seconds"])
    memory = longest["memory_mb"]
    return {
        "soak_minutes": f"{soak['minutes']:.0f}",
        "soak_kills": f"{soak['kills']}",
        "soak_answered": f"{soak['answered']:,}",
        "soak_failed": f"{soak['failed']}",
        "soak_lost": f"{soak['lost']}",
        "soak_life": f"{longest['seconds'] / 60:.0f}",
        "soak_memory": f"{memory[0]} MB at first, {memory[len(memory) // 2]} in the middle, {memory[-1]} at its end",
    }


#: What ``serve.json`` calls the servers, and what the page does.
SERVERS = {
    "bicross": "bicross",
    "bicross int8": "bicross, int8",
    "plain": "FastAPI + sentence-transformers",
    "infinity": "infinity",
}


def serve_values(rows: Sequence[Mapping[str, Any]]) -> dict[str, str]:
    """How many requests a server answers."""
    shown = [["", "route", "clients", "requests a second", "median ms", "99 of 100 within ms", "errors"]]
    for row in sorted(rows, key=lambda r: (("embed", "rerank", "search").index(r["route"]), r["clients"])):
        rate = row["requests_per_s"]
        shown_rate = f"{rate:,.0f}" if rate >= 20 else f"{rate:.1f}"
        times = [shown_rate, f"{row['p50_ms']:,.0f}", f"{row['p99_ms']:,.0f}", f"{row['errors']}"]
        shown.append([SERVERS[row["system"]], row["route"], f"{row['clients']}", *times])
    rates = {(row["system"], row["route"], row["clients"]): row["requests_per_s"] for row in rows}
    times = {
        f"serve_{route}_{name}": f"{rates[system, route, 32] / rates['plain', route, 32]:.1f}"
        for route in ("embed", "rerank")
        for name, system in (("default", "bicross"), ("int8", "bicross int8"))
    }
    return {"serve": table(shown), "serve_rounds": f"{len(rows[0]['rounds'])}", **times}


#: What lies on the disk of a node for a chunk, and what the page calls it.
LIES = {
    "vector": "vector, two bytes a number",
    "codes": "codes",
    "vector_index-dense": "links of the graph",
    "payload_storage": "text, metadata, checksum",
    "payload_index": "fields and words, to filter and count by",
    "vector_storage-lexical": "weights of its words",
    "vector_index-lexical": "lists of words",
    "other": "ids and the rest",
}

#: Of a run of ``cluster.json``: nodes, chunks in all, codes and words of a chunk.
Run = tuple[int, int, str, int]


def cluster_runs(results: Mapping[str, Any]) -> dict[Run, Mapping[str, Any]]:
    """The runs of ``cluster.json``, by what they were."""
    return {(row["nodes"], row["chunks"], row["quantisation"], row["words"]): row for row in results["runs"].values()}


def lying(row: Mapping[str, Any], dimension: int = DIMENSION) -> dict[str, float]:
    """Bytes of a chunk on the disks of all nodes, by what they are for; logs and catalogue aside."""
    found: dict[str, float] = {}
    for node in row["disk"]:
        for kind, size in node.items():
            found[kind] = found.get(kind, 0.0) + size / row["chunks"]
    vectors = found.pop("vector_storage-dense")
    vector = 2.0 * dimension
    parts = {"vector": vector, "codes": max(0.0, vectors - vector)}
    return parts | {kind: size for kind, size in found.items() if kind not in ("log", "catalogue")}


def each(row: Mapping[str, Any], what: str) -> list[float]:
    """Work of each node: ms for a query of this kind, or µs to store one of its own chunks (``store_and_graph``)."""
    if what == "store_and_graph":
        return [cpu * row["nodes"] for cpu in row[what]["cpu"]]
    return list(row["queries"][what]["cpu"])


def cluster_constants(results: Mapping[str, Any]) -> dict[str, Any]:
    """What ``bicross.planning.cluster`` goes by, from the runs with one node of a unit and of three."""
    runs = cluster_runs(results)
    unit = min(chunks for _, chunks, _, _ in runs)
    small, large, long = (runs[1, n, "int8", words] for n, words in ((unit, 60), (3 * unit, 60), (unit, 180)))
    none, binary = (runs[1, unit, codes, 60] for codes in ("none", "binary"))
    tokens = 60 * TOKENS_PER_WORD
    kinds, longer = lying(small), lying(long)
    texts = ("payload_storage", "payload_index", "vector_storage-lexical", "vector_index-lexical")
    of_text = sum(kinds[kind] for kind in texts)
    token = (sum(longer[kind] for kind in texts) - of_text) / (2 * tokens)
    lists = (longer["vector_index-lexical"] - kinds["vector_index-lexical"]) / (2 * tokens)

    def mean(row: Mapping[str, Any], what: str) -> float:
        return _mean(each(row, what))

    def grown(what: str) -> tuple[tuple[int, float], tuple[int, float]]:
        return (unit, mean(small, what)), (3 * unit, mean(large, what))

    own = (runs[1, 5 * unit, "int8", 60]["memory"][0][0] - small["memory"][0][0]) / (4 * unit)
    three = runs[3, 3 * unit, "int8", 60]
    joined = [mean(row, "hybrid 50") - mean(row, "dense") - mean(row, "lexical") for row in (small, large)]
    return {
        "LINKS": lying(large)["vector_index-dense"],  # of a few chunks some are in no graph yet
        "CHUNK": of_text - token * tokens + kinds["other"],
        "TOKEN": token,
        "LISTS": lists,
        "DOCUMENT": small["disk"][0]["catalogue"] / unit,
        "LOG": small["disk"][0]["log"],
        "EMPTY": small["memory"][0][0] - unit * own,
        "HELD": own - code_bytes(DIMENSION, "int8"),
        "STORE_US": grown("store_and_graph"),
        "STORE_TOKEN_US": (mean(long, "store_and_graph") - mean(small, "store_and_graph")) / (2 * tokens),
        "STORE_TIMES": {
            c: mean(r, "store_and_graph") / mean(small, "store_and_graph")
            for c, r in (("none", none), ("binary", binary))
        },
        "DENSE_MS": grown("dense"),
        "DENSE_TIMES": {c: mean(r, "dense") / mean(small, "dense") for c, r in (("none", none), ("binary", binary))},
        "LEXICAL_MS": grown("lexical"),
        "JOINED_MS": sum(joined) / 2,
        "FANOUT_MS": (max(each(three, "hybrid 50")) - mean(small, "hybrid 50")) / 2,
        "AMONG": sum(three["queries"]["hybrid 50"]["peer_bytes"]) / 2,
        "PROGRAM_US": large["store"]["program_cpu"],
        "PROGRAM_MS": large["queries"]["hybrid 50"]["program_cpu"],
        "SENT": large["store"]["client_bytes"][0],
        "SENT_TOKEN": (long["store"]["client_bytes"][0] - small["store"]["client_bytes"][0]) / (2 * tokens),
        "FORWARDED": sum(three["store"]["peer_bytes"]) / sum(three["store"]["client_bytes"]) / (1 - 1 / 3),
        "ASKED": large["queries"]["hybrid 50"]["client_bytes"][0],
    }


def _milliseconds(values: Sequence[float]) -> str:
    return ", ".join(f"{value:.1f}" for value in values)


def scale_values(results: Mapping[str, Any], processes: Mapping[str, Any]) -> dict[str, str]:
    """What stands on ``docs/scale.md``."""
    runs = cluster_runs(results)
    unit = min(chunks for _, chunks, _, _ in runs)
    shown = [["bytes of a chunk on a node's disk", "int8", "none", "binary", "int8, 180 words"]]
    columns = [
        runs[1, unit, codes, words] for codes, words in (("int8", 60), ("none", 60), ("binary", 60), ("int8", 180))
    ]
    parts = [lying(row) for row in columns]
    shown += [[title, *(f"{part.get(kind, 0.0):,.0f}" for part in parts)] for kind, title in LIES.items()]
    shown.append(["all of them", *(f"{sum(part.values()):,.0f}" for part in parts)])
    catalogue = [row["disk"][0]["catalogue"] / row["chunks"] for row in columns]
    shown.append(["a document in the catalogue", *(f"{size:,.0f}" for size in catalogue)])
    shown.append(["recall@10 by meaning", *(f"{row['queries']['dense']['recall@10']:.3f}" for row in columns)])
    spread = [
        [
            "nodes",
            "chunks a node",
            "to store a chunk",
            "by meaning",
            "by words",
            "both, 50 chunks",
            "bytes, program",
            "bytes, nodes",
            "recall@10",
        ]
    ]
    for (nodes, chunks, codes, words), row in sorted(runs.items()):
        if (codes, words) == ("int8", 60):
            asked = row["queries"]["hybrid 50"]
            spread.append(
                [
                    f"{nodes}",
                    f"{chunks // nodes:,}",
                    ", ".join(f"{value:,.0f} µs" for value in each(row, "store_and_graph")),
                    *(f"{_milliseconds(each(row, what))} ms" for what in ("dense", "lexical", "hybrid 50")),
                    f"{sum(asked['client_bytes']):,}",
                    f"{sum(asked['peer_bytes']):,}",
                    f"{row['queries']['dense']['recall@10']:.3f}",
                ]
            )
    dying = results["dying"]
    rates = {
        f"scale_{route}_{name}": f"{processes[route][name]:.1f}"
        for route in ("rerank", "search")
        for name in ("one", "two")
    }
    ratios = {f"scale_{route}_ratio": f"{processes[route]['ratio']:.2f}" for route in ("rerank", "search")}
    return {
        "scale_bytes": table(shown),
        "scale_unit": f"{unit:,}",
        "scale_spread": table(spread),
        "scale_error": table(scale_error(runs)),
        "scale_plan": table(scale_plan(results["profile"])),
        "scale_killed": f"{max(dying['longest_s']['killed']):.1f}",
        "scale_stalled": f"{max(dying['longest_s']['stalled']):.1f}",
        "scale_kills": f"{len(dying['longest_s']['killed'])}",
        "scale_usual": f"{dying['usual_ms']:.0f}",
        "scale_searches": f"{dying['searches']:,}",
        "scale_failed": f"{dying['failed']}",
        **rates,
        **ratios,
    }


def scale_error(runs: Mapping[Run, Mapping[str, Any]]) -> Table:
    """What the plan says of other runs than it was made from, and what they took."""
    unit = min(chunks for _, chunks, _, _ in runs)
    shown = [["run", "", "planned", "measured", "measured by planned"]]
    for (nodes, chunks, codes, words), row in sorted(runs.items()):
        if (codes, words) != ("int8", 60) or (nodes, chunks) in ((1, unit), (1, 3 * unit)):
            continue
        share = chunks / nodes
        quantities = (
            (
                "bytes on disk, a chunk",
                chunk_disk(words * TOKENS_PER_WORD, DIMENSION, "int8"),
                sum(lying(row).values()),
            ),
            (
                "MB of memory of its own",
                own_memory(share, DIMENSION, "int8") / 1e6,
                _mean([m[0] for m in row["memory"]]) / 1e6,
            ),
            (
                "µs to store a chunk",
                store_us(share, words * TOKENS_PER_WORD, "int8"),
                _mean(each(row, "store_and_graph")),
            ),
            ("ms of a node, a query, the mean", query_ms(share, DIMENSION, "int8"), _mean(each(row, "hybrid 50"))),
            (
                "ms of the node that is asked",
                query_ms(share, DIMENSION, "int8") + (nodes - 1) * FANOUT_MS,
                max(each(row, "hybrid 50")),
            ),
            (
                "bytes to and among nodes, a chunk",
                sent_bytes(words * TOKENS_PER_WORD, DIMENSION) * (1 + forwarded(nodes, 1)),
                sum(row["store"]["client_bytes"]) + sum(row["store"]["peer_bytes"]),
            ),
        )
        for what, planned, measured in quantities:
            if nodes == 1 and what.startswith(("MB", "ms of the")):
                continue  # the plan was made from the one, and the other is the mean
            both = [f"{value:,.1f}" if value < 100 else f"{value:,.0f}" for value in (planned, measured)]
            shown.append([f"{nodes} × {chunks // nodes:,}", what, *both, f"{measured / planned:.2f}"])
    return shown


def _mean(values: Sequence[float]) -> float:
    return sum(values) / len(values)


#: What the table of ``docs/scale.md`` asks for.
SIZES = (("10 M", 10**7), ("100 M", 10**8), ("1 B", 10**9), ("10 B", 10**10))
QUERIES_A_DAY, WITHIN_MS, PEAK = 1_000_000, 500.0, 4.0


def scale_plan(profile: Mapping[str, Any]) -> Table:
    """Nodes and machines by the number of chunks."""
    machine = MachineProfile.from_dict(profile)
    shown = [
        [
            "chunks",
            "codes",
            "memory, all copies",
            "disk, all copies",
            "nodes for memory",
            "for disk",
            "for queries",
            "for latency",
            "nodes needed",
            "node-hours a month",
            "first stage",
            "storing",
            "embedding, machine-hours",
        ]
    ]
    for name, chunks in SIZES:
        for codes in ("int8", "binary"):
            asked = Nodes(codes=codes)
            work = assumed(chunks, 150, 10, machine.chunk_tokens)
            planned = plan_cluster(
                machine, work, asked, queries_per_day=QUERIES_A_DAY, latency_s=WITHIN_MS / 1e3, peak=PEAK
            )
            shown.append(
                [
                    name,
                    codes,
                    numbers.size(planned.memory),
                    numbers.size(planned.disk),
                    *(f"{planned.nodes_for[what]:,}" for what in ("memory", "disk", "queries", "latency")),
                    f"{planned.nodes:,}",
                    f"{MONTH * planned.nodes:,}",
                    duration(planned.first_stage_s),
                    duration(planned.store_s),
                    f"{planned.embed_s / 3600:,.0f}",
                ]
            )
    return shown


def _quality_table(judged: Sequence[Mapping[str, Any]], language: int) -> str:
    """nDCG@10, and how much of its candidates the cross-encoder reads when it stops by itself."""
    head = [("collection", "数据集")[language], ("queries", "查询")[language]]
    systems = [name for name in JUDGED if all(name in ndcg(of_set) for of_set in judged)]
    rows = [[*head, *(JUDGED[name][language] for name in systems), ("pairs read", "所读配对")[language]]]
    for of_set in judged:
        scores = ndcg(of_set)
        pairs = next(system["cost"]["pairs"] for system in of_set["systems"] if system["name"] == "adaptive@100")
        numbers = [f"{scores[name]:.3f}" for name in systems]
        rows.append([collection(of_set["set"]), f"{of_set['queries']:,}", *numbers, f"{pairs:.0f}"])
    return table(rows)


def filled(page: str, shown: Mapping[str, str]) -> str:
    """The page with every value in its place.

    Raises:
        SystemExit: The page names a value that there is not.
    """
    named = re.findall(r"<!--=(\w+)-->", page)
    if unknown := sorted(set(named) - shown.keys()):
        raise SystemExit(f"nothing is measured for {', '.join(unknown)}")
    return re.sub(
        r"<!--=(\w+)-->.*?<!--/-->", lambda mark: f"<!--={mark[1]}-->{shown[mark[1]]}<!--/-->", page, flags=re.DOTALL
    )


def stored_values() -> dict[str, str]:
    """What the page shows, from the results that are in the repository."""
    guide, plans, trained, recipe, *others = (
        json.loads((RESULTS / f"{name}.json").read_text())
        for name in ("guide", "plan", "train", "recipe", "second-stage", "budget", "cascade", "legal")
    )
    soak = json.loads((RESULTS / "serve-soak.json").read_text())
    shown = values(judged_sets(), guide) | plan_values(plans) | training_values(trained) | recipe_values(recipe)
    shown |= soak_values(soak)
    for name, of_page in (("mining", mining_values), ("adapt", adapt_values), ("serve", serve_values)):
        shown |= of_page(json.loads((RESULTS / f"{name}.json").read_text()))
    cluster, processes = (json.loads((RESULTS / f"{name}.json").read_text()) for name in ("cluster", "processes"))
    shown |= scale_values(cluster, processes)
    others_here = (json.loads((RESULTS / f"{name}.json").read_text())["sets"] for name in ("fast", "retriever"))
    return shown | beside_values(judged_sets(), *others_here) | second_stage_values(*others)


def judged_sets() -> list[dict[str, Any]]:
    """A row a collection, in the order of their names above."""
    sets: list[dict[str, Any]] = json.loads((RESULTS / "quality.json").read_text())["sets"]
    return sorted(sets, key=lambda row: list(COLLECTIONS).index(row["set"].partition("/")[0]))


def fill() -> None:
    """Write the pages anew."""
    shown = stored_values()
    for page in PAGES:
        page.write_text(filled(page.read_text(encoding="utf-8"), shown), encoding="utf-8")
        print(f"{page}: filled")


if __name__ == "__main__":
    fill()

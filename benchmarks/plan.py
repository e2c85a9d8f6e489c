"""Does a plan come true? Jobs are predicted first, then done; prints what was predicted, what happened, and the ratio.

The machine is measured at the beginning of each round, because a plan is for the machine as it is; of a job the plan
knows the number of documents or pairs, and a random sample of other documents and queries of the same collection. Jobs:
indexing short texts (vaswani), indexing longer ones, which become several chunks (scifact), searching those with 50
candidates (how many of them are read depends on the queries, so the time is also predicted from how many it were), and
scoring pairs (wikiqa-tok). Each round does all of them; the table has the medians of the
rounds, the JSON file has all.

``cores`` is the share of the machine that this process got while it worked, ``cores_measured`` while it was measured.
On a quiet machine ``ratio`` is what counts. Where other work came or went in between, both shares differ, and
``processor_ratio`` says what the plan was worth: the processor time that the job took by that which was predicted.

Run: ``python benchmarks/plan.py --data folder-with-BEIR-collections``
"""

from __future__ import annotations

import argparse
import gzip
import json
import random
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from time import perf_counter, process_time
from typing import Any

from bicross import BiEncoder, CrossEncoder, LocalIndex, Searcher, create, plan, refresh
from bicross.encoders.loading import DEFAULT_BI_ENCODER, DEFAULT_CROSS_ENCODER
from bicross.index.disk import bytes_taken
from bicross.machine import measure, sample_documents
from bicross.machine.cache import cache_folder
from bicross.machine.measuring import cpu_name, precisions, usable_cores
from bicross.planning import MachineProfile

RESULTS = Path(__file__).parent / "results" / "plan.json"
CANDIDATES = 50
SAMPLE = 200


@dataclass(frozen=True)
class Outcome:
    """One quantity of one job: as predicted, and as it was."""

    job: str
    quantity: str
    predicted: float
    actual: float
    cores: float | None = None


@dataclass(frozen=True)
class Collection:
    """A part of a collection to work on, and a sample of another part."""

    name: str
    job: Path
    sample: Path
    queries: list[str]

    @staticmethod
    def of(data: Path, name: str, count: int, place: Path) -> Collection:
        folder = data / name
        with gzip.open(folder / "corpus.jsonl.gz", "rt") as stream:
            found = [line for line in stream if json.loads(line)["text"].strip()]
        random.Random(0).shuffle(found)
        job, sample = place / f"{name}.jsonl", place / f"{name}-sample.jsonl"
        job.write_text("".join(found[:count]))
        sample.write_text("".join(found[count : count + SAMPLE]))
        queries = [json.loads(line)["text"] for line in (folder / "queries.jsonl").read_text().splitlines()]
        random.Random(0).shuffle(queries)
        return Collection(name, job, sample, queries)


def timed(work: Callable[[], object]) -> tuple[float, float]:
    """Seconds, and the share of all cores that this process used."""
    started, used = perf_counter(), process_time()
    work()
    seconds = perf_counter() - started
    return seconds, (process_time() - used) / seconds / usable_cores()


def measured() -> MachineProfile:
    """This machine now, in the precision that the jobs run in."""
    kinds = precisions(DEFAULT_BI_ENCODER, DEFAULT_CROSS_ENCODER)[:1]
    return measure(DEFAULT_BI_ENCODER, DEFAULT_CROSS_ENCODER, cache_folder(), kinds=kinds)


def indexing(profile: MachineProfile, texts: Collection, count: int, into: Path) -> list[Outcome]:
    """From the file to the index, models opened and all."""
    predicted = plan(count, sample=texts.sample, profile=profile).index
    assert predicted is not None
    # the index needs only the bi-encoder; the plan's start is both, a fraction of a second
    index: list[LocalIndex] = []

    def run() -> None:
        index.append(create(into))
        refresh(index[0], [texts.job])

    seconds, cores = timed(run)
    chunks = index[0].count().chunks
    index[0].close()
    job = f"index {count:,} documents of {texts.name}"
    return [
        Outcome(job, "seconds", predicted.seconds, seconds, cores),
        Outcome(job, "chunks", predicted.encodings, chunks),
        Outcome(job, "disk MB", predicted.disk / 1e6, bytes_taken(into) / 1e6),
    ]


def searching(profile: MachineProfile, texts: Collection, count: int, queries: int, place: Path) -> list[Outcome]:
    """Queries one after the other, both stages, an open index."""
    bi, asked, others = BiEncoder(), texts.queries[:queries], texts.queries[queries : 2 * queries]
    tokens = sum(len(bi.token_spans(query)) for query in others) / len(others)
    made = plan(
        count, sample=texts.sample, query_tokens=tokens, candidates=CANDIDATES, latency_ms=60_000, profile=profile
    )
    assert made.search is not None
    both = made.search.ways[1]
    with LocalIndex.open(place, bi) as index:
        searcher = Searcher(index, CrossEncoder())
        read: list[int] = []

        def run() -> None:
            for query in asked:
                found = searcher.search(query, candidates=CANDIDATES)
                read.append(found.reading.read if found.reading else 0)

        seconds, cores = timed(run)
    job = f"search {queries} queries of {texts.name}, {CANDIDATES} candidates"
    known = both.mean_s * sum(read) / both.pairs_read
    return [
        Outcome(job, "pairs read", queries * both.pairs_read, sum(read)),
        Outcome(job, "seconds", queries * both.mean_s, seconds, cores),
        Outcome(job, "seconds, had the pairs been known", known, seconds, cores),
    ]


def scoring(profile: MachineProfile, texts: Collection, pairs: int) -> list[Outcome]:
    """Queries with documents at random: what comparing pairs comes down to."""
    bi, cross = BiEncoder(), CrossEncoder()
    seen = sample_documents([texts.sample], profile.chunk_tokens, bi.token_spans)
    others = texts.queries[-SAMPLE:]
    tokens = sum(len(bi.token_spans(query)) for query in others) / len(others)
    lengths = [t + tokens + profile.pair_special for t in seen.chunk_tokens]
    predicted = pairs * profile.at("auto").score.mean(lengths)
    documents = [json.loads(line)["text"] for line in texts.job.read_text().splitlines()]
    work = [(texts.queries[i % 500], documents[(7 * i) % len(documents)]) for i in range(pairs)]
    seconds, cores = timed(lambda: cross.predict(work))
    return [Outcome(f"score {pairs:,} pairs of {texts.name}", "seconds", predicted, seconds, cores)]


def one_round(data: Path, place: Path, scale: float) -> Iterator[Outcome]:
    """Measure, then predict and do one job after the other."""
    short, long, queries, pairs = (round(n * scale) for n in (4000, 800, 60, 6000))
    abstracts = Collection.of(data, "scifact", long, place)
    found: list[MachineProfile] = []
    seconds, cores = timed(lambda: found.append(measured()))
    profile = found[0]
    yield Outcome("measure the machine", "seconds", seconds, seconds, cores)
    yield from indexing(profile, Collection.of(data, "vaswani", short, place), short, place / "short")
    yield from indexing(profile, abstracts, long, place / "long")
    yield from searching(profile, abstracts, long, queries, place / "long")
    yield from scoring(profile, Collection.of(data, "wikiqa-tok", pairs, place), pairs)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True, help="holds scifact, vaswani and wikiqa-tok")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--scale", type=float, default=1.0, help="of the jobs")
    parser.add_argument("--out", type=Path, default=RESULTS, help="the JSON file, written anew after each round")
    args = parser.parse_args()
    cache_folder().mkdir(parents=True, exist_ok=True)
    rounds: list[list[Outcome]] = []
    for number in range(args.rounds):
        rounds.append([])
        with tempfile.TemporaryDirectory(dir=cache_folder()) as place:
            for outcome in one_round(args.data, Path(place), args.scale):
                print(f"round {number + 1}: {outcome}", flush=True)
                rounds[-1].append(outcome)
        about = {"cpu": cpu_name(), "cores": usable_cores(), "scale": args.scale, "rounds": len(rounds)}
        args.out.write_text(json.dumps({**about, "jobs": summary(rounds)}, indent=1) + "\n")
    print("| job | | predicted | took | ratios of the rounds | of processor time |\n|---|---|---|---|---|---|")
    for row in summary(rounds):
        ratios, used = (", ".join(f"{r:.2f}" for r in row.get(key, [])) for key in ("ratios", "processor_ratios"))
        print(f"| {row['job']} | {row['quantity']} | {row['predicted']} | {row['actual']} | {ratios} | {used} |")


def summary(rounds: list[list[Outcome]]) -> list[dict[str, Any]]:
    """Of each quantity the round with the median ratio, and the ratios of all."""
    rows = []
    measurements = [outcomes[0].cores for outcomes in rounds]
    for same in list(zip(*rounds, strict=True))[1:]:
        ratios = [one.actual / one.predicted for one in same]
        middle = same[ratios.index(sorted(ratios)[(len(ratios) - 1) // 2])]
        row: dict[str, Any] = {
            "job": middle.job,
            "quantity": middle.quantity,
            "predicted": round(middle.predicted, 2),
            "actual": round(middle.actual, 2),
            "ratio": round(middle.actual / middle.predicted, 3),
            "ratios": [round(ratio, 3) for ratio in ratios],
        }
        if middle.cores is not None:
            shares = [(one.cores or 0.0, measured or 1.0) for one, measured in zip(same, measurements, strict=True)]
            row["cores"] = [round(share, 3) for share, _ in shares]
            row["cores_measured"] = [round(share, 3) for _, share in shares]
            row["processor_ratios"] = [
                round(ratio * share / measured, 3) for ratio, (share, measured) in zip(ratios, shares, strict=True)
            ]
        rows.append(row)
    return rows


if __name__ == "__main__":
    main()

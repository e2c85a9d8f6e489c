"""Quality beside cost of each stage, on judged collections in BEIR layout, by ``bicross.evaluate``.

Every system searches for itself in the same index, made as ``bicross index`` makes it; but a pair that one system has
read is not read again for the next, so no times are kept. Prints a table and writes ``benchmarks/results/quality.json``
after each set: measures with 95 % intervals, p against ``dense`` (randomisation, Holm), pairs and tokens a query. A set
that is there already and was made with the same models, fitted numbers, version and systems is kept; ``--anew`` does it
again.

Run: ``make bench DATA=folder``, where the folder has ``beir/NAME/{corpus.jsonl.gz,queries.jsonl,qrels/SPLIT.tsv}``.
"""

from __future__ import annotations

import argparse
import json
import tempfile
from collections.abc import Sequence
from dataclasses import asdict
from hashlib import sha256
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np

import bicross
from bicross import CrossEncoder
from bicross.encoders.calibration import FILE as FITTED
from bicross.encoders.cross_encoder import Scored
from bicross.encoders.loading import DEFAULT_BI_ENCODER
from bicross.evaluation.outcome import summary
from bicross.opening import open_or_create
from bicross.training.recipes.fit_first_stage import for_fitting, place_of

FIRST_STAGE = Path(bicross.__file__).parent / "models" / "first-stage.json"
RESULTS = Path(__file__).parent / "results" / "quality.json"
SETS = [
    "scifact/test",
    "nfcorpus/dev",
    "cranfield/test",
    "msmarco-v1-dl19-pool/test",
    "wikiqa-tok/test",
    "cosqa/test",
    "vaswani/test",
    "cmrc2018-dev-zh/test",
]
SYSTEMS = ["dense", "lexical", "rrf", "hybrid", "cross-encoder@100", "rerank@100", "adaptive@100"]
MEASURES = ["nDCG@10", "RR@10", "R@100"]

#: So many queries at random, where all of them would take hours.
SOME = {"cmrc2018-dev-zh/test": 50, "cosqa/test": 100}


class Remembering(CrossEncoder):
    """Reads every pair once, however many systems ask for it."""

    def __init__(self, model: str | None = None) -> None:
        super().__init__(model) if model else super().__init__()
        self._read: dict[tuple[str, str], tuple[float, int, int]] = {}

    def score(self, pairs: Sequence[tuple[str, str]], *, show_progress: bool | None = None) -> Scored:
        new = list(dict.fromkeys(pair for pair in pairs if pair not in self._read))
        if new:
            scored = super().score(new, show_progress=show_progress)
            items, _ = self._tokenise.pairs(new, self.on_long, str)
            for pair, logit, lost, item in zip(new, scored.logits.tolist(), scored.lost.tolist(), items, strict=True):
                self._read[pair] = logit, lost, len(item)
        rows = [self._read[pair] for pair in pairs]
        logits, lost, tokens = zip(*rows, strict=True) if rows else ((), (), ())
        return Scored(np.array(logits, np.float32), sum(tokens), np.array(lost, np.int64))


def asked(folder: Path, split: str, number: int | None, into: Path) -> Path:
    """The queries of a split that nothing was fitted on, or ``number`` of them at random, in a file."""
    with (folder / "qrels" / f"{split}.tsv").open(encoding="utf-8") as lines:
        judged = {line.split("\t")[0] for line in islice(lines, 1, None)}
    fitted_on = for_fitting(folder.name, split, judged)
    kept = set(sorted(judged - fitted_on, key=lambda query_id: sha256(f"asked {query_id}".encode()).digest())[:number])
    file = into / f"{folder.name}-{split}.jsonl"
    with (folder / "queries.jsonl").open(encoding="utf-8") as lines:
        file.write_text("".join(line for line in lines if json.loads(line)["_id"] in kept), encoding="utf-8")
    return file


def measure(
    data: Path,
    name: str,
    indexes: Path,
    bi_encoder: str,
    cross_encoder: CrossEncoder,
    systems: list[str],
    limit: int | None,
):
    """One row of the results."""
    set_name, split = name.split("/")
    folder = data / "beir" / set_name
    with (
        tempfile.TemporaryDirectory() as temporary,
        open_or_create(place_of(indexes, set_name, bi_encoder), bi_encoder) as index,
    ):
        index.add(bicross.read_documents([folder / "corpus.jsonl.gz"]))
        count = index.count()
        evaluation = bicross.evaluate(
            index,
            queries=asked(folder, split, SOME.get(name), Path(temporary)),
            qrels=folder / "qrels" / f"{split}.tsv",
            systems=systems,
            measures=MEASURES,
            limit=limit,
            cross_encoder=cross_encoder,
        )
    return {
        "set": name,
        "queries": len(evaluation.queries),
        "documents": count.documents,
        "chunks": count.chunks,
        "systems": [_without_times(_rounded(summary(system))) for system in evaluation.systems],
        "comparisons": [_rounded(asdict(comparison)) for comparison in evaluation.comparisons],
    }


def _without_times(system: dict[str, Any]) -> dict[str, Any]:
    return {**system, "cost": {key: value for key, value in system["cost"].items() if not key.startswith("ms_")}}


def _rounded(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _rounded(item) for key, item in value.items()}
    return round(value, 4) if isinstance(value, float) else value


def _show(row: dict[str, Any], kept: bool) -> None:
    print(f"\n{row['set']}: {row['queries']} queries, {row['chunks']} chunks{' (kept)' if kept else ''}")
    print(f"{'':<20}" + "".join(f"{name:>10}" for name in MEASURES) + f"{'pairs':>9}{'tokens':>9}")
    for system in row["systems"]:
        cost = system["cost"]
        print(
            f"{system['name']:<20}"
            + "".join(f"{system['measures'][name]['mean']:>10.4f}" for name in MEASURES)
            + f"{cost['pairs']:>9.1f}{cost['tokens']:>9.0f}",
            flush=True,
        )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--sets", nargs="*", default=SETS, help="NAME/SPLIT …")
    parser.add_argument("--systems", nargs="*", default=SYSTEMS)
    parser.add_argument("--bi-encoder", default=DEFAULT_BI_ENCODER, help="another one needs --out")
    parser.add_argument("--cross-encoder", default=None)
    parser.add_argument("--limit", type=int, default=None, help="the first so many queries of each set; needs --out")
    parser.add_argument("--out", type=Path, default=RESULTS)
    parser.add_argument("--anew", action="store_true", help="also the sets that are there already")
    parser.add_argument(
        "--indexes", type=Path, default=None, help="keep the indexes here [default: a temporary folder]"
    )
    args = parser.parse_args()
    other = args.limit or args.bi_encoder != DEFAULT_BI_ENCODER
    if other and args.out.resolve() == RESULTS.resolve():
        parser.error("some queries only, or another bi-encoder: name another file with --out")
    cross_encoder = Remembering(args.cross_encoder)
    fitted = b"".join(file.read_bytes() for file in (cross_encoder.folder / FITTED, FIRST_STAGE) if file.is_file())
    made_with = {
        "bicross": bicross.__version__,
        "cross_encoder": cross_encoder.weights_sha256,
        **({} if args.bi_encoder == DEFAULT_BI_ENCODER else {"bi_encoder": args.bi_encoder}),
        "fitted": sha256(fitted).hexdigest(),
        "systems": args.systems,
        "limit": args.limit,
    }
    before = json.loads(args.out.read_text()) if args.out.exists() and not args.anew else {}
    rows = {row["set"]: row for row in before.get("sets", []) if row.get("made_with") == made_with}
    args.out.parent.mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory() as temporary:
        for name in args.sets:
            kept = name in rows
            if not kept:
                place = args.indexes or Path(temporary)
                row = measure(args.data, name, place, args.bi_encoder, cross_encoder, args.systems, args.limit)
                rows[name] = {**row, "made_with": made_with}
                new = args.out.with_name(f"{args.out.name}.new")
                new.write_text(json.dumps({"sets": list(rows.values())}, indent=1) + "\n")
                new.replace(args.out)
            _show(rows[name], kept)


if __name__ == "__main__":
    main()

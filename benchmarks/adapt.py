"""What ``bicross adapt`` is worth: a judged collection before and after, its judgements only for measuring.

The index is adapted as a user would, once for each learning rate; each time from the bundled cross-encoder. Measured
are the first candidates of the hybrid first stage in the order of the cross-encoder alone, and both stages as a search
joins them, with 95 % intervals and p against before. Writes ``benchmarks/results/adapt.json``.

Run: ``python benchmarks/adapt.py --data DATA --indexes DIR --teacher FOLDER``; ``--sets`` names other collections.
"""

from __future__ import annotations

import argparse
import json
import shutil
import tempfile
from dataclasses import asdict
from pathlib import Path
from typing import Any

from measuring import RESULTS
from quality import Remembering, asked

import bicross
from bicross.evaluation.outcome import SystemOutcome
from bicross.evaluation.significance import p_value
from bicross.opening import open_or_create
from bicross.training.adapting import adapt
from bicross.training.cross_encoder import CrossEncoderTraining

SYSTEMS = ["hybrid", "cross-encoder@50", "adaptive@50"]
MEASURE = "nDCG@10"


def measured(index: Path, data: Path, name: str, cross_encoder: str | None) -> list[SystemOutcome]:
    set_name, split = name.split("/")
    folder = data / "beir" / set_name
    with tempfile.TemporaryDirectory() as temporary:
        evaluation = bicross.evaluate(
            index,
            queries=asked(folder, split, None, Path(temporary)),
            qrels=folder / "qrels" / f"{split}.tsv",
            systems=SYSTEMS,
            measures=[MEASURE],
            cross_encoder=Remembering(cross_encoder),
        )
    return list(evaluation.systems)


def row(outcome: SystemOutcome, before: SystemOutcome | None) -> dict[str, Any]:
    values, mean = outcome.values[MEASURE], outcome.means[MEASURE]
    shown: dict[str, Any] = {"system": outcome.name, "ndcg": round(mean.mean, 4)}
    shown["interval"] = [round(mean.low, 4), round(mean.high, 4)]
    shown["pairs"] = round(float(outcome.cost.pairs.mean()), 1) if outcome.cost else 0.0
    if before is not None:
        shown["p"] = round(p_value(values - before.values[MEASURE], "randomisation"), 4)
    return shown


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--sets", nargs="*", default=["cranfield/test"], help="NAME/SPLIT …")
    parser.add_argument("--indexes", type=Path, required=True, help="where indexes of the collections are kept")
    parser.add_argument("--teacher", nargs="*", default=[], help="models that teach")
    parser.add_argument("--learning-rates", type=float, nargs="*", default=[3e-5])
    parser.add_argument("--queries", type=int, default=1000, help="to make from the documents, at most")
    args = parser.parse_args()
    file = RESULTS / "adapt.json"
    rows = json.loads(file.read_text()) if file.is_file() else []
    for name in args.sets:
        folder = args.indexes / name.split("/")[0]
        with open_or_create(folder) as index:
            index.add(bicross.read_documents([args.data / "beir" / folder.name / "corpus.jsonl.gz"]))
        before = measured(folder, args.data, name, None)
        found: dict[str, Any] = {"set": name, "teachers": [Path(teacher).name for teacher in args.teacher]}
        found |= {"before": [row(outcome, None) for outcome in before], "after": []}
        for learning_rate in args.learning_rates:
            with tempfile.TemporaryDirectory() as temporary:
                copy = Path(temporary) / folder.name
                shutil.copytree(folder, copy)
                settings = CrossEncoderTraining(learning_rate=learning_rate, max_tokens=192)
                with bicross.open(copy) as index:
                    done = adapt(index, args.teacher, queries=args.queries, settings=settings, say=print)
                print(asdict(done.training), flush=True)
                after = measured(copy, args.data, name, done.folder) if done.folder else before
            found["after"].append(
                {
                    "learning_rate": learning_rate,
                    "queries": done.queries,
                    "pairs": done.training.pairs,
                    "held_out": [round(done.training.before, 4), round(done.training.after, 4)],
                    "kept": bool(done.folder),
                    "systems": [row(*both) for both in zip(after, before, strict=True)],
                }
            )
            print(json.dumps(found["after"][-1], indent=1), flush=True)
        rows = [other for other in rows if other["set"] != name] + [found]
        file.write_text(json.dumps(rows, indent=1) + "\n")


if __name__ == "__main__":
    main()

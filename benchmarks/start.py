"""From nothing to the first embedding: a new process imports the library, opens the model and embeds one query.

bicross and sentence-transformers take turns on the same weights. Prints medians and their ratio, and writes
``benchmarks/results/start.json``.

Run: ``make bench``
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

from measuring import alternate

from bicross.encoders import find_model

RESULTS = Path(__file__).parent / "results" / "start.json"
ROUNDS = 5


def main() -> None:
    folder = str(find_model("all-MiniLM-L6-v2"))
    programs = {
        "bicross": f"from bicross import BiEncoder; BiEncoder({folder!r}).encode_query('hello')",
        "sentence-transformers": (
            "from sentence_transformers import SentenceTransformer; "
            f"SentenceTransformer({folder!r}, device='cpu').encode('hello')"
        ),
        "python alone": "pass",
    }

    def start(program: str) -> None:
        environment = {**os.environ, "HF_HUB_OFFLINE": "1"}
        subprocess.run([sys.executable, "-c", program], check=True, capture_output=True, env=environment)

    medians = alternate([lambda program=program: start(program) for program in programs.values()], ROUNDS)
    seconds = {name: round(taken, 2) for name, taken in zip(programs, medians, strict=True)}
    ratio = round(medians[1] / medians[0], 1)
    print(f"{seconds}; sentence-transformers takes {ratio} times as long as bicross")
    RESULTS.write_text(json.dumps({"rounds": ROUNDS, "seconds": seconds, "ratio": ratio}, indent=1) + "\n")


if __name__ == "__main__":
    main()

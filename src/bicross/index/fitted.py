"""What was fitted, in a JSON file in which each stage has a part: ``fitted.json`` in the folder of an index."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

#: In the folder of an index: what was fitted on its own judged queries.
FILE = "fitted.json"


def read_parts(file: Path) -> dict[str, Any]:
    """The parts; none where there is no file.

    Raises:
        OSError: It cannot be read.
        ValueError: It is something else.
    """
    if not file.exists():
        return {}
    stored = json.loads(file.read_text(encoding="utf-8"))
    if not isinstance(stored, dict):
        raise ValueError("not a JSON object")
    return stored


def write_parts(file: Path, parts: Mapping[str, Any]) -> None:
    """Put parts in place of all that is there: whole, and as they are read back, or not at all.

    Raises:
        OSError: It cannot be written; what was there stays.
    """
    temporary = file.with_name(f"{file.name}.new")
    try:
        with temporary.open("w", encoding="utf-8") as stream:
            json.dump(parts, stream, indent=1)
            stream.write("\n")
            stream.flush()
            os.fsync(stream.fileno())
        if read_parts(temporary) != parts:
            raise OSError("what was read back differs")
        temporary.replace(file)
    except OSError:
        temporary.unlink(missing_ok=True)
        raise

"""Put what was fitted into a file beside what is there: whole or not at all."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from bicross.errors import CorpusError, StorageError
from bicross.index.fitted import read_parts, write_parts
from bicross.search.two_stages import KEY, TwoStages, as_json, read_two_stages


def store(file: Path, numbers: TwoStages) -> None:
    """Keep numbers in a file, in place of older ones for the same stages; everything else in it stays.

    Raises:
        CorpusError: The file is damaged; it stays as it is.
        StorageError: It cannot be written.
    """
    others = [
        other
        for other in read_two_stages(file)
        if (other.before_sha256, other.cross_encoder_sha256) != (numbers.before_sha256, numbers.cross_encoder_sha256)
    ]
    update(file, {KEY: [as_json(each) for each in (*others, numbers)]})
    assert numbers in read_two_stages(file), "what is stored is what was fitted"


def update(file: Path, values: Mapping[str, Any]) -> None:
    """Set keys of a JSON object in a file, which may not be there yet.

    Raises:
        CorpusError: There is something else in it.
        StorageError: It cannot be written; it is as it was.
    """
    try:
        write_parts(file, {**read_parts(file), **values})
    except ValueError as error:
        raise CorpusError(f"{file}: damaged ({error}); remove it and fit again") from None
    except OSError as error:
        raise StorageError(f"{file}: cannot be written ({error.strerror or error}); it is as it was") from error

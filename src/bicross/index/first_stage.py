"""How much the words count beside the meaning in a hybrid search: four numbers, fitted on judged queries.

No fixed weight suits all queries: words decide where a name or a number is asked for, meaning where a question is put
in words of its own. What tells them apart is how each side answers: a list whose first entries stand out has found
something, a flat one has not. So the weight of the words is a logistic function of a few such traits of the query, and
the fused score is the convex combination of both scores by it (Bruch, Gai and Ingber, TOIS 2023,
https://doi.org/10.1145/3596512), in which order and distance both count.

The numbers mean something for one bi-encoder only. Those of the default one come with bicross; an index may have its
own, fitted on its own queries, in ``fitted.json`` in its folder::

    {"first_stage": {"bias": -1.1, "spelled": 2.3, "dense_gap": -4.4, "lexical_gap": 1.5}}
"""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from functools import cache
from itertools import islice
from pathlib import Path
from typing import Any

from bicross.errors import CorpusError, StorageError
from bicross.index.fitted import FILE, read_parts, write_parts

_PART = "first_stage"
_SHIPPED = Path(__file__).parent.parent / "models" / "first-stage.json"
_DIGITS = 4


@dataclass(frozen=True)
class Traits:
    """What a query's own answers tell about both sides; each between 0 and 1, whatever the scores' scale.

    Attributes:
        spelled: Share of the query's letters and digits that the bi-encoder reads one by one: nearly all of them in a
            script that it has no words for.
        dense_gap: How far the best similarity lies above the mean of its list, as a share of the best.
        lexical_gap: The same of BM25; chunks without a word of the query count 0.
    """

    spelled: float
    dense_gap: float
    lexical_gap: float


@dataclass(frozen=True)
class FirstStage:
    """The fitted numbers: of each trait a coefficient, and a constant.

    Raises:
        ValueError: A number is not finite.
    """

    bias: float
    spelled: float
    dense_gap: float
    lexical_gap: float

    def __post_init__(self) -> None:
        for name, value in asdict(self).items():
            number = round(float(value), _DIGITS) + 0.0  # no -0.0, which prints differently
            if isinstance(value, bool) or not math.isfinite(number):
                raise ValueError(f"{name} is {value}, not a number")
            object.__setattr__(self, name, number)

    def lexical_weight(self, traits: Traits) -> float:
        """The share of the words in the fused score, between 0 and 1; the rest is the meaning's."""
        logit = self.bias + self.spelled * traits.spelled
        logit += self.dense_gap * traits.dense_gap + self.lexical_gap * traits.lexical_gap
        return 0.5 * (1.0 + math.tanh(0.5 * logit))  # the logistic function; does not overflow

    @property
    def sha256(self) -> str:
        """Hex digest of the numbers, for what depends on them."""
        return hashlib.sha256(json.dumps(asdict(self), sort_keys=True).encode()).hexdigest()


def traits(spelled: float, dense: Mapping[str, float], lexical: Mapping[str, float], depth: int) -> Traits:
    """The traits of a query by what each side found, best first; at most ``depth`` chunks of each are looked at."""
    similarities, scores = (list(islice(side.values(), depth)) for side in (dense, lexical))
    # a list is short where few chunks have a word of the query; both are read as far down
    length = max(len(similarities), len(scores))
    return Traits(spelled, _gap(similarities, len(similarities)), _gap(scores, length))


def _gap(scores: list[float], length: int) -> float:
    best = max(scores, default=0.0)
    return min(max(1 - math.fsum(scores) / length / best, 0.0), 1.0) if best > 0 else 0.0


def find_first_stage(folder: Path, encoder: Mapping[str, Any]) -> FirstStage | None:
    """The numbers for an index: its own, else those that come with bicross for its bi-encoder; None without either.

    Raises:
        CorpusError: The index's own cannot be understood.
    """
    return read_fitted(folder) or shipped(encoder)


def shipped(encoder: Mapping[str, Any]) -> FirstStage | None:
    """The numbers that come with bicross for an encoder, by the hash of its weights."""
    whole = "truncate_dim" not in encoder  # similarities of shortened vectors lie elsewhere
    return _shipped().get(str(encoder.get("weights_sha256"))) if whole else None


@cache
def _shipped() -> dict[str, FirstStage]:
    stored = json.loads(_SHIPPED.read_text(encoding="utf-8"))
    return {weights: FirstStage(**numbers) for weights, numbers in stored.items()}


def read_fitted(folder: Path) -> FirstStage | None:
    """The numbers that were fitted for the index in a folder; None where there are none.

    Raises:
        CorpusError: The file is damaged.
    """
    part = _read(folder / FILE).get(_PART)
    if part is None:
        return None
    try:
        return FirstStage(**part)
    except (TypeError, ValueError) as error:
        raise _damaged(folder / FILE, f"{_PART}: {error}") from None


def write_fitted(folder: Path, numbers: FirstStage | None) -> None:
    """Keep numbers for the index in a folder, or with None no longer; whole or not at all, beside the other parts.

    Raises:
        CorpusError: The file that is there is damaged; it is left alone.
        StorageError: It cannot be written; what was there stays.
    """
    file = folder / FILE
    kept = {name: part for name, part in _read(file).items() if name != _PART}
    kept |= {} if numbers is None else {_PART: asdict(numbers)}
    try:
        write_parts(file, kept)
    except OSError as error:
        raise StorageError(f"{file}: cannot be written ({error.strerror or error})") from error


def _read(file: Path) -> dict[str, Any]:
    try:
        return read_parts(file)
    except (OSError, ValueError) as error:
        raise _damaged(file, str(error)) from None


def _damaged(file: Path, reason: str) -> CorpusError:
    return CorpusError(f"{file}: damaged ({reason}); delete it, fit anew, or search with fusion rrf")

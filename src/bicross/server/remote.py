"""Ask a server that has an index open, where the folder itself is locked. Nothing but the standard library."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from http.client import HTTPException
from pathlib import Path
from typing import Any
from urllib.error import HTTPError, URLError
from urllib.parse import quote
from urllib.request import Request, urlopen

from bicross.errors import BicrossError, UsageError
from bicross.index.first_stage import Traits
from bicross.index.retrieval import Weighing
from bicross.search import Hit, Reading, SearchResult, StageCost
from bicross.search.hit import StageScore
from bicross.server.settings import READ_KEY, WRITE_KEY

#: In the folder of an index that is served: where.
SERVED = "served.json"

#: Seconds that an answer may take.
PATIENCE = 300


def where_served(index: Path) -> str:
    """The URL of the server that has an index open; empty where there is none, or it does not live any more."""
    try:
        note = json.loads((index / SERVED).read_text(encoding="utf-8"))
        os.kill(int(note["pid"]), 0)
        return str(note["url"])
    except (OSError, ValueError, KeyError, TypeError):
        return ""


class RemoteIndex:
    """What a server answers. The key is that of the environment, see ``settings.py``.

    Args:
        url: Of the server.
    """

    def __init__(self, url: str) -> None:
        self.url = url
        self._key = os.environ.get(WRITE_KEY) or os.environ.get(READ_KEY) or ""

    def search(self, query: str, **options: Any) -> SearchResult:
        """As ``Searcher.search``; ``rerank=False`` for the first stage alone.

        Raises:
            UsageError: The server refuses the request, or wants a key.
            BicrossError: It failed, or cannot be reached.
        """
        given = {name: value for name, value in options.items() if value is not None}
        return _result(self._ask("POST", "/search", {"query": query, **given}))

    def get(self, document_id: str) -> Mapping[str, Any]:
        """A document with its chunks.

        Raises:
            UsageError: It is not stored; or as ``search``.
        """
        found: Mapping[str, Any] = self._ask("GET", f"/documents/{quote(document_id, safe='')}")
        return found

    def _ask(self, method: str, path: str, body: Mapping[str, Any] | None = None) -> Any:
        headers = {"Content-Type": "application/json"} if body is not None else {}
        if self._key:
            headers["Authorization"] = f"Bearer {self._key}"
        data = None if body is None else json.dumps(body).encode()
        try:
            with urlopen(Request(self.url + path, data, headers, method=method), timeout=PATIENCE) as response:
                return json.load(response)
        except HTTPError as error:
            raise self._error(error) from None
        except (URLError, HTTPException, OSError, ValueError) as error:
            reason = getattr(error, "reason", error)
            raise BicrossError(f"{self.url}: the server that has the index open does not answer ({reason})") from None

    def _error(self, error: HTTPError) -> BicrossError:
        if error.code == 401:
            return UsageError(f"{self.url}: the server wants a key; set {WRITE_KEY} or {READ_KEY}")
        try:
            message = str(json.load(error)["message"])
        except (ValueError, KeyError, TypeError):
            message = f"status {error.code}"
        return UsageError(message) if error.code < 429 else BicrossError(f"{self.url}: {message}")


def _result(answer: Mapping[str, Any]) -> SearchResult:
    """An answer of ``/search`` as what a searcher gives."""
    hits = []
    for hit in answer["hits"]:
        scores = {stage: StageScore(**score) for stage, score in hit["scores"].items()}
        hits.append(Hit(**{**{k: v for k, v in hit.items() if k != "matches"}, "scores": scores}))
    weighing = answer["weighing"]
    return SearchResult(
        answer["query"],
        hits,
        [StageCost(**stage) for stage in answer["stages"]],
        answer["retrieved"],
        answer["reading"] and Reading(**answer["reading"]),
        answer["weights"],
        weighing and Weighing(**{**weighing, "traits": Traits(**weighing["traits"])}),
    )

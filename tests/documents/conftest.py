"""Read files and see both what came and what failed."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from bicross.documents import Document, Failure, read_documents

Read = Callable[..., tuple[list[Document], list[Failure]]]


@pytest.fixture
def read() -> Read:
    """``read(*paths, **options)`` gives the documents and the failures."""

    def read_all(*paths: str | Path, **options: object) -> tuple[list[Document], list[Failure]]:
        failures: list[Failure] = []
        documents = list(read_documents(paths, failed=failures.append, **options))
        assert all("\n" not in f"{failure.where}{failure.reason}" for failure in failures)
        return documents, failures

    return read_all

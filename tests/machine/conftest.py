"""This machine, really measured, though in a hurry."""

from __future__ import annotations

import pytest

from bicross.encoders.loading import DEFAULT_BI_ENCODER, DEFAULT_CROSS_ENCODER
from bicross.machine import measure
from bicross.planning import MachineProfile


@pytest.fixture(scope="session")
def measured(tmp_path_factory: pytest.TempPathFactory) -> MachineProfile:
    folder = tmp_path_factory.mktemp("measured")
    profile = measure(DEFAULT_BI_ENCODER, DEFAULT_CROSS_ENCODER, folder, quick=True)
    assert not list(folder.iterdir())  # the small index is gone
    return profile

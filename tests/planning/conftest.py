"""A machine with round numbers, so that plans can be worked out by hand."""

from __future__ import annotations

import pytest

from bicross.planning import Curve, MachineProfile, Speeds


@pytest.fixture(scope="session")
def profile() -> MachineProfile:
    speeds = Speeds(
        encode=Curve(((2.0, 0.001), (102.0, 0.011), (202.0, 0.031))),
        query=Curve(((12.0, 0.005),)),
        score=Curve(((13.0, 0.001), (113.0, 0.021), (513.0, 0.101))),
        step=Curve(((13.0, 0.002), (113.0, 0.024), (513.0, 0.112))),
    )
    return MachineProfile(
        machine="a machine",
        cores=2,
        bi_encoder="bi",
        cross_encoder="cross",
        precision="f32",
        speeds={"f32": speeds},
        chunk_tokens=200,
        text_special=2,
        pair_special=3,
        pair_tokens=512,
        dimension=384,
        store=Curve(((0.0, 0.001), (100.0, 0.002))),
        disk=Curve(((0.0, 2000.0), (100.0, 3000.0))),
        empty=250_000,
        retrieve=Curve(((10.0, 0.001), (200.0, 0.0105))),
        indexed=1000,
        dot=1e-9,
        start=1.0,
        memory=500_000_000,
        spread=0.05,
        load=0.0,
    )

"""The arithmetic of clusters."""

from __future__ import annotations

import importlib.util
import json
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bicross.errors import UsageError
from bicross.planning import ClusterPlan, MachineProfile, Nodes, Workload, cluster, plan_cluster
from bicross.planning.cluster import chunk_disk, chunk_memory, query_ms, store_us

BENCHMARKS = Path(__file__).parents[2] / "benchmarks"


def planned(profile: MachineProfile, chunks: int, nodes: Nodes | None = None, latency_s: float = 0.5) -> ClusterPlan:
    work = Workload(chunks, 1, (50.0,), 10.0)
    return plan_cluster(profile, work, nodes or Nodes(), queries_per_day=864_000, latency_s=latency_s, peak=4.0)


def test_it_goes_by_what_was_measured() -> None:
    spec = importlib.util.spec_from_file_location("page", BENCHMARKS / "page.py")
    page = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(page)
    measured = page.cluster_constants(json.loads((BENCHMARKS / "results" / "cluster.json").read_text()))
    for name, value in measured.items():
        used = getattr(cluster, name)
        if isinstance(value, dict):
            used, value = ([values[codes] for codes in sorted(value)] for values in (used, value))
        elif isinstance(value, tuple):
            used, value = ([number for pair in values for number in pair] for values in (used, value))
        assert used == pytest.approx(value, rel=0.01), name


def test_it_comes_true_of_runs_that_were_measured() -> None:
    runs = json.loads((BENCHMARKS / "results" / "cluster.json").read_text())["runs"]
    for row in runs.values():
        share, tokens, nodes = row["chunks"] / row["nodes"], 1.3 * row["words"], row["nodes"]
        on_disk = sum(size for node in row["disk"] for kind, size in node.items() if kind not in ("log", "catalogue"))
        assert on_disk == pytest.approx(row["chunks"] * chunk_disk(tokens, 384, row["quantisation"]), rel=0.1)
        stored = sum(row["store_and_graph"]["cpu"])
        assert stored == pytest.approx(store_us(share, tokens, row["quantisation"]), rel=0.15)
        sent = sum(row["store"]["client_bytes"]) + sum(row["store"]["peer_bytes"])
        planned_bytes = cluster.sent_bytes(tokens, 384) * (1 + cluster.forwarded(nodes, 1))
        assert sent == pytest.approx(planned_bytes, rel=0.1)
        if (row["quantisation"], row["words"]) == ("int8", 60):
            asked = max(row["queries"]["hybrid 50"]["cpu"])
            assert asked == pytest.approx(query_ms(share, 384, "int8") + (nodes - 1) * cluster.FANOUT_MS, rel=0.2)


def test_a_cluster_by_hand(profile: MachineProfile) -> None:
    made = planned(profile, 10**8)
    stored = 2 * 10**8
    assert made.disk == pytest.approx(
        stored * chunk_disk(50, 384, "int8") + 10**8 * cluster.CATALOGUES * cluster.DOCUMENT
    )
    assert made.memory == pytest.approx(stored * chunk_memory(50, 384, "int8"))
    per_node = 0.8 * 64e9 - cluster.EMPTY
    assert made.nodes_for["memory"] - 1 < made.memory / per_node <= made.nodes_for["memory"]
    assert made.nodes == max(made.nodes_for.values()) >= 3
    share = 10**8 / made.nodes
    assert made.query_core_s == pytest.approx(made.nodes * query_ms(share, 384, "int8") / 1e3)
    asks_others = (made.nodes - 1) * cluster.FANOUT_MS / 16
    assert made.waiting_s == pytest.approx((query_ms(share, 384, "int8") + asks_others) / 1e3)
    assert made.first_stage_s == pytest.approx(made.waiting_s + cluster.PROGRAM_MS / 1e3)
    assert made.first_stage_s <= 0.25
    assert made.store_core_s == pytest.approx(stored * store_us(2 * share, 50, "int8") / 1e6)
    assert made.store_s == pytest.approx(made.store_core_s / (16 * made.nodes))
    # chunks of 50 tokens, 52 with the special ones: 6 ms to embed
    assert made.embed_s == pytest.approx(10**8 * (0.006 + cluster.PROGRAM_US / 1e6))
    assert made.embedders - 1 < made.embed_s / 86_400 <= made.embedders


def test_a_rate_and_prices_of_ones_own(profile: MachineProfile) -> None:
    made = planned(profile, 10**6, Nodes(chunks_per_s=5000, node_price=0.9, machine_price=0.4))
    assert made.embed_s == pytest.approx(200)
    assert made.price_once == pytest.approx(made.embed_s / 3600 * 0.4)
    assert made.price_month(2) == pytest.approx(730 * (0.9 * made.nodes + 0.4 * 2))


def test_one_copy_may_lie_on_one_node(profile: MachineProfile) -> None:
    assert planned(profile, 10_000, Nodes(replicas=1)).nodes == 1
    assert planned(profile, 10_000).nodes == 3  # any one can be lost
    assert planned(profile, 10_000, Nodes(replicas=5)).nodes == 5


@given(st.integers(1, 10**11), st.integers(1, 10**11))
def test_more_chunks_never_need_fewer_nodes(profile: MachineProfile, one: int, other: int) -> None:
    few, many = (planned(profile, number, latency_s=1e6) for number in sorted((one, other)))
    assert few.nodes <= many.nodes
    assert all(few.nodes_for[what] <= many.nodes_for[what] for what in ("memory", "disk", "queries"))


@given(st.integers(10**5, 10**10))
def test_coarser_codes_need_no_more_memory(profile: MachineProfile, chunks: int) -> None:
    sizes = [planned(profile, chunks, Nodes(codes=codes)).memory for codes in ("binary", "int8", "none")]
    assert sizes == sorted(sizes)


def test_where_no_number_of_nodes_suffices(profile: MachineProfile) -> None:
    made = planned(profile, 10**9, latency_s=0.001)
    assert made.nodes_for["latency"] == 0
    assert made.nodes >= made.nodes_for["memory"]


@pytest.mark.parametrize(
    ("given", "says"),
    [
        ({"codes": "int4"}, "quantisation 'int4' is not known; choose none, int8 or binary"),
        ({"cores": 0}, "node cores is 0; it must be 1 or more"),
        ({"replicas": 0}, "replicas is 0; it must be 1 or more"),
        ({"memory": 1e6}, "node memory is 1 MB; a node takes"),
        ({"disk": 1e6}, "node disk is 1 MB; the log alone takes"),
        ({"within_s": 0.0}, "within hours is 0; it must be more than 0"),
        ({"chunks_per_s": -1.0}, "chunks per second is -1; it must be more than 0"),
        ({"node_price": -1.0}, "node price is -1; it must be more than 0"),
    ],
)
def test_nodes_that_there_are_not(given: dict, says: str) -> None:
    with pytest.raises(UsageError, match=says):
        replace(Nodes(), **given)

"""The arithmetic of indexes and queries."""

from __future__ import annotations

import json
import math
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bicross.index import shard
from bicross.planning import Curve, MachineProfile, Workload, assumed, plan_index, plan_search, rerank_s
from bicross.planning.growth import CHUNK_US, NO_GRAPH, SEARCH_MS, graph_cost, search_growth
from bicross.planning.search import FEWEST, SearchPlan, Way

GROWTH = Path(__file__).parents[2] / "benchmarks" / "results" / "growth.json"


def ways(plan: SearchPlan) -> dict[str, Way]:
    return {way.use: way for way in plan.ways}


def search(profile: MachineProfile, work: Workload, latency_s: float = 0.15, queries: int = 100_000) -> SearchPlan:
    return plan_search(profile, work, queries_per_day=queries, latency_s=latency_s, candidates=50, peak=4.0)


# -- curves ------------------------------------------------------------------------------------------------------


def test_a_curve_is_straight_between_its_points_and_flat_before_them() -> None:
    curve = Curve(((10.0, 1.0), (20.0, 3.0), (40.0, 4.0)))
    assert [curve.at(x) for x in (0, 10, 15, 20, 30, 40, 60)] == [1, 1, 2, 3, 3.5, 4, 5]
    assert curve.mean([15, 30]) == 2.75
    assert Curve(((10.0, 1.0), (20.0, 0.5))).at(1000) == 0


def test_a_profile_survives_json(profile: MachineProfile) -> None:
    assert MachineProfile.from_dict(json.loads(json.dumps(profile.as_dict()))) == profile


# -- the corpus --------------------------------------------------------------------------------------------------


@given(st.integers(1, 10**15), st.integers(1, 400), st.integers(1, 2000))
def test_chunks_are_in_proportion_to_the_sample_rounded_up(documents: int, sampled: int, chunks: int) -> None:
    count = Workload(documents, sampled, (50.0,) * chunks, 10).chunks
    assert (count - 1) * sampled < documents * chunks <= count * sampled


@given(st.floats(0.1, 1e5), st.integers(8, 512))
def test_assumed_documents_keep_their_tokens_and_the_limit(words: float, most: int) -> None:
    work = assumed(7, words, 10, most)
    assert max(work.chunk_tokens) <= most
    assert sum(work.chunk_tokens) == pytest.approx(max(1, words * 1.3))


# -- indexing ----------------------------------------------------------------------------------------------------


def test_an_index_by_hand(profile: MachineProfile) -> None:
    # two documents of the sample gave three chunks of 50 tokens: 52 with the special ones, 6 ms to embed
    plan = plan_index(profile, Workload(2000, 2, (50.0, 50.0, 50.0), 10, read_s=0.01))
    assert (plan.encodings, plan.tokens) == (3000, 3000 * 52)
    assert plan.read_s == pytest.approx(20)
    assert plan.encode_s == pytest.approx(18)
    assert plan.store_s == pytest.approx(3000 * 0.0015)
    assert plan.graph_s == 0
    assert plan.seconds == pytest.approx(20 + 18 + 4.5 + 1)
    assert plan.disk == 250_000 + 3000 * 2500
    assert plan.memory == 500_000_000 + plan.disk


@given(st.integers(1, 10**9), st.integers(1, 10**9))
def test_more_documents_take_more(profile: MachineProfile, a: int, b: int) -> None:
    few, many = (plan_index(profile, assumed(n, 200, 10, 200)) for n in sorted((a, b)))
    assert few.encodings <= many.encodings
    assert few.seconds <= many.seconds
    assert few.disk <= many.disk
    assert few.memory <= many.memory


@given(st.integers(1, 10**9), st.integers(1, 10**9))
def test_graphs_and_searches_grow_with_the_index(a: int, b: int) -> None:
    few, many = sorted((a, b))
    assert graph_cost(few) <= graph_cost(many)
    assert search_growth(few, 2000) <= search_growth(many, 2000)


def test_growth_is_what_was_measured() -> None:
    rows = {row["documents"]: row for row in json.loads(GROWTH.read_text())["rows"]}
    assert dict(SEARCH_MS) == {size: row["hybrid_ms"] for size, row in rows.items()}
    assert dict(CHUNK_US) == {size: row["cpu_us_per_document"] for size, row in rows.items()}
    assert shard.EXACT_UP_TO == NO_GRAPH
    assert graph_cost(NO_GRAPH) == 0 < graph_cost(NO_GRAPH + 1)
    # the table of growth, added up: 90,000 chunks, then 900,000
    assert graph_cost(100_000) == pytest.approx((610 / 266 - 1) * 90_000)
    assert graph_cost(1_000_000) == pytest.approx((610 / 266 - 1) * 90_000 + (822 / 266 - 1) * 900_000)
    assert search_growth(1_000_000, 1000) == pytest.approx(6.73 / 0.83)


# -- queries -----------------------------------------------------------------------------------------------------


def test_pairs_of_a_query_by_hand() -> None:
    # batches of 4 (1024 // 250) on 2 cores; a core takes 20 ms for a pair, both together 10
    seconds = [rerank_s(0.01, 250, pairs, 1024, 2) for pairs in (0, 1, 4, 5, 8, 9, 12, 13, 16)]
    assert seconds == pytest.approx([0.02 * busiest for busiest in (0, 1, 4, 4, 4, 5, 8, 8, 8)])


@given(st.floats(1, 2000), st.integers(0, 10**6), st.integers(1, 64))
def test_reranking_takes_at_least_its_share_of_the_cores(tokens: float, pairs: int, cores: int) -> None:
    taken, more = (rerank_s(0.01, tokens, n, 1024, cores) for n in (pairs, pairs + 1))
    batch = max(1, int(1024 // tokens))
    assert 0.01 * pairs * (1 - 1e-9) <= taken <= more + 1e-9
    assert taken <= 0.01 * (pairs + batch * cores) + 1e-9


def test_a_query_by_hand(profile: MachineProfile) -> None:
    # 1,000 chunks of 100 tokens; a pair has 113: 21 ms, nine to a batch; 50 pairs are 5 batches and 5 pairs
    plan = search(profile, Workload(1000, 1, (100.0,), 10), latency_s=2.0)
    assert plan.embed_s == 0.005
    assert plan.retrieve_s == pytest.approx(0.001)
    assert plan.pair_s == pytest.approx(0.021)
    both = ways(plan)["both"]
    assert both.pairs == 50
    assert both.latency_s == pytest.approx(0.005 + 0.003 + 0.042 * 27)
    assert both.pairs_per_day == 5_000_000
    assert both.machines == math.ceil(100_000 * 4 * both.latency_s / 86_400) == 6
    assert ways(plan)["cross-encoder"].latency_s == pytest.approx(0.042 * (9 * 55 + 9))
    assert plan.memory == 500_000_000 + 1000 * 2000
    assert plan.use == "both"


@given(st.integers(1, 10**8), st.floats(1e-4, 30.0), st.integers(1, 2000))
def test_the_candidates_fit_and_one_more_would_not(
    profile: MachineProfile, documents: int, latency_s: float, words: int
) -> None:
    work = assumed(documents, words, 10, profile.chunk_tokens)
    most = search(profile, work, latency_s).most_candidates

    def taken(candidates: int) -> float:
        free = plan_search(
            profile, work, queries_per_day=1, latency_s=math.inf, candidates=candidates, peak=1.0
        )  # nothing is cut
        both = ways(free)["both"]
        assert both.pairs == min(candidates, work.chunks)
        return both.latency_s

    if most:
        assert taken(most) <= latency_s
    if most < min(work.chunks, 1_000_000):
        assert taken(most + 1) > latency_s


@given(st.integers(1, 10**8), st.floats(1e-4, 100.0), st.integers(1, 10**9))
def test_what_is_advised_fits(profile: MachineProfile, documents: int, latency_s: float, queries: int) -> None:
    work = assumed(documents, 100, 10, profile.chunk_tokens)
    plan = search(profile, work, latency_s, queries)
    by_name = ways(plan)
    if plan.use == "neither":
        assert not by_name["bi-encoder"].fits
        assert not by_name["cross-encoder"].fits
    else:
        assert by_name[plan.use].fits
    if plan.use == "bi-encoder":
        assert plan.most_candidates < min(FEWEST, work.chunks)
    if plan.use == "cross-encoder":
        assert by_name["cross-encoder"].pairs == work.chunks


@pytest.mark.parametrize(
    ("documents", "latency_s", "use"),
    [(8, 2.0, "cross-encoder"), (10**6, 2.0, "both"), (10**6, 0.05, "bi-encoder"), (10**6, 0.004, "neither")],
)
def test_each_advice(profile: MachineProfile, documents: int, latency_s: float, use: str) -> None:
    plan = search(profile, assumed(documents, 75, 10, 200), latency_s)
    assert plan.use == use
    assert len(plan.why) > 40

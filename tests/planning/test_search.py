"""The arithmetic of indexes and queries."""

from __future__ import annotations

import json
import math
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bicross.documents import Chunk
from bicross.index import Candidate, shard
from bicross.planning import Curve, MachineProfile, Workload, assumed, plan_index, plan_search, rerank_s
from bicross.planning.growth import CHUNK_US, NO_GRAPH, SEARCH_MS, graph_cost, search_growth
from bicross.planning.reading import FIRST, PAIRS_READ, STEP, pairs_read
from bicross.planning.search import FEWEST, SearchPlan, Way
from bicross.search import stopping
from bicross.search.reranking import first_batch

SECOND_STAGE = Path(__file__).parents[2] / "benchmarks" / "results" / "second-stage.json"
GROWTH = Path(__file__).parents[2] / "benchmarks" / "results" / "growth.json"


def one_chunk_each(count: int) -> list[Candidate]:
    chunks = [Chunk(f"{n}", f"d{n}", "text", 0, 4) for n in range(count)]
    return [Candidate(chunk, 1.0, False, {}) for chunk in chunks]


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
    # a core takes 20 ms for a pair, both together 10
    seconds = [rerank_s(0.01, pairs, 2) for pairs in (0, 1, 2, 3, 8, 13)]
    assert seconds == pytest.approx([0.02 * busiest for busiest in (0, 1, 1, 2, 4, 7)])


@given(st.integers(0, 10**6), st.integers(1, 64))
def test_reranking_takes_its_share_of_the_cores(pairs: int, cores: int) -> None:
    taken, more = (rerank_s(0.01, n, cores) for n in (pairs, pairs + 1))
    assert 0.01 * pairs * (1 - 1e-9) <= taken <= more + 1e-9
    assert taken <= 0.01 * (pairs + cores) + 1e-9


def test_what_is_read_is_what_was_measured() -> None:
    read = json.loads(SECOND_STAGE.read_text())["read"]
    assert dict(PAIRS_READ) == {int(depth): pairs for depth, pairs in read.items()}
    assert (first_batch(one_chunk_each(100), 10), stopping.STEP) == (FIRST, STEP)


@given(st.integers(0, 10**6), st.integers(0, 10**6))
def test_of_more_candidates_no_fewer_are_read(a: int, b: int) -> None:
    few, many = sorted((a, b))
    assert 0 <= pairs_read(few) <= pairs_read(many)
    assert pairs_read(few) <= few


def test_a_query_by_hand(profile: MachineProfile) -> None:
    # 1,000 chunks of 100 tokens; a pair has 113: 21 ms, 42 on one core; each core reads 25 of 50
    plan = search(profile, Workload(1000, 1, (100.0,), 10), latency_s=2.0)
    assert plan.embed_s == 0.005
    assert plan.retrieve_s == pytest.approx(0.001)
    assert plan.pair_s == pytest.approx(0.021)
    both = ways(plan)["both"]
    assert both.pairs == 50
    assert both.latency_s == pytest.approx(0.005 + 0.003 + 0.042 * 25)
    assert both.pairs_per_day == 5_000_000
    assert both.machines == math.ceil(100_000 * 4 * both.latency_s / 86_400) == 5
    assert (both.pairs_read, both.mean_s) == (50, both.latency_s)
    assert ways(plan)["cross-encoder"].latency_s == pytest.approx(0.042 * 500)
    assert plan.memory == 500_000_000 + 1000 * 2000
    assert plan.use == "both"


def test_a_query_that_settles_by_hand(profile: MachineProfile) -> None:
    work = Workload(1000, 1, (100.0,), 10)
    plan = plan_search(profile, work, queries_per_day=100_000, latency_s=2.0, candidates=50, peak=4.0, settles=True)
    both, every = ways(plan)["both"], ways(search(profile, work, latency_s=2.0))["both"]
    read = dict(PAIRS_READ)[50]
    assert (both.pairs, both.pairs_read) == (50, read)
    # 24 ms a pair in steps; the first stage takes 1 ms where it brings 10 chunks, 10.5 ms for 200
    assert both.latency_s == pytest.approx(0.005 + 0.003 + 50 * 0.024)
    assert both.latency_s > every.latency_s, "a step leaves the cores less to share"
    assert both.mean_s == pytest.approx(0.005 + 0.001 + 0.0095 * (math.ceil(read) - 10) / 190 + read * 0.024)
    assert both.pairs_per_day == math.ceil(100_000 * read)
    assert both.machines == math.ceil(100_000 * 4 * both.mean_s / 86_400) < every.machines
    alone = ways(plan)["cross-encoder"]  # it has no order to settle in
    assert (alone.pairs_read, alone.mean_s) == (1000, alone.latency_s)


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

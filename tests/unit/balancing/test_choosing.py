"""Choosing an endpoint on shared counts; several rows of one segment play several workers."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from typing import Literal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shardproxy.balancing.cluster import Cluster, EndpointSpec
from shardproxy.shm.gauges import Gauges
from shardproxy.shm.layout import Capacities
from shardproxy.shm.rows import Kind, Rows
from shardproxy.shm.segment import Segment

WORKERS = 3
REQUESTS_GAUGE = 9


@pytest.fixture
def segment() -> Iterator[Segment]:
    segment = Segment.create(Capacities(rows=16, gauges=16, counters=16, histograms=1, buckets=1))
    rows = Rows(segment)
    for row in range(1, WORKERS + 1):
        rows.claim(row, 1000 + row, 1, Kind.WORKER)
    yield segment
    segment.close()


def cluster(
    segment: Segment,
    weights: list[int],
    *,
    row: int = 1,
    policy: Literal["least_connection", "round_robin", "random"] = "least_connection",
    caps: list[int | None] | None = None,
    requests_cap: int | None = None,
    seed: int = 7,
) -> Cluster:
    specs = [
        EndpointSpec(slot, weight, cap)
        for slot, (weight, cap) in enumerate(zip(weights, caps or [None] * len(weights), strict=True))
    ]
    return Cluster(
        Gauges(segment, row), specs, policy=policy, requests=REQUESTS_GAUGE, requests_cap=requests_cap, seed=seed
    )


def actives(segment: Segment, count: int) -> list[int]:
    gauges = Gauges(segment, 1)
    return [gauges.total(slot) for slot in range(count)]


def test_each_request_goes_where_the_fewest_are_over_all_workers(segment: Segment) -> None:
    workers = [cluster(segment, [1, 1, 1, 1], row=row, seed=row) for row in (1, 2, 3)]
    for number in range(40):
        workers[number % WORKERS].take()
    assert actives(segment, 4) == [10, 10, 10, 10]


def test_weights_are_shares_of_what_is_under_way(segment: Segment) -> None:
    one = cluster(segment, [1, 2, 5])
    for _ in range(80):
        one.take()
    assert actives(segment, 3) == [10, 20, 50]


def test_among_equals_each_is_as_likely_so_that_workers_do_not_herd(segment: Segment) -> None:
    one = cluster(segment, [1] * 4)
    seen: Counter[int] = Counter()
    for _ in range(4000):
        index = one.take()
        seen[index] += 1
        one.give(index)
    assert all(850 < seen[index] < 1150 for index in range(4))


def test_a_full_endpoint_is_left_out_and_all_full_is_minus_one(segment: Segment) -> None:
    one = cluster(segment, [1, 1], caps=[2, 1])
    other = cluster(segment, [1, 1], caps=[2, 1], row=2)
    assert Counter([one.take(), other.take(), one.take()]) == {0: 2, 1: 1}
    assert (one.take(), other.take()) == (-1, -1)
    one.give(1)
    assert other.take() == 1


def test_the_cap_of_the_cluster_holds_over_all_workers_and_a_refusal_costs_nothing(segment: Segment) -> None:
    workers = [cluster(segment, [1, 1], row=row, requests_cap=3) for row in (1, 2, 3)]
    taken = [worker.take() for worker in workers]
    assert -1 not in taken
    assert workers[0].take() == -1
    assert sum(actives(segment, 2)) == Gauges(segment, 1).total(REQUESTS_GAUGE) == 3
    workers[1].give(taken[1])
    assert workers[2].take() != -1


def test_smooth_round_robin_spreads_the_heavy_one_over_the_round(segment: Segment) -> None:
    one = cluster(segment, [5, 1, 1], policy="round_robin")
    assert [one.take() for _ in range(7)] == [0, 0, 1, 0, 2, 0, 0]  # nginx's own example


def test_random_is_in_proportion_to_the_weights(segment: Segment) -> None:
    one = cluster(segment, [1, 3], policy="random")
    seen = Counter(one.take() for _ in range(4000))
    assert 850 < seen[0] < 1150


@given(st.lists(st.tuples(st.integers(0, WORKERS - 1), st.booleans()), max_size=60))
def test_what_is_counted_is_what_is_outstanding_and_never_above_a_cap(steps: list[tuple[int, bool]]) -> None:
    segment = Segment.create(Capacities(rows=16, gauges=16, counters=16, histograms=1, buckets=1))
    rows = Rows(segment)
    for row in range(1, WORKERS + 1):
        rows.claim(row, 1000 + row, 1, Kind.WORKER)
    workers = [cluster(segment, [1, 2], row=row + 1, caps=[3, None], requests_cap=7) for row in range(WORKERS)]
    held: list[tuple[Cluster, int]] = []
    for worker, is_take in steps:
        if is_take and (index := workers[worker].take()) >= 0:
            held.append((workers[worker], index))
        elif not is_take and held:
            owner, index = held.pop()
            owner.give(index)
        counts = Counter(index for _, index in held)
        assert actives(segment, 2) == [counts[0], counts[1]]
        assert counts[0] <= 3 and len(held) <= 7
    segment.close()


@pytest.mark.parametrize("policy", ["least_connection", "round_robin", "random"])
def test_an_endpoint_that_was_tried_is_taken_again_only_when_no_other_can_be(
    segment: Segment, policy: Literal["least_connection", "round_robin", "random"]
) -> None:
    chosen = cluster(segment, [100, 1, 1], policy=policy, caps=[None, 1, 1], requests_cap=4)
    assert {chosen.take(0b001), chosen.take(0b001)} == {1, 2}
    assert [chosen.take(0b001), chosen.take(0b111)] == [0, 0]
    assert chosen.take(0b001) == -1
    assert Gauges(segment, 1).total(REQUESTS_GAUGE) == 4

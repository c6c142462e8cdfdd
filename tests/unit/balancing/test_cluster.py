"""What a cluster does when there is little to choose from; test_choosing.py has the rules of choosing themselves."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from typing import Literal, TypeAlias

import pytest

from shardproxy.balancing.cluster import Cluster, EndpointSpec
from shardproxy.shm.gauges import Gauges
from shardproxy.shm.layout import Capacities
from shardproxy.shm.segment import Segment

Policy: TypeAlias = Literal["least_connection", "round_robin", "random", "first", "peak_ewma", "ring_hash", "maglev"]

ROWS = 16
ALL = 100  # the gauge of the whole cluster
POLICIES: tuple[Policy, ...] = (
    "least_connection", "round_robin", "random", "first", "peak_ewma", "ring_hash", "maglev"
)  # fmt: skip
every_policy = pytest.mark.parametrize("policy", POLICIES)


@pytest.fixture
def segment() -> Iterator[Segment]:
    made = Segment.create(Capacities(rows=ROWS, gauges=128, counters=16, histograms=1, buckets=1))
    made.rows_used = ROWS
    yield made
    made.close()


def worker(
    segment: Segment,
    endpoints: list[tuple[int, int | None]],
    *,
    row: int = 1,
    policy: Policy = "least_connection",
    requests_cap: int | None = None,
    seed: int = 3,
) -> Cluster:
    """A cluster as the worker of a row sees it; `endpoints` are weights and caps."""
    specs = [EndpointSpec(slot, weight, cap) for slot, (weight, cap) in enumerate(endpoints)]
    return Cluster(Gauges(segment, row), specs, policy=policy, requests=ALL, requests_cap=requests_cap, seed=seed)


@every_policy
def test_a_cluster_without_endpoints_is_full(segment: Segment, policy: Policy) -> None:
    assert worker(segment, [], policy=policy).take() == -1


@every_policy
def test_an_only_endpoint_takes_all(segment: Segment, policy: Policy) -> None:
    one = worker(segment, [(1, None)], policy=policy)
    assert {one.take() for _ in range(20)} == {0}
    assert Gauges(segment, 2).total(0) == 20


@every_policy
def test_no_policy_goes_above_the_cap_of_an_endpoint(segment: Segment, policy: Policy) -> None:
    workers = [worker(segment, [(9, 3), (1, 4), (1, 5)], row=row, policy=policy) for row in range(1, 5)]
    taken = Counter(workers[number % 4].take() for number in range(20))
    assert taken == {0: 3, 1: 4, 2: 5, -1: 8}


@every_policy
def test_the_refusals_of_full_endpoints_leave_the_clusters_own_places_free(segment: Segment, policy: Policy) -> None:
    one = worker(segment, [(1, 1), (1, 1)], policy=policy, requests_cap=5)
    assert sorted(one.take() for _ in range(10)) == [-1] * 8 + [0, 1]
    assert Gauges(segment, 1).total(ALL) == 2


def test_without_a_cap_the_cluster_keeps_no_count_of_its_own(segment: Segment) -> None:
    one = worker(segment, [(1, None)])
    one.give(one.take())
    one.take()
    assert (Gauges(segment, 1).total(0), Gauges(segment, 1).total(ALL)) == (1, 0)


@every_policy
@pytest.mark.parametrize("free", [0, 63, 64, 65, 99])
def test_the_only_free_one_of_a_hundred_endpoints_is_found(segment: Segment, policy: Policy, free: int) -> None:
    """By looking at all; what follows a lost race for a place needs a second process, and is not tested here."""
    one = worker(segment, [(1, 1)] * 100, policy=policy)
    gauges = Gauges(segment, 2)
    for slot in range(100):
        gauges.add(slot, slot != free)
    assert (one.take(), one.take()) == (free, -1)


def test_a_lighter_endpoint_waits_until_the_heavy_one_has_its_share(segment: Segment) -> None:
    """(0 + 1) / 1 is not below (active + 1) / 3 before the heavy one has three; a tie is anybody's."""
    one = worker(segment, [(1, None), (3, None)])
    assert [one.take(), one.take()] == [1, 1]


def test_requests_of_other_workers_count_as_much_as_the_own(segment: Segment) -> None:
    Gauges(segment, 9).add(0, 5)
    one = worker(segment, [(1, None), (1, None)])
    assert [one.take() for _ in range(5)] == [1] * 5


def test_what_a_dead_worker_held_is_free_once_its_row_is_cleared(segment: Segment) -> None:
    dead, alive = worker(segment, [(1, 2)], row=4), worker(segment, [(1, 2)], row=5)
    assert [dead.take(), dead.take(), alive.take()] == [0, 0, -1]
    Gauges(segment, 0).clear_row(4)
    assert [alive.take(), alive.take(), alive.take()] == [0, 0, -1]


def test_workers_that_start_with_different_seeds_break_ties_differently(segment: Segment) -> None:
    firsts: Counter[int] = Counter()
    for seed in range(1, 401):
        one = worker(segment, [(1, None)] * 4, seed=seed * 0x9E3779B97F4A7C15 % 2**64)
        index = one.take()
        one.give(index)
        firsts[index] += 1
    assert all(60 <= firsts[index] <= 140 for index in range(4))


def test_round_robin_goes_in_turn_past_a_full_endpoint_and_takes_it_up_again(segment: Segment) -> None:
    one = worker(segment, [(1, None), (1, 1), (1, None)], policy="round_robin")
    assert [one.take() for _ in range(3)] == [0, 1, 2]
    assert sorted(one.take() for _ in range(4)) == [0, 0, 2, 2]
    one.give(1)
    assert Counter(one.take() for _ in range(3))[1] == 1


def test_random_shares_what_a_full_endpoint_leaves_in_proportion(segment: Segment) -> None:
    one = worker(segment, [(10, 1), (1, None), (3, None)], policy="random")
    Gauges(segment, 2).add(0, 1)
    seen = Counter(one.take() for _ in range(4000))
    assert seen[0] == 0
    assert 850 < seen[1] < 1150


@pytest.mark.parametrize("index", [-1, 2, 2**31 - 1])
def test_an_endpoint_that_is_not_there_cannot_be_given_back(segment: Segment, index: int) -> None:
    with pytest.raises(IndexError, match=f"there is no endpoint {index}"):
        worker(segment, [(1, None), (1, None)]).give(index)


def test_count_is_the_number_of_endpoints(segment: Segment) -> None:
    assert worker(segment, [(1, None)] * 7).count == 7

"""The limits of a route under odd numbers of limits, of tokens and of workers; see also test_several_limits.py."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import permutations
from typing import cast

import pytest

from shardproxy.limits.rates import RateLimit, RateLimits
from shardproxy.shm.buckets import Bucket, Buckets
from shardproxy.shm.layout import Capacities
from shardproxy.shm.metrics import Metrics
from shardproxy.shm.segment import Segment

NOW_NS = 10**12
SECOND_NS = 10**9


@pytest.fixture
def segment() -> Iterator[Segment]:
    made = Segment.create(Capacities(rows=16, gauges=1, counters=16, histograms=1, buckets=8))
    made.rows_used = 16
    yield made
    made.close()


def limit(segment: Segment, slot: int, rate_per_s: float, burst: int) -> RateLimit:
    """Counts in the counters 2 * slot (admitted) and 2 * slot + 1 (refused)."""
    return RateLimit(Bucket(Buckets(segment), slot, rate_per_s, burst), 2 * slot, 2 * slot + 1)


def tokens(limits: list[RateLimit], now_ns: int = NOW_NS) -> list[float]:
    return [limit.bucket.tokens(now_ns) for limit in limits]


def counts(metrics: Metrics, limits: int) -> list[tuple[int, int]]:
    return [(metrics.counter_total(2 * slot), metrics.counter_total(2 * slot + 1)) for slot in range(limits)]


def test_no_limits_admit_everything(segment: Segment) -> None:
    none = RateLimits([], Metrics(segment, 1))
    assert [none.take(now_ns) for now_ns in (0, NOW_NS, 2**62)] == [0, 0, 0]


@pytest.mark.parametrize("order", list(permutations(range(3))), ids=str)
def test_wherever_the_empty_one_stands_the_others_keep_their_tokens(segment: Segment, order: tuple[int, ...]) -> None:
    limits = [limit(segment, 0, 5, 3), limit(segment, 1, 7, 4), limit(segment, 2, 1, 1)]
    route, metrics = RateLimits([limits[at] for at in order], Metrics(segment, 1)), Metrics(segment, 2)
    assert route.take(NOW_NS) == 0
    assert [route.take(NOW_NS) > 0 for _ in range(20)] == [True] * 20
    assert tokens(limits) == [2, 3, 0]
    assert counts(metrics, 3) == [(1, 0), (1, 0), (1, 20)]


def test_the_wait_is_that_of_the_first_limit_that_refuses(segment: Segment) -> None:
    slow, quick = limit(segment, 0, 0.5, 1), limit(segment, 1, 10, 1)
    route = RateLimits([quick, slow], Metrics(segment, 1))
    assert route.take(NOW_NS) == 0
    assert route.take(NOW_NS) == SECOND_NS // 10
    assert route.take(NOW_NS + SECOND_NS // 10) == 2 * SECOND_NS - SECOND_NS // 10


def test_after_the_wait_it_is_admitted_and_not_a_nanosecond_before(segment: Segment) -> None:
    route = RateLimits([limit(segment, 0, 3, 1)], Metrics(segment, 1))
    assert route.take(NOW_NS) == 0
    wait_ns = route.take(NOW_NS)
    assert route.take(NOW_NS + wait_ns - 1) == 1
    assert route.take(NOW_NS + wait_ns) == 0


def test_a_limit_named_by_two_routes_is_one_limit(segment: Segment) -> None:
    shared = limit(segment, 0, 1, 3)
    routes = [RateLimits([shared, limit(segment, slot, 100, 50)], Metrics(segment, 1)) for slot in (1, 2)]
    assert [routes[number % 2].take(NOW_NS) == 0 for number in range(4)] == [True, True, True, False]
    assert counts(Metrics(segment, 2), 3) == [(3, 1), (2, 0), (1, 0)]


def test_a_limit_that_a_route_names_twice_costs_two_tokens(segment: Segment) -> None:
    twice = limit(segment, 0, 1, 3)
    route = RateLimits([twice, twice], Metrics(segment, 1))
    assert route.take(NOW_NS) == 0
    assert route.take(NOW_NS) > 0
    assert tokens([twice]) == [1]


def test_counters_of_several_workers_add_up(segment: Segment) -> None:
    workers = [RateLimits([limit(segment, 0, 1, 6)], Metrics(segment, row)) for row in (1, 2, 3)]
    for worker in workers * 4:
        worker.take(NOW_NS)
    metrics = Metrics(segment, 4)
    assert counts(metrics, 1) == [(6, 6)]
    assert sum(metrics.counter_row(0, row) + metrics.counter_row(1, row) for row in (1, 2, 3)) == 12


def test_over_a_minute_of_demand_no_more_is_admitted_than_rate_and_burst_allow(segment: Segment) -> None:
    wide, narrow = limit(segment, 0, 40, 10), limit(segment, 1, 20, 5)
    route = RateLimits([wide, narrow], Metrics(segment, 1))
    admitted = sum(route.take(NOW_NS + step * SECOND_NS // 100) == 0 for step in range(6001))
    assert 0.99 * (20 * 60 + 5) <= admitted <= 20 * 60 + 5
    assert tokens([wide], NOW_NS + 60 * SECOND_NS)[0] >= 9


def test_what_is_not_a_rate_limit_is_refused_at_once(segment: Segment) -> None:
    with pytest.raises(TypeError, match="a route's limits must be RateLimit objects"):
        RateLimits([cast("RateLimit", object())], Metrics(segment, 1))

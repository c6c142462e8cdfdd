"""A route with several rate limits: all must admit, and none is charged when another refuses."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from shardproxy.limits.rates import RateLimit, RateLimits
from shardproxy.shm.buckets import Bucket, Buckets
from shardproxy.shm.layout import Capacities
from shardproxy.shm.metrics import Metrics
from shardproxy.shm.rows import Kind, Rows
from shardproxy.shm.segment import Segment

NOW_NS = 10**12
SECOND_NS = 10**9


@pytest.fixture
def segment() -> Iterator[Segment]:
    segment = Segment.create(Capacities(rows=16, gauges=16, counters=16, histograms=1, buckets=8))
    for row in (1, 2):
        Rows(segment).claim(row, 1000 + row, 1, Kind.WORKER)
    yield segment
    segment.close()


def limit(segment: Segment, slot: int, rate_per_s: float, burst: int) -> RateLimit:
    return RateLimit(Bucket(Buckets(segment), slot, rate_per_s, burst), 2 * slot, 2 * slot + 1)


def test_all_must_admit_and_each_is_charged(segment: Segment) -> None:
    wide, narrow = limit(segment, 0, 100, 10), limit(segment, 1, 1, 2)
    both = RateLimits([wide, narrow], Metrics(segment, 1))
    assert [both.take(NOW_NS) for _ in range(2)] == [0, 0]
    assert (wide.bucket.tokens(NOW_NS), narrow.bucket.tokens(NOW_NS)) == (8, 0)


@pytest.mark.parametrize("narrow_first", [True, False])
def test_a_refusal_charges_nobody_and_says_how_long_to_wait(segment: Segment, narrow_first: bool) -> None:
    wide, narrow = limit(segment, 0, 100, 10), limit(segment, 1, 1, 1)
    both = RateLimits([narrow, wide] if narrow_first else [wide, narrow], Metrics(segment, 1))
    assert both.take(NOW_NS) == 0
    for _ in range(50):
        assert both.take(NOW_NS) == pytest.approx(SECOND_NS, abs=100)
    assert wide.bucket.tokens(NOW_NS) == 9
    assert both.take(NOW_NS + SECOND_NS) == 0


def test_admitted_and_refused_are_counted_where_it_was_decided(segment: Segment) -> None:
    metrics = Metrics(segment, 1)
    wide, narrow = limit(segment, 0, 100, 10), limit(segment, 1, 1, 1)
    both = RateLimits([wide, narrow], metrics)
    for _ in range(3):
        both.take(NOW_NS)
    assert [metrics.counter_total(slot) for slot in range(4)] == [1, 0, 1, 2]


def test_two_workers_share_one_bucket(segment: Segment) -> None:
    workers = [RateLimits([limit(segment, 0, 10, 5)], Metrics(segment, row)) for row in (1, 2)]
    admitted = sum(worker.take(NOW_NS) == 0 for worker in workers * 5)
    assert admitted == 5

"""A limit that several machines share, as one worker sees it: tokens that are leased, and what holds without them."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Literal

import pytest

from shardproxy.limits.leases import Lease
from shardproxy.limits.rates import RateLimit, RateLimits
from shardproxy.shm.buckets import Bucket, Buckets
from shardproxy.shm.layout import Capacities
from shardproxy.shm.metrics import Metrics
from shardproxy.shm.segment import Segment
from shardproxy.shm.words import Words

NOW_NS = 10**12
LATER_NS = NOW_NS + 10**9  # when the lease is over
RETRY_NS = 50_000_000
LEFT, UNTIL = 0, 1  # words
ADMITTED, REFUSED, ASKED, OTHER = range(4)  # counters
OnFailure = Literal["local", "open", "closed"]


@pytest.fixture
def segment() -> Iterator[Segment]:
    made = Segment.create(Capacities(rows=16, gauges=1, counters=16, histograms=1, buckets=8, words=4))
    made.rows_used = 16
    Words(made).store(UNTIL, LATER_NS)
    yield made
    made.close()


def limit(segment: Segment, on_failure: OnFailure = "local", *, cost: int = 1, bytes_per_token: int = 0) -> RateLimit:
    bucket = Bucket(Buckets(segment), 0, 10, 3)
    lease = Lease(Words(segment), LEFT, UNTIL, ASKED, on_failure, RETRY_NS)
    return RateLimit(bucket, ADMITTED, REFUSED, cost=cost, bytes_per_token=bytes_per_token, lease=lease)


def test_as_many_are_admitted_as_tokens_are_leased(segment: Segment) -> None:
    words, route = Words(segment), RateLimits([limit(segment)], Metrics(segment, 1))
    words.store(LEFT, 3)
    assert [route.take(NOW_NS) for _ in range(5)] == [0, 0, 0, RETRY_NS, RETRY_NS]
    assert words.load(LEFT) == 0
    words.add(LEFT, 1)
    assert [route.take(NOW_NS) for _ in range(2)] == [0, RETRY_NS]


def test_what_is_refused_counts_as_demand_and_workers_add_up(segment: Segment) -> None:
    workers = [RateLimits([limit(segment, cost=5)], Metrics(segment, row)) for row in (1, 2)]
    Words(segment).store(LEFT, 12)
    assert [worker.take(NOW_NS) > 0 for worker in workers * 2] == [False, False, True, True]
    metrics = Metrics(segment, 3)
    assert [metrics.counter_total(slot) for slot in (ADMITTED, REFUSED, ASKED)] == [2, 2, 20]
    assert Words(segment).load(LEFT) == 2


def test_another_limit_that_refuses_gives_the_leased_tokens_back(segment: Segment) -> None:
    other = RateLimit(Bucket(Buckets(segment), 1, 1, 1), OTHER, OTHER)
    route = RateLimits([limit(segment), other], Metrics(segment, 1))
    Words(segment).store(LEFT, 5)
    assert [route.take(NOW_NS) > 0 for _ in range(4)] == [False, True, True, True]
    assert Words(segment).load(LEFT) == 4


@pytest.mark.parametrize(
    ("on_failure", "admitted"), [("local", [True] * 3 + [False]), ("open", [True] * 4), ("closed", [False] * 4)]
)
def test_when_the_lease_is_over_the_configuration_says_what_holds(
    segment: Segment, on_failure: OnFailure, admitted: list[bool]
) -> None:
    route = RateLimits([limit(segment, on_failure)], Metrics(segment, 1))
    Words(segment).store(LEFT, 100)
    assert route.take(LATER_NS - 1) == 0
    assert [route.take(LATER_NS) == 0 for _ in range(4)] == admitted
    assert Words(segment).load(LEFT) == 99


def test_a_local_bucket_gets_its_tokens_back_too(segment: Segment) -> None:
    other = RateLimit(Bucket(Buckets(segment), 1, 1, 1), OTHER, OTHER)
    shared = limit(segment)
    route = RateLimits([shared, other], Metrics(segment, 1))
    assert [route.take(LATER_NS) > 0 for _ in range(4)] == [False, True, True, True]
    assert shared.bucket.tokens(LATER_NS) == 2


def test_what_a_response_costs_is_owed_when_it_is_not_there(segment: Segment) -> None:
    route = RateLimits([limit(segment, bytes_per_token=100)], Metrics(segment, 1))
    Words(segment).store(LEFT, 2)
    assert route.take(NOW_NS) == 0
    route.charge(NOW_NS, 500)
    assert Words(segment).load(LEFT) == -4
    assert route.take(NOW_NS) == RETRY_NS
    route.charge(LATER_NS, 500)
    assert Words(segment).load(LEFT) == -4


def test_a_limit_that_is_dry_refuses_nothing(segment: Segment) -> None:
    bucket, lease = Bucket(Buckets(segment), 0, 10, 3), Lease(Words(segment), LEFT, UNTIL, ASKED, "closed", RETRY_NS)
    route = RateLimits([RateLimit(bucket, ADMITTED, REFUSED, is_dry=True, lease=lease)], Metrics(segment, 1))
    assert [route.take(NOW_NS) for _ in range(3)] == [0, 0, 0]
    assert Metrics(segment, 2).counter_total(REFUSED) == 3


def test_words_that_are_not_there_are_an_error(segment: Segment) -> None:
    with pytest.raises(IndexError, match="there is no word"):
        Lease(Words(segment), 0, 99, ASKED, "local", RETRY_NS)

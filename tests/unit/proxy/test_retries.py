"""Which fault and status is tried again, how long the back-off is, and how many retries a cluster has at a time."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from shardproxy.http1.faults import NAMES
from shardproxy.proxy.retries import RetryBudget, RetryPolicy
from shardproxy.shm.gauges import Gauges
from shardproxy.shm.layout import Capacities
from shardproxy.shm.metrics import Metrics
from shardproxy.shm.rows import Kind, Rows
from shardproxy.shm.segment import Segment

MS = 10**6
ENDPOINTS = (0, 1)  # gauges
RETRIES = 2
GRANTED, REFUSED = 0, 1  # counters
UNREACHED = {"connect_failed", "connect_timeout"}
RESET = UNREACHED | {"upstream_gone", "stale_connection", "bad_response", "response_timeout"}


@pytest.fixture
def segment() -> Iterator[Segment]:
    segment = Segment.create(Capacities(rows=16, gauges=16, counters=16, histograms=1, buckets=1))
    rows = Rows(segment)
    for row in (1, 2, 3):
        rows.claim(row, 1000 + row, 1, Kind.WORKER)
    yield segment
    segment.close()


def budget(
    segment: Segment, row: int = 1, *, percent: int = 20, min_concurrency: int = 3, max_retries: int | None = None
) -> RetryBudget:
    return RetryBudget(
        Gauges(segment, row),
        Metrics(segment, row),
        ENDPOINTS,
        percent=percent,
        min_concurrency=min_concurrency,
        retries=RETRIES,
        granted=GRANTED,
        refused=REFUSED,
        max_retries=max_retries,
    )


def test_max_retries_is_never_exceeded_whatever_the_budget_says(segment: Segment) -> None:
    Gauges(segment, 2).add(ENDPOINTS[0], 100)
    workers = [budget(segment, row, percent=50, max_retries=4) for row in (1, 2, 3)]
    assert [workers[number % 3].take() for number in range(6)] == [True] * 4 + [False] * 2
    workers[1].give()
    assert workers[2].take()
    assert budget(segment, percent=1, min_concurrency=2, max_retries=4).limit == 2


def policy(segment: Segment, *on: str, statuses: tuple[int, ...] = (), base_ns: int = 25 * MS) -> RetryPolicy:
    return RetryPolicy(
        budget(segment), on, statuses=statuses, attempts=2, timeout_ns=0, per_try_ns=0, base_ns=base_ns,
        max_ns=10 * base_ns, max_body=0,
    )  # fmt: skip


@pytest.mark.parametrize(
    ("word", "faults", "statuses"),
    [
        ("connect-failure", UNREACHED, set()),
        ("refused", {"connect_failed"}, set()),
        ("reset", RESET, set()),
        ("gateway-error", RESET, {502, 503, 504}),
        ("5xx", RESET, set(range(500, 600))),
    ],
)
def test_each_word_tries_again_after_its_faults_and_statuses_only(
    segment: Segment, word: str, faults: set[str], statuses: set[int]
) -> None:
    one = policy(segment, word)
    assert {name for number, name in enumerate(NAMES) if one.retries_fault(number)} == faults
    assert {status for status in range(1000) if one.retries_status(status)} == statuses


def test_retriable_statuses_are_those_named_and_words_add_up(segment: Segment) -> None:
    one = policy(segment, "retriable-status", "connect-failure", statuses=(409, 429))
    assert {status for status in range(1000) if one.retries_status(status)} == {409, 429}
    assert one.retries_fault(NAMES.index("connect_timeout"))
    assert not one.retries_fault(NAMES.index("upstream_gone"))


def test_statuses_count_for_nothing_unless_on_says_so(segment: Segment) -> None:
    assert not policy(segment, "reset", statuses=(409,)).retries_status(409)


def test_no_fault_of_the_client_or_of_ours_is_tried_again(segment: Segment) -> None:
    one = policy(segment, "5xx", "reset", "gateway-error")
    never = ("client_gone", "body_timeout", "overflow", "rate_limited", "response_cut", "drain_cut", "ok")
    assert not any(one.retries_fault(NAMES.index(name)) for name in never)


def test_the_back_off_doubles_from_its_base_up_to_ten_times_that(segment: Segment) -> None:
    one = policy(segment, "reset")
    longest = [one.backoff_ns(number, 1.0) // MS for number in (1, 2, 3, 4, 5, 10, 100)]
    assert longest == [25, 75, 175, 250, 250, 250, 250]


def test_the_back_off_is_jittered_over_its_whole_range(segment: Segment) -> None:
    one = policy(segment, "reset")
    assert [one.backoff_ns(2, draw) for draw in (0.0, 0.5, 0.75)] == [0, 37.5 * MS, 56.25 * MS]


def test_a_back_off_of_an_hour_does_not_overflow(segment: Segment) -> None:
    one = policy(segment, "reset", base_ns=3600 * 1000 * MS)
    assert one.backoff_ns(100, 1.0) == 36000 * 1000 * MS


@pytest.mark.parametrize(
    ("active", "percent", "least", "limit"),
    [(0, 20, 3, 3), (15, 20, 3, 3), (19, 20, 3, 3), (20, 20, 3, 4), (104, 20, 3, 20), (7, 0, 0, 0), (7, 100, 3, 7)],
)
def test_the_budget_is_the_larger_of_the_minimum_and_the_percentage_rounded_down(
    segment: Segment, active: int, percent: int, least: int, limit: int
) -> None:
    for number in range(active):
        Gauges(segment, 1 + number % 3).add(ENDPOINTS[number % 2], 1)
    assert budget(segment, percent=percent, min_concurrency=least).limit == limit


def test_the_budget_holds_over_all_workers_together(segment: Segment) -> None:
    Gauges(segment, 3).add(ENDPOINTS[0], 25)
    workers = [budget(segment, row) for row in (1, 2, 3)]
    assert [workers[number % 3].take() for number in range(7)] == [True] * 5 + [False] * 2
    workers[1].give()
    assert [worker.take() for worker in workers] == [True, False, False]
    metrics = Metrics(segment, 1)
    assert (metrics.counter_total(GRANTED), metrics.counter_total(REFUSED)) == (6, 4)


def test_a_budget_of_nothing_allows_no_retry(segment: Segment) -> None:
    assert not budget(segment, percent=0, min_concurrency=0).take()
    assert Gauges(segment, 1).total(RETRIES) == 0

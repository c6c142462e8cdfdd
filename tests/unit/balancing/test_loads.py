"""Least connection among many, peak EWMA and slow start."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Iterator

import pytest

from shardproxy.balancing.cluster import SlowStart
from shardproxy.shm.decisions import CHECKED, EJECTED, Decisions
from shardproxy.shm.gauges import Gauges
from shardproxy.shm.segment import Segment
from shardproxy.shm.words import Words
from tests.unit.balancing.clusters import Terms, cluster, far_from, small_segment, taken

MS, SECOND = 10**6, 10**9
SLOW = SlowStart(100 * SECOND, 1.0, 10)


@pytest.fixture
def segment() -> Iterator[Segment]:
    with small_segment() as made:
        yield made


def loads(segment: Segment, count: int) -> list[int]:
    return [Gauges(segment, 0).total(index) for index in range(count)]


def test_above_the_threshold_two_choices_keep_the_fullest_near_the_mean(segment: Segment) -> None:
    """n requests to n endpoints: by chance the fullest has some ln n / ln ln n, with two choices ln ln n / ln 2."""
    workers = [cluster(segment, [1] * 1000, Terms("least_connection", row=row, seed=row)) for row in range(1, 5)]
    for number in range(10_000):
        workers[number % 4].take()
    assert max(loads(segment, 1000)) <= 14
    assert sum(loads(segment, 1000)) == 10_000


def test_two_choices_heed_the_weights(segment: Segment) -> None:
    one = cluster(segment, [1, 4] * 50, Terms("least_connection"))
    for _ in range(5_000):
        one.take()
    held = loads(segment, 100)
    assert sum(held[1::2]) / sum(held[::2]) == pytest.approx(4, rel=0.1)


@pytest.mark.parametrize("weights", [[1, 2, 3, 4], [1000, 1, 7], [1] * 100])
def test_chance_is_in_proportion_over_a_million_picks(segment: Segment, weights: list[int]) -> None:
    seen = Counter(taken(cluster(segment, weights, Terms("random", seed=20261123)), 10**6))
    assert far_from([seen[index] for index in range(len(weights))], weights) < 5


def test_maglev_without_keys_is_in_proportion_over_a_million_picks(segment: Segment) -> None:
    """The table has 65 537 places, so weights of 1 to 4 are met to 1 in 6 500: less than chance moves a million."""
    seen = Counter(taken(cluster(segment, [1, 2, 3, 4], Terms("maglev", seed=20261123)), 10**6))
    assert far_from([seen[index] for index in range(4)], [1, 2, 3, 4]) < 5


def test_peak_ewma_leaves_the_slow_one_alone_until_the_others_are_as_busy(segment: Segment) -> None:
    one = cluster(segment, [1] * 3, Terms("peak_ewma"))
    other = cluster(segment, [1] * 3, Terms("peak_ewma", row=2))
    for index, took in enumerate((10 * MS, 10 * MS, 55 * MS)):
        one.took(index, took)
    assert Counter(other.take() for _ in range(10)) == {0: 5, 1: 5}
    assert other.take() in (0, 1, 2)


def test_peak_ewma_tries_each_that_nothing_is_known_of_once(segment: Segment) -> None:
    one = cluster(segment, [1] * 4, Terms("peak_ewma"))
    assert sorted(one.take() for _ in range(4)) == [0, 1, 2, 3]


def test_one_slow_response_counts_at_once_and_is_forgotten_in_time(segment: Segment) -> None:
    one = cluster(segment, [1, 1], Terms("peak_ewma"))
    for _ in range(3):
        one.took(0, 10 * MS)
        one.took(1, 12 * MS)
    one.took(0, 15 * MS)
    assert set(taken(one, 20)) == {1}
    deadline = time.monotonic() + 10
    while time.monotonic() < deadline and set(taken(one, 1)) == {1}:
        one.took(1, 12 * MS)  # the average of 0 falls while nothing is heard of it: a third is left after a second
    assert set(taken(one, 1)) == {0}


def test_failures_that_come_fast_do_not_attract(segment: Segment) -> None:
    one = cluster(segment, [1, 1], Terms("peak_ewma"))
    for _ in range(5):
        one.took(0, 20 * MS)
        one.took(1, 1 * MS, True)
    assert set(taken(one, 20)) == {0}


def test_a_new_endpoint_begins_with_the_least_share(segment: Segment) -> None:
    now = time.monotonic_ns()
    Words(segment).store(2000, now - 200 * SECOND)
    Words(segment).store(2001, now)
    one = cluster(segment, [1, 1], Terms("least_connection", slow_start=SLOW))
    assert Counter(one.take() for _ in range(110))[1] == pytest.approx(10, abs=1)


@pytest.mark.parametrize(("age_s", "aggression", "share"), [(50, 1.0, 0.5), (25, 2.0, 0.5), (50, 0.5, 0.25)])
def test_the_share_grows_by_envoys_formula(segment: Segment, age_s: int, aggression: float, share: float) -> None:
    Words(segment).store(2001, time.monotonic_ns() - age_s * SECOND)
    one = cluster(segment, [1, 1], Terms("least_connection", slow_start=SlowStart(100 * SECOND, aggression, 10)))
    seen = Counter(one.take() for _ in range(1_000))
    assert seen[1] / seen[0] == pytest.approx(share, rel=0.03)


def test_round_robin_warms_up_an_endpoint_roughly(segment: Segment) -> None:
    Words(segment).store(2001, time.monotonic_ns() - 50 * SECOND)
    one = cluster(segment, [1, 1, 1], Terms("round_robin", slow_start=SLOW))
    seen = Counter(taken(one, 10_000))
    assert seen[1] / seen[0] == pytest.approx(0.5, rel=0.1)


def test_an_endpoint_that_passes_its_checks_again_starts_slowly(segment: Segment) -> None:
    one = cluster(segment, [1, 1], Terms("least_connection", slow_start=SLOW, is_checked=True))
    Decisions(segment).decide(1, CHECKED, 0, time.monotonic_ns())
    assert Counter(one.take() for _ in range(110))[1] == pytest.approx(10, abs=1)


def test_the_end_of_an_ejection_is_known_to_all_though_it_leaves_no_trace(segment: Segment) -> None:
    terms = Terms("least_connection", slow_start=SLOW, is_checked=True)
    Decisions(segment).decide(1, EJECTED, 0, time.monotonic_ns())
    assert set(taken(cluster(segment, [1, 1], terms), 5)) == {0}
    Decisions(segment).withdraw(1, EJECTED)
    assert Decisions(segment).since_ns(1) == 0
    one = cluster(segment, [1, 1], Terms("least_connection", row=2, slow_start=SLOW, is_checked=True))
    assert Counter(one.take() for _ in range(110))[1] == pytest.approx(10, abs=1)

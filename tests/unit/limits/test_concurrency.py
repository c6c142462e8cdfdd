"""Adaptive concurrency against a simulated origin: it finds the capacity, keeps it, and follows when it changes."""

from __future__ import annotations

import pytest

from shardproxy.limits.concurrency import Aimd, Gradient, Look
from tests.unit.limits.simulated_origin import Origin

SERVICE_S = 0.02


def gradient(limit: float = 20) -> Gradient:
    return Gradient(least=2, most=1000, limit=limit)


@pytest.mark.parametrize(
    ("places", "start"),
    [(4, 4), (4, 20), (10, 4), (10, 20), (40, 4), (40, 20), (40, 1000), (200, 4), (200, 20), (200, 1000)],
)
def test_at_three_times_the_load_the_origin_is_kept_busy_and_quick(places: int, start: float) -> None:
    capacity = places / SERVICE_S
    run = Origin(places, SERVICE_S).run(gradient(start), rate=3 * capacity, seconds=20)
    assert run.goodput(10, 20) >= 0.9 * capacity
    assert run.p99(10, 20) <= 3 * 1.3 * SERVICE_S


@pytest.mark.parametrize("places", [10, 40, 200])
def test_uneven_requests_are_not_taken_for_a_queue(places: int) -> None:
    capacity = places / SERVICE_S
    run = Origin(places, SERVICE_S, is_uneven=True).run(gradient(), rate=3 * capacity, seconds=20)
    assert run.goodput(10, 20) >= 0.9 * capacity
    assert run.p99(10, 20) <= 3 * 4.6 * SERVICE_S  # 4.6: the p99 of an exponential time


def test_without_it_the_queue_grows_without_end() -> None:
    run = Origin(10, SERVICE_S).run(None, rate=1500, seconds=20)
    assert run.p99(10, 20) > 100 * SERVICE_S


def test_it_does_not_drift_upwards_in_a_long_overload() -> None:
    run = Origin(20, SERVICE_S).run(gradient(), rate=3000, seconds=120)
    assert max(run.limits[300:]) <= 2.5 * 20


def test_when_the_capacity_halves_it_follows_within_ten_seconds() -> None:
    run = Origin(40, SERVICE_S).run(gradient(), rate=6000, seconds=40, change_at=20)
    assert run.goodput(30, 40) >= 0.9 * 1000
    assert run.p99(30, 40) <= 3 * 1.3 * SERVICE_S


def test_with_little_to_do_nothing_is_refused_and_the_limit_does_not_grow() -> None:
    run = Origin(40, SERVICE_S).run(gradient(60), rate=200, seconds=20)
    assert run.refused == 0
    assert max(run.limits) <= 60


def test_an_origin_that_has_become_slower_for_good_is_a_new_baseline_soon() -> None:
    finder = gradient(40)
    for _ in range(60):
        finder.look(Look(100, 20e6, 40))
    for _ in range(75):
        finder.look(Look(100, 60e6, round(finder.limit)))
    assert finder.baseline_ns == 60e6
    assert finder.limit > 30


def test_an_origin_that_stands_still_gets_fewer_and_fewer_but_never_less_than_the_floor() -> None:
    finder = gradient(100)
    for _ in range(200):
        finder.look(Look(0, 0.0, 100))
    assert finder.limit == 2


def test_the_limit_stays_within_its_bounds() -> None:
    finder = Gradient(least=5, most=30, limit=20)
    limits = [finder.look(Look(100, 1e6, 30)) for _ in range(100)]
    assert max(limits) == 30
    assert min(finder.look(Look(100, 1e9 * n, 30)) for n in range(1, 100)) == 5


@pytest.mark.parametrize("places", [10, 40])
def test_additive_increase_keeps_requests_below_the_latency_that_is_too_much(places: int) -> None:
    capacity = places / SERVICE_S
    finder = Aimd(least=2, most=1000, limit=20, latency_ns=30_000_000)
    run = Origin(places, SERVICE_S).run(finder, rate=3 * capacity, seconds=40)
    assert run.goodput(20, 40) >= 0.9 * capacity
    assert run.p99(20, 40) <= 3 * 1.3 * SERVICE_S


def test_failures_make_it_less_as_well() -> None:
    finder = Aimd(least=2, most=1000, limit=20, latency_ns=30_000_000)
    assert finder.look(Look(100, 1e6, 20, failed=0.5)) == 18

"""Adaptive concurrency against a simulated origin: it finds the capacity, keeps it, and follows when it changes."""

from __future__ import annotations

import pytest

from shardproxy.limits.concurrency import (
    CYCLE,
    FEWEST,
    LONGEST,
    MUCH,
    QUICK_CYCLE,
    Aimd,
    Gradient,
    Look,
)
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


def test_until_the_first_queue_it_grows_by_half_and_then_by_half_a_root() -> None:
    finder = gradient(20)
    quick = [finder.look(Look(100, 20e6, 100)) for _ in range(3)]
    assert quick == [30, 45, 68]
    finder = gradient(100)
    finder.has_met_a_queue = True
    assert finder.look(Look(100, 20e6, 100)) == 105


@pytest.mark.parametrize(("ended", "active", "limit"), [(FEWEST, 16, 30), (FEWEST - 1, 16, 20), (FEWEST, 15, 20)])
def test_it_grows_after_a_look_with_enough_requests_that_used_four_fifths_of_it(
    ended: int, active: int, limit: int
) -> None:
    assert gradient(20).look(Look(ended, 20e6, active)) == limit


def test_it_falls_however_little_is_under_way() -> None:
    finder = gradient(100)
    finder.look(Look(100, 20e6, 1))
    finder.look(Look(100, 20e6, 1))
    assert finder.look(Look(100, 100e6, 1)) < 100


def dips(finder: Gradient, middles_ms: list[float]) -> list[int]:
    """After which looks, counted from 1, the limit was halved."""
    halved = []
    for number, middle_ms in enumerate(middles_ms, 1):
        if finder.look(Look(100, middle_ms * 1e6, 0)) < 0.8 * finder.limit:
            halved.append(number)
    return halved


def test_a_dip_is_two_looks_long_and_comes_again_fifteen_looks_later() -> None:
    first, second = QUICK_CYCLE, QUICK_CYCLE + 2 + CYCLE
    assert dips(gradient(100), [20.0] * 30) == [first, first + 1, second, second + 1]


@pytest.mark.parametrize(("before", "pause"), [(20 * MUCH + 1, QUICK_CYCLE), (20 * MUCH, CYCLE)])
def test_the_next_dip_comes_soon_where_the_last_one_has_shown_much_of_a_queue(before: float, pause: int) -> None:
    found = dips(gradient(100), [20.0] * (QUICK_CYCLE - 1) + [before] + [20.0] * 30)
    assert found[2] == QUICK_CYCLE + 2 + pause


def silent_looks(finder: Gradient, count: int, active: int) -> list[int]:
    return [finder.look(Look(FEWEST - 1, 0.0, active)) for _ in range(count)]


def test_an_origin_that_ends_next_to_nothing_for_ten_busy_looks_gets_a_quarter_less_each_time() -> None:
    looks = silent_looks(gradient(100), 2 * LONGEST, 80)
    assert looks == [100] * (LONGEST - 1) + [75] * LONGEST + [round(75 * 0.75)]


def test_an_origin_that_is_not_busy_does_not_stand_still() -> None:
    assert set(silent_looks(gradient(100), 3 * LONGEST, 79)) == {100}


def test_a_look_that_says_something_begins_the_silence_anew() -> None:
    finder = gradient(100)
    silent_looks(finder, LONGEST - 1, 100)
    finder.look(Look(FEWEST, 20e6, 1))
    assert silent_looks(finder, LONGEST, 100) == [100] * (LONGEST - 1) + [75]


@pytest.mark.parametrize(
    ("look", "limit"),
    [
        (Look(1, 30_000_001, 20), 18),
        (Look(1, 30_000_000, 20), 20),
        (Look(FEWEST, 30_000_000, 16), 21),
        (Look(FEWEST, 30_000_000, 15), 20),
        (Look(FEWEST - 1, 1e6, 20), 20),
        (Look(FEWEST, 1e6, 16, failed=0.1), 21),
        (Look(1, 1e6, 20, failed=0.11), 18),
        (Look(0, 60e6, 20, failed=1.0), 20),
    ],
)
def test_additive_increase_goes_up_by_one_and_down_by_a_tenth(look: Look, limit: int) -> None:
    assert Aimd(least=2, most=1000, limit=20, latency_ns=30_000_000).look(look) == limit

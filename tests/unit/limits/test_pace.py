"""Adaptive rates against a simulated origin: the capacity is found, kept, and followed when it changes."""

from __future__ import annotations

from dataclasses import dataclass

import pytest

from shardproxy.limits.pace import NOTHING, Pace, RateLook

LOOK_S, SERVICE_S, TOO_LONG_S = 0.5, 0.02, 0.1


@dataclass
class Origin:
    """It completes `capacity` requests a second, and lets the others queue."""

    capacity: float
    queued: float = 0.0

    def work(self, admitted: float) -> RateLook:
        ended = min(self.queued + admitted, self.capacity * LOOK_S)
        self.queued += admitted - ended
        slow_s = SERVICE_S + self.queued / self.capacity
        return RateLook(LOOK_S, round(admitted), round(ended), slow_s * 1e9)


def pace(rate: float = 1000) -> Pace:
    return Pace(least=10, most=2000, rate=rate, failed=0.05, latency_ns=round(TOO_LONG_S * 1e9), step=20)


def run(finder: Pace, origin: Origin, offered: float, looks: int) -> list[float]:
    rates = []
    for _ in range(looks):
        admitted = min(offered, finder.rate) * LOOK_S
        rates.append(finder.look(origin.work(admitted)))
    return rates


@pytest.mark.parametrize("capacity", [100, 400, 1500])
@pytest.mark.parametrize("start", [50, 1000, 2000])
def test_it_finds_what_the_origin_can_do(capacity: float, start: float) -> None:
    rates = run(pace(start), Origin(capacity), offered=4000, looks=400)[200:]
    assert 0.75 * capacity <= sum(rates) / len(rates) <= 1.05 * capacity
    assert max(rates) <= 1.5 * capacity


def test_it_follows_when_the_capacity_halves_and_comes_back() -> None:
    finder, origin = pace(), Origin(800)
    run(finder, origin, 4000, 100)
    origin.capacity = 400
    halved = run(finder, origin, 4000, 100)[40:]
    assert 0.75 * 400 <= sum(halved) / len(halved) <= 1.05 * 400
    origin.capacity = 800
    again = run(finder, origin, 4000, 100)[40:]
    assert 0.75 * 800 <= sum(again) / len(again) <= 1.05 * 800


def test_failures_bring_it_down_to_the_least_and_no_lower() -> None:
    finder = pace()
    for _ in range(100):
        finder.look(RateLook(LOOK_S, 100, 100, 1e6, failed=0.06))
    assert finder.rate == 10


def test_the_look_after_a_decrease_is_passed_over() -> None:
    finder, bad = pace(900), RateLook(LOOK_S, 450, 450, 1e9)
    assert finder.look(bad) == pytest.approx(600)
    assert finder.look(bad) == pytest.approx(600)
    assert finder.look(bad) == pytest.approx(400)


def test_it_does_not_grow_beyond_what_is_asked_for() -> None:
    finder = pace(1000)
    run(finder, Origin(10_000), offered=500, looks=100)
    assert finder.rate == 1000


def test_a_few_requests_say_nothing_until_there_are_more() -> None:
    finder, few = pace(1000), RateLook(LOOK_S, 9, 9, 5e9, failed=1.0)
    assert [finder.look(few) for _ in range(2)] == pytest.approx([1000, 2000 / 3])


def test_after_ten_seconds_a_single_request_has_its_say() -> None:
    finder = pace(1000)
    finder.look(RateLook(LOOK_S, 1, 1, 5e9, failed=1.0))
    rates = [finder.look(RateLook(LOOK_S, 0, 0, 0)) for _ in range(25)]
    assert rates[17:20] == pytest.approx([1000, 2000 / 3, 2000 / 3])


def test_without_a_latency_only_failures_tell() -> None:
    finder = Pace(10, 2000, 1000, 0.05, 0, 20)
    finder.look(RateLook(LOOK_S, 500, 500, 60e9))
    assert finder.rate == 1020


def test_looks_that_are_taken_together_weigh_what_they_saw() -> None:
    both = RateLook(1.0, 4, 4, 3e6, failed=0.0).and_then(RateLook(2.0, 7, 6, 1e6, failed=0.5))
    assert both == RateLook(3.0, 11, 10, 3e6, failed=0.3)
    alone = RateLook(0.5, 1, 1, 2e6, failed=1.0)
    assert NOTHING.and_then(alone) == alone


@pytest.mark.parametrize(
    ("look", "rate"),
    [
        (RateLook(2.0, 1600, 100, 1000.0, failed=0.05), 1020),
        (RateLook(2.0, 1599, 100, 1000.0), 1000),
        (RateLook(2.0, 1600, 100, 1001.0), 2000 / 3),
        (RateLook(2.0, 1600, 100, 1.0, failed=0.051), 2000 / 3),
    ],
)
def test_the_bounds_themselves_are_no_trouble(look: RateLook, rate: float) -> None:
    finder = Pace(least=10, most=2000, rate=1000, failed=0.05, latency_ns=1000, step=20)
    assert finder.look(look) == pytest.approx(rate)


def test_the_shortest_latency_that_can_be_written_is_one() -> None:
    finder = Pace(least=10, most=2000, rate=900, failed=0.05, latency_ns=1, step=20)
    assert finder.look(RateLook(1.0, 900, 900, 2.0)) == pytest.approx(600)

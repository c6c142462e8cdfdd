from __future__ import annotations

from shardproxy.limits.leasing import AHEAD, TRIPS, Demand

BURST = 1000


def test_who_is_not_asked_wants_nothing() -> None:
    demand = Demand()
    assert demand.wanted(BURST) == 0
    demand.note(0)
    assert demand.wanted(BURST) == 0


def test_the_busiest_time_of_late_counts_and_is_forgotten_after_eight_trips() -> None:
    demand = Demand()
    wanted = []
    for asked in [3, 20, *[3] * TRIPS]:
        demand.note(asked)
        wanted.append(demand.wanted(BURST))
    assert wanted == [AHEAD * 3, *[AHEAD * 20] * TRIPS, AHEAD * 3]


def test_nobody_wants_more_than_a_burst() -> None:
    demand = Demand()
    demand.note(BURST)
    assert demand.wanted(BURST) == BURST


def test_a_counter_that_went_back_is_no_demand() -> None:
    demand = Demand()
    demand.note(-5)
    assert demand.wanted(BURST) == 0

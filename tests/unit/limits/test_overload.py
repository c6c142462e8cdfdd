"""From pressure to action: it begins at one pressure, ends below another, and does not flap in between."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from shardproxy.limits.overload import Pressures, Trigger


def test_it_begins_at_one_pressure_and_ends_below_another() -> None:
    trigger = Trigger(at=90, until=80)
    assert [trigger.look(pressure) for pressure in (89, 90, 85, 80, 79, 89, 120)] == [
        False, True, True, True, False, False, True,
    ]  # fmt: skip


@given(st.lists(st.integers(0, 150)), st.lists(st.integers(80, 89), min_size=1))
def test_between_the_two_nothing_changes(before: list[int], between: list[int]) -> None:
    trigger = Trigger(at=90, until=80)
    for pressure in before:
        trigger.look(pressure)
    was_on = trigger.is_on
    assert {trigger.look(pressure) for pressure in between} == {was_on}


@given(st.lists(st.integers(0, 150), max_size=60))
def test_every_change_crosses_the_whole_band(pressures: list[int]) -> None:
    trigger, last = Trigger(at=90, until=80), False
    for pressure in pressures:
        now = trigger.look(pressure)
        if now != last:
            assert pressure >= 90 if now else pressure < 80
        last = now


def test_pressures_are_percents_of_what_counts_as_full() -> None:
    pressures = Pressures({"memory": 400.0, "connections": 3.0})
    assert pressures.percent({"memory": 100.0, "connections": 4, "loop_lag": 9}) == {"memory": 25, "connections": 133}

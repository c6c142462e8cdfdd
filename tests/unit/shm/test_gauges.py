from __future__ import annotations

import pytest

from shardproxy.shm.gauges import Gauges
from shardproxy.shm.segment import Segment


def test_the_total_is_the_sum_of_what_all_rows_added(segment: Segment) -> None:
    segment.rows_used = 32
    rows = [Gauges(segment, row) for row in range(32)]
    for number, gauges in enumerate(rows):
        gauges.add(5, number)
        gauges.add(5, -1)
    assert rows[0].total(5) == sum(range(32)) - 32
    assert rows[0].row_value(5, 31) == 30
    assert rows[0].total(4) == rows[0].total(6) == 0


def test_totals_are_not_cut_to_the_width_of_a_cell(segment: Segment) -> None:
    for row in range(3):
        Gauges(segment, row).add(0, 2**31 - 1)
    assert Gauges(segment, 0).total(0) == 3 * (2**31 - 1)


def test_a_row_counts_as_soon_as_rows_used_reaches_it(segment: Segment) -> None:
    first, late = Gauges(segment, 0), Gauges(segment, 20)
    late.add(0, 1)
    assert first.total(0) == 0
    segment.rows_used = 21
    assert first.total(0) == 1


def test_a_place_is_reserved_up_to_the_cap_over_all_rows(segment: Segment) -> None:
    one, two = Gauges(segment, 1), Gauges(segment, 2)
    assert [one.reserve(3, 3), two.reserve(3, 3), one.reserve(3, 3)] == [True, True, True]
    assert not two.reserve(3, 3)
    assert one.total(3) == 3
    one.add(3, -1)
    assert two.reserve(3, 3)


@pytest.mark.parametrize("cap", [0, -1])
def test_nothing_can_be_reserved_under_a_cap_of_nothing(segment: Segment, cap: int) -> None:
    gauges = Gauges(segment, 0)
    assert not gauges.reserve(0, cap)
    assert gauges.total(0) == 0


def test_clearing_a_row_forgets_all_of_that_row_and_nothing_else(segment: Segment) -> None:
    dead, alive = Gauges(segment, 1), Gauges(segment, 2)
    for slot in range(100):
        dead.add(slot, slot + 1)
        alive.add(slot, 7)
    alive.clear_row(1)
    assert all(alive.row_value(slot, 1) == 0 for slot in range(100))
    assert all(alive.total(slot) == 7 for slot in range(100))


@pytest.mark.parametrize("slot", [-1, 100])
def test_a_slot_that_is_not_there_is_refused(segment: Segment, slot: int) -> None:
    gauges = Gauges(segment, 0)
    for call in (lambda: gauges.add(slot, 1), lambda: gauges.total(slot), lambda: gauges.reserve(slot, 1)):
        with pytest.raises(IndexError, match=f"there is no gauge {slot}; the segment has 100"):
            call()


@pytest.mark.parametrize("row", [-1, 32])
def test_a_row_that_is_not_there_is_refused(segment: Segment, row: int) -> None:
    with pytest.raises(IndexError, match=f"there is no row {row}; the segment has 32"):
        Gauges(segment, row)
    with pytest.raises(IndexError, match=f"there is no row {row}; the segment has 32"):
        Gauges(segment, 0).clear_row(row)


def test_repr_tells_its_row(segment: Segment) -> None:
    assert repr(Gauges(segment, 3)) == "<Gauges row=3 slots=100>"

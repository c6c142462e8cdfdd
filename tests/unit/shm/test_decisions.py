from __future__ import annotations

import pytest

from shardproxy.shm.decisions import CHECKED, EJECTED, FAILED_CHECK, Decisions
from shardproxy.shm.layout import Capacities
from shardproxy.shm.segment import Segment


def test_fresh_memory_leaves_every_endpoint_in_use(segment: Segment) -> None:
    decisions = Decisions(segment)
    assert decisions.slots == 10
    for slot in range(decisions.slots):
        assert (decisions.flags(slot), decisions.reason(slot), decisions.since_ns(slot)) == (0, 0, 0)
        assert not decisions.is_out(slot)


def test_what_one_has_decided_all_others_see(segment: Segment) -> None:
    Decisions(segment).decide(3, FAILED_CHECK | CHECKED, 503, 7_000_000_000_000)
    seen = Decisions(segment)
    assert (seen.flags(3), seen.reason(3), seen.since_ns(3)) == (FAILED_CHECK | CHECKED, 503, 7_000_000_000_000)
    assert [seen.is_out(slot) for slot in range(5)] == [False, False, False, True, False]


@pytest.mark.parametrize(("flags", "is_out"), [(FAILED_CHECK, True), (EJECTED, True), (3, True), (CHECKED, False)])
def test_an_endpoint_is_left_out_for_either_reason_but_not_for_having_been_checked(flags: int, is_out: bool) -> None:
    segment = Segment.create(Capacities(rows=16, decisions=1))
    decisions = Decisions(segment)
    decisions.decide(0, flags, 0, 1)
    assert decisions.is_out(0) is is_out
    segment.close()


def test_cleared_it_is_as_if_nothing_had_been_decided(segment: Segment) -> None:
    decisions = Decisions(segment)
    decisions.decide(1, EJECTED, 9, 9)
    decisions.clear(1)
    assert (decisions.flags(1), decisions.reason(1), decisions.since_ns(1)) == (0, 0, 0)


@pytest.mark.parametrize("slot", [-1, 10, 2**31 - 1])
def test_a_slot_that_is_not_there_is_refused(segment: Segment, slot: int) -> None:
    with pytest.raises(IndexError, match=f"there is no decision {slot}; the segment has 10"):
        Decisions(segment).is_out(slot)

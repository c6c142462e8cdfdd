"""Who is first of all workers, who is woken, and what a dead one leaves behind."""

from __future__ import annotations

import os
from collections.abc import Iterator

import pytest

from shardproxy.shm.layout import Capacities
from shardproxy.shm.rows import Kind, Rows
from shardproxy.shm.segment import Segment
from shardproxy.shm.waiters import Waiters

HIGH, NORMAL, LOW = 0, 1, 2


@pytest.fixture
def segment() -> Iterator[Segment]:
    segment = Segment.create(Capacities(rows=16, gauges=1, counters=1, histograms=1, buckets=1, queues=600))
    rows = Rows(segment)
    for row in (1, 2, 3):
        rows.claim(row, 1000 + row, 1, Kind.WORKER)
    segment.rows_used = 4
    yield segment
    segment.close()


@pytest.fixture
def bells() -> Iterator[list[int]]:
    bells = [os.eventfd(0, os.EFD_NONBLOCK) for _ in range(16)]
    yield bells
    for bell in bells:
        os.close(bell)


def rung(bells: list[int]) -> list[int]:
    """The rows whose bells ring; they ring no more."""
    found = []
    for row, bell in enumerate(bells):
        try:
            os.eventfd_read(bell)
        except BlockingIOError:
            continue
        found.append(row)
    return found


def test_whoever_came_first_is_first_in_whichever_worker(segment: Segment) -> None:
    one, two, three = (Waiters(segment, row) for row in (1, 2, 3))
    assert one.best(0) is None
    two.publish(0, NORMAL, 20)
    one.publish(0, NORMAL, 30)
    three.publish(0, NORMAL, 10)
    assert [each.best(0) for each in (one, two, three)] == [3, 3, 3]
    three.withdraw(0)
    assert one.best(0) == 2


def test_a_higher_class_goes_before_whoever_came_earlier(segment: Segment) -> None:
    one, two = Waiters(segment, 1), Waiters(segment, 2)
    one.publish(0, LOW, 1)
    two.publish(0, NORMAL, 1 << 58)
    assert one.best(0) == 2
    one.publish(0, HIGH, 1 << 58)
    assert one.best(0) == 1


def test_queues_know_nothing_of_each_other(segment: Segment) -> None:
    one = Waiters(segment, 1)
    one.publish(599, NORMAL, 5)
    assert [one.best(queue) for queue in (0, 598, 599)] == [None, None, 1]


def test_a_ring_reaches_the_row_that_it_is_for(segment: Segment, bells: list[int]) -> None:
    one = Waiters(segment, 1, bells)
    one.ring(3)
    one.ring(3)
    assert rung(bells) == [3]
    one.ring_all()
    assert rung(bells) == [0, 2, 3]
    assert one.bell == bells[1]


def test_without_bells_nobody_is_woken(segment: Segment, bells: list[int]) -> None:
    one = Waiters(segment, 1)
    assert one.bell == -1
    one.ring(2)
    told = Waiters(segment, 1, bells)
    told.forget_bells()
    told.ring_all()
    assert rung(bells) == []


def test_nobody_waits_any_more_in_a_row_that_was_cleared(segment: Segment) -> None:
    one, two, supervisor = Waiters(segment, 1), Waiters(segment, 2), Waiters(segment, 0)
    for queue in (0, 17, 599):
        one.publish(queue, NORMAL, 1)
        two.publish(queue, LOW, 2)
    supervisor.clear_row(1)
    assert [two.best(queue) for queue in (0, 17, 599)] == [2, 2, 2]


def test_what_does_not_exist_is_refused(segment: Segment) -> None:
    one = Waiters(segment, 1)
    for wrong in (-1, 600):
        with pytest.raises(IndexError, match=f"there is no queue {wrong}; the segment has 600"):
            one.publish(wrong, NORMAL, 1)
    with pytest.raises(IndexError, match="there is no row 16; the segment has 16"):
        one.ring(16)

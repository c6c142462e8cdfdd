from __future__ import annotations

import os
import time

import pytest

from shardproxy.shm.rows import Kind, Rows, State
from shardproxy.shm.segment import Segment


@pytest.fixture
def rows(segment: Segment) -> Rows:
    return Rows(segment)


def test_a_row_nobody_has_is_gone(rows: Rows) -> None:
    assert (rows.pid(5), rows.state(5), rows.heartbeat(5)) == (0, State.GONE, 0)


def test_a_claimed_row_tells_who_lives_in_it_through_any_mapping(segment: Segment, rows: Rows) -> None:
    before = time.monotonic_ns()
    rows.claim(5, pid=4242, generation=3, kind=Kind.CONTROLLER)
    copy = Segment.attach(os.dup(segment.fd))
    other = Rows(copy)
    assert (other.pid(5), other.generation(5), other.kind(5)) == (4242, 3, Kind.CONTROLLER)
    assert other.state(5) is State.STARTING
    assert before <= other.heartbeat(5) <= time.monotonic_ns()
    assert rows.pid(4) == rows.pid(6) == 0
    copy.close()


def test_claiming_a_row_makes_sums_reach_it(segment: Segment, rows: Rows) -> None:
    rows.claim(20, 1, 1, Kind.WORKER)
    assert segment.rows_used == 21
    rows.claim(3, 2, 1, Kind.WORKER)
    assert segment.rows_used == 21


def test_state_and_heartbeat_are_what_was_said_last(rows: Rows) -> None:
    rows.claim(1, 10, 1, Kind.WORKER)
    rows.set_state(1, State.READY)
    rows.beat(1, 123)
    assert (rows.state(1), rows.heartbeat(1)) == (State.READY, 123)
    rows.set_state(1, State.DRAINING)
    assert rows.state(1) is State.DRAINING


def test_a_row_in_use_cannot_be_claimed_for_another_process(rows: Rows) -> None:
    rows.claim(1, 10, 1, Kind.WORKER)
    rows.claim(1, 10, 2, Kind.WORKER)
    with pytest.raises(ValueError, match="row 1 still belongs to process 10"):
        rows.claim(1, 11, 1, Kind.WORKER)
    rows.release(1)
    assert (rows.pid(1), rows.state(1), rows.heartbeat(1)) == (0, State.GONE, 0)
    rows.claim(1, 11, 1, Kind.WORKER)


@pytest.mark.parametrize("row", [-1, 32])
def test_a_row_that_is_not_there_is_refused(rows: Rows, row: int) -> None:
    with pytest.raises(IndexError, match=f"there is no row {row}; the segment has 32"):
        rows.pid(row)


def test_repr_lists_who_lives(rows: Rows) -> None:
    assert repr(rows) == "<Rows empty>"
    rows.claim(0, 100, 1, Kind.SUPERVISOR)
    rows.claim(2, 102, 1, Kind.WORKER)
    rows.set_state(2, State.READY)
    assert repr(rows) == "<Rows 0: SUPERVISOR 100 STARTING, 2: WORKER 102 READY>"

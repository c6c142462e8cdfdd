from __future__ import annotations

from collections.abc import Iterator

import pytest

from shardproxy.shm.layout import Capacities
from shardproxy.shm.segment import Segment
from shardproxy.supervisor.memory import RowPool
from shardproxy.supervisor.state import Phase, Post


@pytest.fixture
def segment() -> Iterator[Segment]:
    made = Segment.create(Capacities(rows=16, gauges=1, counters=1, histograms=1, buckets=1))
    yield made
    made.close()


def test_rows_are_given_from_the_lowest_on_and_never_the_supervisors(segment: Segment) -> None:
    pool = RowPool(segment)
    assert [pool.take() for _ in range(3)] == [1, 2, 3]


def test_a_row_that_comes_back_is_given_again(segment: Segment) -> None:
    pool = RowPool(segment)
    rows = [pool.take() for _ in range(3)]
    pool.give_back(rows[1])
    assert [pool.take(), pool.take()] == [2, 4]


def test_sums_go_over_no_more_rows_than_needed(segment: Segment) -> None:
    pool = RowPool(segment)
    for _ in range(3):
        pool.take()
    assert segment.rows_used == 4
    pool.give_back(2)
    assert segment.rows_used == 4
    pool.give_back(3)
    assert segment.rows_used == 2


def test_a_post_is_called_by_its_name() -> None:
    assert [str(Post("controller", 0)), str(Post("worker", 1))] == ["controller", "worker 1"]


def test_every_phase_says_what_goes_on() -> None:
    assert len({phase.value for phase in Phase}) == len(Phase)

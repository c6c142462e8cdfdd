"""In whatever order workers count, die, are buried and followed by others while somebody reads: no total ever falls,
and none has anything twice.

Every order of the steps is tried, with the real cells; a step is what one process does to them at a time. A supervisor
that is killed in the middle of a burial is followed by one that buries again. That a burial which moves counts to
another row is found to be wrong shows that the search looks where it matters.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from itertools import combinations

import pytest

from shardproxy.shm.addresses import Addresses
from shardproxy.shm.gauges import Gauges
from shardproxy.shm.layout import Capacities
from shardproxy.shm.metrics import Metrics
from shardproxy.shm.rows import Kind, Rows
from shardproxy.shm.segment import Segment
from shardproxy.shm.waiters import Waiters

ROW, SLOT = 1, 0
TAKE_AWAY = 1 << 64  # less than that is a negative number for a counter


class Scene:
    """A counter of two rows; whoever is in row 1 dies and is followed, and a reader sums both."""

    def __init__(self, segment: Segment) -> None:
        self.segment, self.rows = segment, Rows(segment)
        self.supervisor, self.worker = Metrics(segment, 0), Metrics(segment, ROW)
        self.before, self.counted, self.moved = self.supervisor.counter_total(SLOT), 0, 0
        self.sum = self.least = 0
        self.totals = [0]
        self.is_right = True

    # What a worker does, and a reader -------------------------------------------------------------------------------

    def come(self) -> None:
        self.segment.rows_used = ROW + 1
        self.rows.claim(ROW, 4711, 1, Kind.WORKER)

    def count(self) -> None:
        self.worker.count(SLOT, 1)
        self.counted += 1

    def read_first(self) -> None:
        self.least, self.sum = self.counted, self.supervisor.counter_row(SLOT, 0) - self.before

    def read_second(self) -> None:
        assert self.segment.rows_counted == ROW + 1
        total = self.sum + self.supervisor.counter_row(SLOT, ROW)
        self.is_right = self.is_right and max(self.least, self.totals[-1]) <= total <= self.counted
        self.totals.append(total)

    # What the supervisor does, as `Memory.clear_row` ------------------------------------------------------------------

    def clear(self) -> None:
        for cells in (Gauges(self.segment, 0), Addresses(self.segment, 0), Waiters(self.segment, 0)):
            cells.clear_row(ROW)

    def release(self) -> None:
        self.rows.release(ROW)

    def shrink(self) -> None:
        self.segment.rows_used = ROW

    # What it must not do ---------------------------------------------------------------------------------------------

    def look(self) -> None:
        self.moved = self.supervisor.counter_row(SLOT, ROW)

    def add_to_the_first(self) -> None:
        self.supervisor.count(SLOT, self.moved)

    def take_from_the_second(self) -> None:
        self.worker.count(SLOT, TAKE_AWAY - self.moved if self.moved else 0)


Step = Callable[[Scene], None]
BURIAL: list[Step] = [Scene.clear, Scene.release, Scene.shrink]
READING: list[Step] = [Scene.read_first, Scene.read_second]
FOLDS: dict[str, list[Step]] = {
    "add first": [Scene.look, Scene.add_to_the_first, Scene.take_from_the_second],
    "take first": [Scene.look, Scene.take_from_the_second, Scene.add_to_the_first],
}


def orders(lives: list[Step], readings: list[Step]) -> Iterator[list[Step]]:
    """Every order in which the steps of both can follow each other."""
    length = len(lives) + len(readings)
    for places in combinations(range(length), len(readings)):
        read, live, at = iter(readings), iter(lives), set(places)
        yield [next(read) if place in at else next(live) for place in range(length)]


def wrong_orders(segment: Segment, burial: list[Step], killed_after: int) -> tuple[int, int]:
    """How many orders there are, and in how many a reading is wrong."""
    lives = [Scene.come, Scene.count, Scene.count, *burial[:killed_after], *burial, Scene.come, Scene.count]
    tried = wrong = 0
    for order in orders(lives, READING * 2):
        scene = Scene(segment)
        for step in order:
            step(scene)
        scene.release()
        tried, wrong = tried + 1, wrong + (not scene.is_right)
    return tried, wrong


@pytest.fixture
def segment() -> Iterator[Segment]:
    made = Segment.create(Capacities(rows=16, gauges=1, counters=1, histograms=1, addresses=16, queues=1))
    made.rows_used = ROW + 1
    yield made
    made.close()


@pytest.mark.parametrize("killed_after", range(len(BURIAL) + 1))
def test_no_total_falls_or_has_anything_twice_wherever_the_supervisor_is_killed(
    segment: Segment, killed_after: int
) -> None:
    tried, wrong = wrong_orders(segment, BURIAL, killed_after)
    assert tried >= 495
    assert wrong == 0


@pytest.mark.parametrize("fold", FOLDS)
def test_the_search_notices_a_burial_that_moves_counts(segment: Segment, fold: str) -> None:
    _, wrong = wrong_orders(segment, [*FOLDS[fold], *BURIAL], 0)
    assert wrong > 0

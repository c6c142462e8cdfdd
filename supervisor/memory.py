"""The shared memory as the supervisor holds it: which rows are taken, and what becomes of a dead process's row."""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence

from shardproxy.shm.addresses import Addresses
from shardproxy.shm.gauges import Gauges
from shardproxy.shm.layout import Capacities
from shardproxy.shm.metrics import Metrics
from shardproxy.shm.rows import Rows
from shardproxy.shm.segment import Segment
from shardproxy.shm.waiters import Waiters

SUPERVISOR_ROW = 0


class NoRow(Exception):
    """Every row of the shared memory is taken; `str()` is a plain sentence."""


class RowPool:
    """Which rows of the shared memory are taken; keeps `segment.rows_used` true.  Row 0 is the supervisor's."""

    def __init__(self, segment: Segment, taken: Iterable[int] = ()) -> None:
        self._segment = segment
        self._taken = {SUPERVISOR_ROW, *taken}

    @property
    def free(self) -> int:
        """How many more processes there can be."""
        return self._segment.capacities.rows - len(self._taken)

    def take(self) -> int:
        """The lowest free row.  Raises `NoRow`."""
        row = next((row for row in range(self._segment.capacities.rows) if row not in self._taken), None)
        if row is None:
            raise NoRow(f"all {self._segment.capacities.rows} rows of the shared memory are taken")
        self._set(self._taken | {row})
        return row

    def give_back(self, row: int) -> None:
        """`row` has been cleared and is free again."""
        self._set(self._taken - {row})

    def _set(self, taken: set[int]) -> None:
        self._taken = taken
        self._segment.rows_used = max(taken) + 1


class Memory:
    """One segment with all that the supervisor does in it.  `taken` are the rows of processes that live already.

    `bells` are the eventfds by which workers wake each other, one for each row; the living processes have them already,
    so that only a memory that nobody uses gets new ones.
    """

    def __init__(self, segment: Segment, taken: Iterable[int] = (), bells: Sequence[int] = ()) -> None:
        self.segment = segment
        self.pool = RowPool(segment, taken)
        self.rows = Rows(segment)
        self.metrics = Metrics(segment, SUPERVISOR_ROW)
        self._gauges = Gauges(segment, SUPERVISOR_ROW)
        self._addresses = Addresses(segment, SUPERVISOR_ROW)
        self.bells = tuple(bells) or _new_bells(segment.capacities.rows)
        self._waiters = Waiters(segment, SUPERVISOR_ROW, self.bells)

    @classmethod
    def create(cls, capacities: Capacities) -> Memory:
        return cls(Segment.create(capacities))

    def clear_row(self, row: int) -> None:
        """The process of `row` is dead: what it held is given back, what it counted stays, the row is free.

        Each step can be done twice, and the row is released last: if we are killed in here, whoever revives the memory
        finds the row taken and does all of it again.
        It may have been the one who was to take a free place, and what it held is free now: all who wait look again.
        """
        self._gauges.clear_row(row)
        self._addresses.clear_row(row)
        self._waiters.clear_row(row)
        self.rows.release(row)
        self.pool.give_back(row)
        self._waiters.ring_all()

    def connections(self, gauge: int, row: int) -> int:
        """What the process of `row` has counted there."""
        return self._gauges.row_value(gauge, row)

    def close(self) -> None:
        """Does nothing the second time."""
        self.segment.close()
        bells, self.bells = self.bells, ()
        self._waiters.forget_bells()
        for bell in bells:
            os.close(bell)


def _new_bells(rows: int) -> tuple[int, ...]:
    return tuple(os.eventfd(0, os.EFD_CLOEXEC | os.EFD_NONBLOCK) for _ in range(rows))

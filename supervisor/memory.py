"""The shared memory as the supervisor holds it: which rows are taken, and what becomes of a dead process's row."""

from __future__ import annotations

from collections.abc import Iterable

from shardproxy.shm.addresses import Addresses
from shardproxy.shm.gauges import Gauges
from shardproxy.shm.layout import Capacities
from shardproxy.shm.metrics import Metrics
from shardproxy.shm.rows import Rows
from shardproxy.shm.segment import Segment

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
    """One segment with all that the supervisor does in it.  `taken` are the rows of processes that live already."""

    def __init__(self, segment: Segment, taken: Iterable[int] = ()) -> None:
        self.segment = segment
        self.pool = RowPool(segment, taken)
        self.rows = Rows(segment)
        self.metrics = Metrics(segment, SUPERVISOR_ROW)
        self._gauges = Gauges(segment, SUPERVISOR_ROW)
        self._addresses = Addresses(segment, SUPERVISOR_ROW)

    @classmethod
    def create(cls, capacities: Capacities) -> Memory:
        return cls(Segment.create(capacities))

    def clear_row(self, row: int) -> None:
        """The process of `row` is dead: what it held is given back, what it counted is kept, the row is free."""
        self._gauges.clear_row(row)
        self._addresses.clear_row(row)
        self.metrics.retire_row(row)
        self.rows.release(row)
        self.pool.give_back(row)

    def connections(self, gauge: int, row: int) -> int:
        """What the process of `row` has counted there."""
        return self._gauges.row_value(gauge, row)

    def close(self) -> None:
        self.segment.close()

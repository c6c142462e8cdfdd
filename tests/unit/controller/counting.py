"""A configuration with its shared memory, and workers that count in it as real ones would."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from shardproxy.config.load import parse
from shardproxy.shm.gauges import Gauges
from shardproxy.shm.layout import Capacities
from shardproxy.shm.metrics import Metrics
from shardproxy.shm.rows import Kind, Rows, State
from shardproxy.shm.segment import Segment
from shardproxy.shm.slots import Slots
from shardproxy.shm.words import Words
from shardproxy.supervisor.catalog import assign

CAPACITIES = Capacities(rows=16, gauges=200, counters=300, histograms=20, buckets=10, words=100)


class Worker:
    """Counts in its row what a worker would."""

    def __init__(self, segment: Segment, slots: Slots, row: int) -> None:
        self.row = row
        self._slots = slots
        self._gauges = Gauges(segment, row)
        self._metrics = Metrics(segment, row)
        Rows(segment).claim(row, 1000 + row, 1, Kind.WORKER)
        Rows(segment).set_state(row, State.READY)

    def add(self, name: str, delta: int) -> None:
        self._gauges.add(self._slots.gauge(name), delta)

    def count(self, name: str, n: int = 1) -> None:
        self._metrics.count(self._slots.counter(name), n)

    def observe(self, name: str, ns: int, n: int = 1) -> None:
        for _ in range(n):
            self._metrics.observe_ns(self._slots.histogram(name), ns)


class Site:
    """What a supervisor makes of `text`; two workers, in rows 2 and 3."""

    def __init__(self, text: str) -> None:
        self.config = parse(text, "test", {})
        self.slots = Slots(CAPACITIES)
        assign(self.config, self.slots)
        self.segment = Segment.create(CAPACITIES)
        self.segment.rows_used = 8
        self.words = Words(self.segment)
        self.worker, self.other = (Worker(self.segment, self.slots, row) for row in (2, 3))

    def word(self, name: str) -> int:
        return self.words.load(self.slots.word(name))

    def set_word(self, name: str, value: int) -> None:
        self.words.store(self.slots.word(name), value)


@contextmanager
def site(text: str) -> Iterator[Site]:
    made = Site(text)
    try:
        yield made
    finally:
        made.segment.close()


class Clock:
    """A clock that the test sets."""

    def __init__(self, now: float = 1000.0) -> None:
        self.now = now

    def __call__(self) -> float:
        return self.now


def tasks() -> set[asyncio.Task[None]]:
    """All that is going on beside the test."""
    return asyncio.all_tasks() - {asyncio.current_task()}


async def until(condition: Callable[[], object]) -> None:
    async with asyncio.timeout(10):
        while not condition():
            await asyncio.sleep(0.001)

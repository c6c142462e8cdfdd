"""Real processes that count, take tokens and are killed, while rows are buried and rates change: nothing is lost."""

from __future__ import annotations

import mmap
import os
import random
import signal
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import pytest

from shardproxy.shm.buckets import Bucket, Buckets
from shardproxy.shm.keyed import KeyedBuckets
from shardproxy.shm.layout import Capacities
from shardproxy.shm.metrics import Metrics
from shardproxy.shm.rows import Kind
from shardproxy.shm.segment import Segment
from shardproxy.supervisor.memory import Memory

PATIENCE_S, SLOT, KEY = 60, 3, b"key"
WORKERS = (1, 2, 3)


@pytest.fixture
def memory() -> Iterator[Memory]:
    made = Memory.create(Capacities(rows=16, gauges=4, counters=8, histograms=2, buckets=1, key_tables=1, keys=16))
    yield made
    made.close()


class Tally:
    """Numbers that outlive whoever writes them: one for each row."""

    def __init__(self) -> None:
        self._cells = memoryview(mmap.mmap(-1, 4096)).cast("Q")

    def __getitem__(self, row: int) -> int:
        return self._cells[row]

    def add(self, row: int) -> None:
        self._cells[row] += 1

    @property
    def total(self) -> int:
        return sum(self._cells)


@contextmanager
def process(work: Callable[[], None]) -> Iterator[int]:
    """It does `work` again and again, until it is killed."""
    pid = os.fork()
    if pid == 0:
        try:
            while True:
                work()
        finally:
            os._exit(1)
    try:
        yield pid
    finally:
        os.kill(pid, signal.SIGKILL)
        _, status = os.waitpid(pid, 0)
    assert os.WTERMSIG(status) == signal.SIGKILL


def until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + PATIENCE_S
    while not condition():
        assert time.monotonic() < deadline, "what was waited for did not happen"


def test_no_reader_sees_less_than_before_while_workers_and_their_supervisor_are_killed(memory: Memory) -> None:
    """A worker comes, counts and is killed; its row is cleared by processes that are killed in the middle of that."""
    segment, counted, deaths, dice = memory.segment, Tally(), 0, random.Random(7)
    reader, seen, in_the_middle = Metrics(segment, 0), [0, 0], 0

    def look() -> None:
        for place, total in enumerate((reader.counter_total(SLOT), sum(reader.histogram_total(0)))):
            assert total >= seen[place]
            seen[place] = total

    def strikes(row: int) -> Callable[[], None]:
        metrics = Metrics(segment, row)

        def strike() -> None:
            metrics.count(SLOT)
            metrics.observe_ns(0, 5000)
            counted.add(row)

        return strike

    for _ in range(60):
        row = memory.pool.take()
        memory.rows.claim(row, 4711, 1, Kind.WORKER)
        before = counted[row]
        with process(strikes(row)):
            until(lambda: counted[row] > before)  # noqa: B023 - called at once
            for _ in range(dice.randrange(300)):
                look()
        deaths += 1
        with process(lambda: memory.clear_row(row)):  # noqa: B023 - ended before the next row
            for _ in range(dice.randrange(300)):
                look()
        in_the_middle += memory.rows.pid(row) != 0
        memory.clear_row(row)
        look()
    assert memory.segment.rows_used == 1
    assert counted.total <= reader.counter_total(SLOT) <= counted.total + deaths
    assert counted.total <= sum(reader.histogram_total(0)) <= counted.total + deaths


class Tokens:
    """What each process takes from: a bucket, or one of a table. There are more tokens than can be taken meanwhile."""

    rates, burst = (1.0, 3.0, 0.3), 16_000_000

    def __init__(self, segment: Segment, is_keyed: bool) -> None:
        self.bucket = Bucket(Buckets(segment), 0, self.rates[0], self.burst)
        self.table = KeyedBuckets(segment, 0, 16, self.rates[0], self.burst)
        self.is_keyed = is_keyed

    def take(self, cost: int = 1) -> bool:
        now = time.monotonic_ns()
        return (self.table.take(KEY, now, cost) if self.is_keyed else self.bucket.take(now, cost)) == 0

    def set_rate(self, number: int) -> None:
        rate, now = self.rates[number % len(self.rates)], time.monotonic_ns()
        self.table.set_rate(rate, now)
        self.bucket.set_rate(rate, now)

    def take_all(self) -> int:
        return sum(cost for cost in (1 << bit for bit in reversed(range(25))) if self.take(cost))


@pytest.mark.parametrize("is_keyed", [False, True])
def test_while_the_rate_changes_no_more_is_admitted_than_a_request_of_each_worker_a_change(
    memory: Memory, is_keyed: bool
) -> None:
    tokens, taken, changes, begun = Tokens(memory.segment, is_keyed), Tally(), 100, time.monotonic()

    def taker(row: int) -> Callable[[], None]:
        own = Tokens(memory.segment, is_keyed)
        return lambda: taken.add(row) if own.take() else None

    with process(taker(1)), process(taker(2)), process(taker(3)):
        until(lambda: all(taken[row] > 0 for row in WORKERS))
        for number in range(1, changes + 1):
            before = taken.total
            tokens.set_rate(number)
            until(lambda: taken.total > before)  # noqa: B023 - called at once
    assert taken.total < tokens.burst, "all was taken before the changes were over"
    admitted = taken.total + tokens.take_all()
    come = 1 + round((time.monotonic() - begun) * max(tokens.rates))
    assert tokens.burst - len(WORKERS) <= admitted <= tokens.burst + (changes + 1) * len(WORKERS) + come


def test_who_changes_a_rate_may_be_killed_anywhere(memory: Memory) -> None:
    """The rate is one of the two afterwards, and there are as many tokens as before."""
    segment, dice = memory.segment, random.Random(11)
    rates, burst = (1e-5, 1e-3), 20
    bucket, table = Bucket(Buckets(segment), 0, rates[0], burst), KeyedBuckets(segment, 0, 16, rates[0], burst)
    start = time.monotonic_ns()
    assert bucket.take(start, 15) == table.take(KEY, start, 15) == 0

    def change() -> None:
        for rate in rates:
            now = time.monotonic_ns()
            bucket.set_rate(rate, now)
            table.set_rate(rate, now)

    for _ in range(100):
        with process(change):
            for _ in range(dice.randrange(2000)):
                bucket.tokens(start)
    now = time.monotonic_ns()
    assert any(bucket.rate_per_s == pytest.approx(rate) for rate in rates)
    assert bucket.tokens(now) == pytest.approx(5, abs=0.5)
    assert table.take(KEY, now, 5) == 0
    assert table.take(KEY, now) > 0

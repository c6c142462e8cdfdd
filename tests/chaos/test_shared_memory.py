"""Real processes hammer one segment, and some of them are killed while they do."""

from __future__ import annotations

import multiprocessing
import os
import random
import signal
import time
from array import array
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from itertools import accumulate
from multiprocessing.connection import Connection
from multiprocessing.process import BaseProcess
from typing import Any

import pytest

from shardproxy.shm.buckets import Bucket, Buckets
from shardproxy.shm.gauges import Gauges
from shardproxy.shm.layout import Capacities
from shardproxy.shm.metrics import Metrics
from shardproxy.shm.rows import Kind, Rows, State
from shardproxy.shm.segment import Segment

ROWS = (1, 15, 16, 31)  # on two cache lines of a gauge, at their edges
PATIENCE_S = 60
FORK = multiprocessing.get_context("fork")
Result = Sequence[int]


@pytest.fixture
def segment() -> Iterator[Segment]:
    made = Segment.create(Capacities(rows=32, gauges=64, counters=64, histograms=4, buckets=4))
    made.rows_used = 32
    yield made
    made.close()


class Crowd:
    """One process for each of ROWS, doing `work(row)`; they begin together."""

    def __init__(self, work: Callable[[int], Result], rows: tuple[int, ...] = ROWS) -> None:
        gate = FORK.Barrier(len(rows))
        self.members: list[tuple[BaseProcess, Connection[Any, Any]]] = []
        for row in rows:
            ours, theirs = FORK.Pipe(duplex=False)
            process = FORK.Process(target=self._run, args=(gate, work, row, theirs))
            process.start()
            theirs.close()
            self.members.append((process, ours))

    @staticmethod
    def _run(gate: Any, work: Callable[[int], Result], row: int, out: Connection[Any, Any]) -> None:
        gate.wait(PATIENCE_S)
        out.send(work(row))

    def is_working(self) -> bool:
        return not all(results.poll() for _, results in self.members)

    def results(self) -> list[Result]:
        for process, results in self.members:
            assert results.poll(PATIENCE_S), f"{process.name} did not answer in {PATIENCE_S} s"
        return [results.recv() for _, results in self.members]

    def end(self) -> None:
        for process, results in self.members:
            results.close()
            process.join(1)
            if process.is_alive():
                process.kill()
            process.join(PATIENCE_S)
            process.close()


@contextmanager
def crowd(work: Callable[[int], Result], rows: tuple[int, ...] = ROWS) -> Iterator[Crowd]:
    made = Crowd(work, rows)
    try:
        yield made
    finally:
        made.end()


def until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + PATIENCE_S
    while not condition():
        assert time.monotonic() < deadline, "what was waited for did not happen"


def test_totals_are_exact_however_many_write(segment: Segment) -> None:
    def add(row: int) -> list[int]:
        gauges, metrics, dice = Gauges(segment, row), Metrics(segment, row), random.Random(row)
        net = 0
        for _ in range(150_000):
            delta = dice.choice((-2, -1, 1, 3))
            net += delta
            gauges.add(7, delta)
            gauges.add(8, 1)
            metrics.count(9, 2)
            metrics.observe_ns(1, 5000)
        return [net]

    gauges, metrics = Gauges(segment, 0), Metrics(segment, 0)
    seen = [0]
    with crowd(add) as adders:
        while adders.is_working():
            seen.append(gauges.total(8))
        nets = [result[0] for result in adders.results()]
    assert seen == sorted(seen), "a gauge that only grows was seen to shrink"
    assert gauges.total(7) == sum(nets)
    assert gauges.total(8) == 4 * 150_000
    assert metrics.counter_total(9) == 4 * 150_000 * 2
    assert sum(metrics.histogram_total(1)) == 4 * 150_000
    assert [gauges.total(6), metrics.counter_total(8), metrics.counter_total(10)] == [0, 0, 0]


@pytest.mark.parametrize("cap", [1, 5])
def test_a_cap_is_reached_but_never_exceeded(segment: Segment, cap: int) -> None:
    """Each notes from when to when it surely held a place; no more than `cap` of these may ever overlap."""

    def hold(row: int) -> array[int]:
        gauges, held, spans = Gauges(segment, row), deque[int](), array("q")
        for _ in range(120_000):
            if gauges.reserve(3, cap):
                held.append(time.monotonic_ns())
            elif held:
                spans.extend((held.popleft(), time.monotonic_ns()))
                gauges.add(3, -1)
        for since in held:
            spans.extend((since, time.monotonic_ns()))
            gauges.add(3, -1)
        return spans

    with crowd(hold) as holders:
        spans = holders.results()
    changes = sorted((ns, -1 if index % 2 else 1) for span in spans for index, ns in enumerate(span))
    assert max(accumulate(change for _, change in changes)) == cap
    gauges = Gauges(segment, 0)
    assert gauges.total(3) == 0
    assert [gauges.reserve(3, cap) for _ in range(cap + 1)] == [True] * cap + [False]


def most_over_any_window(taken_ns: list[int], rate: float) -> float:
    """The largest `tokens - rate * window` of all windows that begin and end with a token; `taken_ns` is sorted.

    Tokens i to j are j - i + 1 in t[j] - t[i], so it is the largest rise of (index - rate * time): linear, not
    quadratic.
    """
    largest, lowest = 0.0, float("inf")
    for index, ns in enumerate(taken_ns):
        level = index - rate * (ns - taken_ns[0]) / 1e9
        lowest = min(lowest, level)
        largest = max(largest, level - lowest + 1)
    return largest


@pytest.mark.parametrize(("rate", "burst"), [(500, 100), (5_000, 1_500), (100_000, 30_000)])
def test_a_bucket_gives_what_it_may_and_never_more_over_any_window(segment: Segment, rate: int, burst: int) -> None:
    def take(row: int) -> array[int]:
        bucket, taken = Bucket(Buckets(segment), 1, rate, burst), array("q")
        end_ns = time.monotonic_ns() + 1_500_000_000
        while (now_ns := time.monotonic_ns()) < end_ns:
            if bucket.take(now_ns) == 0:
                taken.append(now_ns)
        return taken

    with crowd(take) as takers:
        taken = sorted(ns for result in takers.results() for ns in result)
    assert most_over_any_window(taken, rate) <= burst + 1e-3  # what floats lose in this sum
    assert len(taken) >= 0.99 * (burst + rate * (taken[-1] - taken[0]) / 1e9)


class Hammer:
    """Uses everything at full speed as one row, and leaves one more in gauge 1 each time round."""

    def __init__(self, segment: Segment, row: int) -> None:
        self.gauges, self.metrics = Gauges(segment, row), Metrics(segment, row)
        self.bucket = Bucket(Buckets(segment), 1, 1e6, 1000)

    def strike(self) -> None:
        self.gauges.add(1, 1)
        if self.gauges.reserve(2, 3):
            self.gauges.add(2, -1)
        self.bucket.take(time.monotonic_ns())
        self.metrics.observe_ns(0, 5000)
        self.metrics.count(0, 1)


@contextmanager
def victim(segment: Segment, row: int) -> Iterator[int]:
    """A process that hammers for ever; it is killed at the end in any case."""
    pid = os.fork()
    if pid == 0:
        try:
            hammer = Hammer(segment, row)
            while True:
                hammer.strike()
        finally:
            os._exit(1)
    try:
        yield pid
    finally:
        os.kill(pid, signal.SIGKILL)
        _, status = os.waitpid(pid, 0)
    assert os.WTERMSIG(status) == signal.SIGKILL


def test_processes_killed_in_the_middle_leave_totals_exact_once_their_row_is_cleared(segment: Segment) -> None:
    rows, gauges, metrics = Rows(segment), Gauges(segment, 0), Metrics(segment, 0)
    rows.claim(0, os.getpid(), 1, Kind.SUPERVISOR)
    killings, in_the_middle = 200, 0

    def hammer_until_told(row: int) -> list[int]:
        hammer, strikes = Hammer(segment, row), 0
        while rows.state(0) is not State.DRAINING:
            hammer.strike()
            strikes += 1
        return [strikes]

    dice = random.Random(200)
    with crowd(hammer_until_told, rows=(1, 16)) as steady:
        for _ in range(killings):
            before = metrics.counter_row(0, 31)
            with victim(segment, 31):
                until(lambda: metrics.counter_row(0, 31) > before)  # noqa: B023 - called at once
                for _ in range(dice.randrange(5000)):  # up to about a millisecond, so that it dies anywhere
                    metrics.counter_row(0, 31)
            in_the_middle += gauges.row_value(1, 31) != metrics.counter_row(0, 31) - before
            gauges.clear_row(31)
            assert gauges.row_value(1, 31) == gauges.row_value(2, 31) == 0
        rows.set_state(0, State.DRAINING)
        of_the_living = sum(result[0] for result in steady.results())

    assert in_the_middle > killings // 4, "too few died in the middle of a strike for this to mean anything"
    assert gauges.total(1) == of_the_living
    assert gauges.total(2) == 0
    assert [gauges.reserve(2, 3) for _ in range(4)] == [True, True, True, False]
    assert metrics.counter_total(0) == of_the_living + metrics.counter_row(0, 31)
    assert 0 <= sum(metrics.histogram_total(0)) - metrics.counter_total(0) <= killings

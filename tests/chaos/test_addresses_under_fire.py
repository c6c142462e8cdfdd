"""Real processes share the table of addresses, are killed anywhere, and no address ever has more than its cap."""

from __future__ import annotations

import os
import random
import signal
import time
from array import array
from collections import deque
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from itertools import accumulate

import pytest

from shardproxy.shm.addresses import UNCOUNTED, Addresses
from shardproxy.shm.gauges import Gauges
from shardproxy.shm.layout import ADDRESS_WAYS, Capacities
from shardproxy.shm.rows import Kind, Rows, State
from shardproxy.shm.segment import Segment
from tests.chaos.test_shared_memory import crowd, until

STEADY_ROWS, DOOMED_ROWS = (1, 16), (15, 31)
KEYS = [bytes([number]) * 4 for number in range(ADDRESS_WAYS + 8)]
AT_ONCE = 3  # connections of one process; four processes can never fill the only set, so nobody may go uncounted
PROGRESS = 0  # the gauge that tells how far a process is


@pytest.fixture
def segment() -> Iterator[Segment]:
    """With one set, for which all addresses compete."""
    made = Segment.create(Capacities(rows=32, gauges=1, counters=1, histograms=1, buckets=1, addresses=ADDRESS_WAYS))
    made.rows_used = 32
    yield made
    made.close()


class Host:
    """Lets clients in and out as fast as it can, and notes from when to when each surely was in."""

    def __init__(self, segment: Segment, row: int, cap: int, keys: Sequence[bytes] = KEYS) -> None:
        self.addresses, self.gauges = Addresses(segment, row), Gauges(segment, row)
        self.cap, self.keys, self.dice = cap, keys, random.Random(row)
        self.inside = deque[tuple[int, int, int]]()  # ticket, number of the key, since when
        self.spans = array("q")  # number of the key, since, until
        self.uncounted = 0

    def strike(self) -> None:
        number = self.dice.randrange(len(self.keys))
        ticket = self.addresses.enter(self.keys[number], self.cap)
        if ticket >= 0:
            self.inside.append((ticket, number, time.monotonic_ns()))
        self.uncounted += ticket == UNCOUNTED
        if len(self.inside) > AT_ONCE - (ticket < 0):
            self.send_one_home()
        self.gauges.add(PROGRESS, 1)

    def send_one_home(self) -> None:
        ticket, number, since = self.inside.popleft()
        self.spans.extend((number, since, time.monotonic_ns()))
        self.addresses.leave(ticket)

    def close(self) -> array[int]:
        while self.inside:
            self.send_one_home()
        assert self.uncounted == 0, f"{self.uncounted} went uncounted though there was room"
        return self.spans


def most_at_once(spans: Sequence[Sequence[int]]) -> int:
    """The most that any address had at one time, of all processes together."""
    changes: dict[int, list[tuple[int, int]]] = {}
    for each in spans:
        for number, since, until_ns in zip(each[::3], each[1::3], each[2::3], strict=True):
            changes.setdefault(number, []).extend(((since, 1), (until_ns, -1)))
    return max(max(accumulate(change for _, change in sorted(found))) for found in changes.values())


def assert_nothing_is_left(segment: Segment, cap: int) -> None:
    addresses = Addresses(segment, 0)
    assert addresses.in_use() == 0
    assert not any(segment.part(segment.sections.address_cells))
    for key in KEYS:
        tickets = [addresses.enter(key, cap) for _ in range(cap + 1)]
        assert [ticket >= 0 for ticket in tickets] == [True] * cap + [False]
        for ticket in tickets:
            addresses.leave(ticket)


@pytest.mark.parametrize("keys", [KEYS, KEYS[:3]], ids=["entries change hands", "few addresses"])
@pytest.mark.parametrize("cap", [1, 2])
def test_the_cap_of_an_address_is_reached_but_never_exceeded(segment: Segment, cap: int, keys: Sequence[bytes]) -> None:
    def hammer(row: int) -> array[int]:
        host = Host(segment, row, cap, keys)
        for _ in range(150_000):
            host.strike()
        return host.close()

    with crowd(hammer) as hosts:
        spans = hosts.results()
    assert most_at_once(spans) == cap
    assert_nothing_is_left(segment, cap)


@contextmanager
def victim(segment: Segment, row: int, cap: int) -> Iterator[None]:
    """A process that hammers until it is killed, at the end in any case."""
    pid = os.fork()
    if pid == 0:
        try:
            host = Host(segment, row, cap)
            while True:
                host.strike()
        finally:
            os._exit(1)
    try:
        yield
    finally:
        os.kill(pid, signal.SIGKILL)
        _, status = os.waitpid(pid, 0)
    assert os.WTERMSIG(status) == signal.SIGKILL


def test_processes_killed_anywhere_leave_nothing_behind_once_their_row_is_cleared(segment: Segment) -> None:
    cap, killings = 2, 60
    rows, gauges, addresses = Rows(segment), Gauges(segment, 0), Addresses(segment, 0)
    rows.claim(0, os.getpid(), 1, Kind.SUPERVISOR)

    def hammer_until_told(row: int) -> array[int]:
        host = Host(segment, row, cap)
        while rows.state(0) is not State.DRAINING:
            host.strike()
        return host.close()

    dice, left_behind = random.Random(100), 0
    with crowd(hammer_until_told, rows=STEADY_ROWS) as steady:
        for _ in range(killings):
            with victim(segment, DOOMED_ROWS[0], cap), victim(segment, DOOMED_ROWS[1], cap):
                until(lambda: all(gauges.row_value(PROGRESS, row) > 0 for row in DOOMED_ROWS))
                for _ in range(dice.randrange(5000)):  # up to about a millisecond, so that they die anywhere
                    gauges.row_value(PROGRESS, 0)
            cells = segment.part(segment.sections.address_cells).cast("i")
            left_behind += sum(cells[row] for row in range(len(cells)) if row % 32 in DOOMED_ROWS)
            for row in DOOMED_ROWS:
                addresses.clear_row(row)
                gauges.clear_row(row)
        rows.set_state(0, State.DRAINING)
        spans = steady.results()

    assert left_behind > killings, "too little was left behind for this to mean anything"
    assert most_at_once(spans) == cap
    assert_nothing_is_left(segment, cap)

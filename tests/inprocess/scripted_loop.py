"""An event loop that does nothing by itself: a test says when time passes and when callbacks run."""

from __future__ import annotations

import heapq
import select
from collections import deque
from collections.abc import Callable
from typing import Any

from shardproxy.shm.clock import clock_ns, start_clock, stop_clock

TURN_NS = 200_000  # each turn takes so long: a turn of the worker's epoll that comes sooner would wait for more
FIRST_NS = 1_000_000_000_000
MOST_TURNS = 2_000


class Timer:
    """What `call_later` returns."""

    def __init__(self, due_ns: int, call: Callable[[], object]) -> None:
        self.due_ns = due_ns
        self.call: Callable[[], object] | None = call

    def __repr__(self) -> str:
        return f"<Timer {'cancelled' if self.call is None else self.due_ns}>"

    def cancel(self) -> None:
        self.call = None


class ScriptedLoop:
    """As much of asyncio's loop as a worker's data path uses.  While it is open the process's clock stands still."""

    def __init__(self) -> None:
        self._readers: dict[int, Callable[[], object]] = {}
        self._soon: deque[Callable[[], object]] = deque()
        self._timers: list[tuple[int, int, Timer]] = []
        self._number = 0
        self.has_memory_for_timers = True
        stop_clock(FIRST_NS)

    def __repr__(self) -> str:
        return f"<ScriptedLoop soon={len(self._soon)} timers={len(self.pending)}>"

    @property
    def pending(self) -> list[Timer]:
        """Timers that have been set and not cancelled."""
        return [timer for _, _, timer in self._timers if timer.call is not None]

    # What the data path calls --------------------------------------------------------------------------------------

    def add_reader(self, fd: int, call: Callable[[], object]) -> None:
        self._readers[fd] = call

    def call_soon(self, call: Callable[[], object]) -> None:
        self._soon.append(call)

    def call_later(self, delay_s: float, call: Callable[[], object]) -> Timer:
        if not self.has_memory_for_timers:
            raise MemoryError
        timer = Timer(clock_ns() + round(delay_s * 1e9), call)
        self._number += 1
        heapq.heappush(self._timers, (timer.due_ns, self._number, timer))
        return timer

    # What the test calls -------------------------------------------------------------------------------------------

    def settle(self) -> None:
        """Run until nothing is ready and no callback waits."""
        for _ in range(MOST_TURNS):
            if not self._turn():
                return
        raise AssertionError(f"{self!r} does not come to rest")

    def advance(self, seconds: float, tick: Callable[[], object], tick_s: float) -> None:
        """Let so much time pass: `tick` is called every `tick_s`, timers when they are due; all settles in between."""
        end = clock_ns() + round(seconds * 1e9)
        next_tick = clock_ns() + round(tick_s * 1e9)
        while (now := clock_ns()) < end:
            due = min([end, next_tick, *[timer.due_ns for timer in self.pending]])
            stop_clock(max(now, due))
            self._run_timers()
            if clock_ns() >= next_tick:
                tick()
                next_tick += round(tick_s * 1e9)
            self.settle()

    def close(self) -> None:
        start_clock()

    # Inside --------------------------------------------------------------------------------------------------------

    def _turn(self) -> bool:
        """Whether anything happened."""
        stop_clock(clock_ns() + TURN_NS)
        calls = len(self._soon)
        for _ in range(calls):
            self._soon.popleft()()
        ready = self._ready()
        for fd in ready:
            self._readers[fd]()
        return bool(calls or ready)

    def _ready(self) -> list[int]:
        poll = select.poll()
        for fd in self._readers:
            poll.register(fd, select.POLLIN)
        return [fd for fd, _ in poll.poll(0)]

    def _run_timers(self) -> None:
        while self._timers and self._timers[0][0] <= clock_ns():
            timer: Any = heapq.heappop(self._timers)[2]
            if timer.call is not None:
                timer.call()

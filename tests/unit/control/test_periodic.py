"""The timer that nothing has to arm again."""

from __future__ import annotations

import asyncio
import os
import resource
from collections.abc import Callable, Iterator

import pytest
import uvloop

from shardproxy.control.periodic import PeriodicTimer

INTERVAL_S = 0.002


@pytest.fixture(params=[asyncio.new_event_loop, uvloop.new_event_loop], ids=["asyncio", "uvloop"])
def loop(request: pytest.FixtureRequest) -> Iterator[asyncio.AbstractEventLoop]:
    make: Callable[[], asyncio.AbstractEventLoop] = request.param
    loop = make()
    yield loop
    loop.close()


class Calls:
    """Counts calls, fails at those that are asked for, and ends the loop with the last."""

    def __init__(
        self, loop: asyncio.AbstractEventLoop, last: int, failing: dict[int, BaseException] | None = None
    ) -> None:
        self.loop, self.last, self.failing = loop, last, failing or {}
        self.count = 0

    def __call__(self) -> None:
        self.count += 1
        if self.count == self.last:
            self.loop.stop()
        if self.count in self.failing:
            raise self.failing[self.count]


def open_descriptors() -> int:
    return len(os.listdir("/proc/self/fd"))  # noqa: PTH208


def test_it_calls_again_and_again_until_it_is_closed(loop: asyncio.AbstractEventLoop) -> None:
    before = open_descriptors()
    calls = Calls(loop, last=5)
    timer = PeriodicTimer(loop, INTERVAL_S, calls)
    loop.run_forever()
    assert calls.count == 5
    timer.close()
    timer.close()
    loop.run_until_complete(asyncio.sleep(10 * INTERVAL_S))
    assert calls.count == 5
    assert open_descriptors() == before


def test_a_call_that_fails_is_reported_and_does_not_end_it(loop: asyncio.AbstractEventLoop) -> None:
    reported: list[type] = []
    loop.set_exception_handler(lambda loop, context: reported.append(type(context["exception"])))
    calls = Calls(loop, last=6, failing={1: MemoryError(), 2: MemoryError(), 4: ValueError()})
    timer = PeriodicTimer(loop, INTERVAL_S, calls)
    loop.run_forever()
    timer.close()
    assert calls.count == 6
    assert reported == [MemoryError, MemoryError, ValueError]


def test_without_a_descriptor_it_says_so(loop: asyncio.AbstractEventLoop) -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (0, hard))
    try:
        with pytest.raises(OSError, match="Too many open files"):
            PeriodicTimer(loop, INTERVAL_S, loop.stop)
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))

"""Exceptions that no code can handle: in a real interpreter, by the ways in which they come about."""

from __future__ import annotations

import asyncio
import gc
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import uvloop

from shardproxy.observe import unraisable
from shardproxy.observe.log import PlainLines
from shardproxy.observe.unraisable import Lost, Reporter
from shardproxy.shm import names
from shardproxy.shm.layout import Capacities
from shardproxy.shm.metrics import Metrics
from shardproxy.shm.rows import Kind
from shardproxy.shm.segment import Segment
from shardproxy.shm.slots import Slots

ROOT = Path(__file__).parents[3]


class Clock:
    """Stands still until the test moves it on."""

    def __init__(self) -> None:
        self.now_s = 100.0

    def __call__(self) -> float:
        return self.now_s


class FailsAtItsEnd:
    def __init__(self, error: BaseException) -> None:
        self.error = error

    def __del__(self) -> None:
        raise self.error


class Counted:
    """Counts as `shm.metrics` does, and can be out of memory."""

    def __init__(self) -> None:
        self.count = 0
        self.is_broken = False

    def __call__(self) -> None:
        self.count += 1
        if self.is_broken:
            raise MemoryError


@pytest.fixture
def counted() -> Counted:
    return Counted()


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def reporter(counted: Counted, clock: Clock, monkeypatch: pytest.MonkeyPatch) -> Reporter:
    reporter = Reporter(counted, clock=clock, abort=None)
    monkeypatch.setattr(sys, "unraisablehook", reporter)
    return reporter


@pytest.fixture(params=[asyncio.new_event_loop, uvloop.new_event_loop], ids=["asyncio", "uvloop"])
def loop(request: pytest.FixtureRequest) -> Iterator[asyncio.AbstractEventLoop]:
    make: Callable[[], asyncio.AbstractEventLoop] = request.param
    loop = make()
    loop.set_exception_handler(unraisable.of_loop)
    yield loop
    loop.close()


def lines(caplog: pytest.LogCaptureFixture) -> list[str]:
    """What the log of a process would say, from the message on."""
    return [PlainLines("worker 0").format(record).partition("] ")[2] for record in caplog.records]


def fail(message: str = "of its own") -> None:
    FailsAtItsEnd(ValueError(message))


@pytest.mark.usefixtures("reporter")
def test_it_is_counted_and_logged_on_one_line_with_its_kind_and_its_places(
    counted: Counted, caplog: pytest.LogCaptureFixture
) -> None:
    fail()
    assert counted.count == 1
    (line,) = lines(caplog)
    begin = "an exception reached no code that could handle it (in FailsAtItsEnd.__del__); the process goes on: "
    assert line.startswith(begin + "ValueError: of its own (at test_unraisable.py:")
    assert line.endswith("in __del__)")


@pytest.mark.usefixtures("reporter")
def test_at_most_one_line_a_second_tells_how_many_it_stands_for(
    counted: Counted, clock: Clock, caplog: pytest.LogCaptureFixture
) -> None:
    for _ in range(5):
        fail()
    clock.now_s += 0.99
    fail()
    assert len(caplog.records) == 1
    clock.now_s += 0.01
    fail("later")
    assert counted.count == 7
    assert (
        "; since the last such line 5 more were only counted; the process goes on: ValueError: later"
        in lines(caplog)[1]
    )
    clock.now_s += 1
    fail()
    assert "more were" not in lines(caplog)[2]


@pytest.mark.usefixtures("reporter")
def test_what_fails_in_the_report_itself_is_left_out(
    counted: Counted, clock: Clock, caplog: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture[str]
) -> None:
    counted.is_broken = True
    fail()
    assert len(caplog.records) == 1, "a counter that fails does not keep the line"

    def broken_clock() -> float:
        raise MemoryError

    sys.unraisablehook = Reporter(counted, clock=broken_clock, abort=None)
    fail()
    assert counted.count == 2, "a line that fails does not keep the counter"
    assert len(caplog.records) == 1
    assert capfd.readouterr().err == ""


def test_an_exception_without_a_value_or_a_place_is_told_all_the_same(
    reporter: Reporter, caplog: pytest.LogCaptureFixture
) -> None:
    reporter(Lost(MemoryError, None, None, None, None))
    (line,) = lines(caplog)
    assert line.endswith(" handle it (in a place that is not known); the process goes on: MemoryError")


@pytest.mark.parametrize("error", [ValueError(), KeyboardInterrupt(), SystemExit(), MemoryError(), OSError(24, "full")])
def test_a_debug_build_ends_at_faults_of_the_program_but_not_at_what_the_system_refuses(
    error: BaseException, clock: Clock, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    ends: list[int] = []
    monkeypatch.setattr(sys, "unraisablehook", Reporter(lambda: None, clock=clock, abort=lambda: ends.append(1)))
    FailsAtItsEnd(OSError(24, "the line of this second"))
    FailsAtItsEnd(error)
    is_fault = not isinstance(error, (MemoryError, OSError))
    assert len(ends) == is_fault
    assert ("a debug build ends here" in lines(caplog)[-1]) is is_fault, "its line is never one of those left out"


@pytest.mark.usefixtures("reporter")
def test_a_callback_of_a_loop_that_fails_goes_the_same_way(
    loop: asyncio.AbstractEventLoop, counted: Counted, caplog: pytest.LogCaptureFixture
) -> None:
    def careless() -> None:
        raise ValueError("in a callback")

    loop.call_soon(careless)
    loop.run_until_complete(asyncio.sleep(0))
    assert counted.count == 1
    (line,) = lines(caplog)
    assert "Exception in callback" in line
    assert "ValueError: in a callback (at " in line
    assert "in careless)" in line


@pytest.mark.usefixtures("reporter")
def test_a_task_that_fails_and_that_nothing_awaits_goes_the_same_way(
    loop: asyncio.AbstractEventLoop, counted: Counted, caplog: pytest.LogCaptureFixture
) -> None:
    async def careless() -> None:
        raise ValueError("in a task")

    async def forget() -> None:
        task = asyncio.ensure_future(careless())
        await asyncio.wait([task])

    loop.run_until_complete(forget())
    gc.collect()
    assert counted.count == 1
    (line,) = lines(caplog)
    assert "(Task exception was never retrieved, in " in line
    assert "careless); the process goes on: ValueError: in a task" in line


@pytest.mark.usefixtures("reporter")
def test_a_complaint_of_a_loop_without_an_exception_is_a_line_too(
    loop: asyncio.AbstractEventLoop, counted: Counted, caplog: pytest.LogCaptureFixture
) -> None:
    loop.call_exception_handler({"message": "Task was destroyed but it is pending!"})
    assert counted.count == 1
    assert lines(caplog) == [
        "an exception reached no code that could handle it (Task was destroyed but it is pending!); the process goes on"
    ]


def test_each_kind_of_process_counts_in_its_own_row() -> None:
    segment = Segment.create(Capacities())
    try:
        slots = Slots(segment.capacities)
        segment.rows_used = 3
        for row, kind in enumerate(Kind):
            count = unraisable.counter(segment, slots, row, kind.name.lower())
            for _ in range(row + 1):
                count()
        metrics = Metrics(segment, 0)
        found = [slots.counter(names.unraisable(kind)) for kind in ("worker", "controller", "supervisor")]
        assert [metrics.counter_row(slot, row) for row, slot in enumerate(found)] == [1, 2, 3]
        assert [metrics.counter_total(slot) for slot in found] == [1, 2, 3]
    finally:
        segment.close()


def test_a_process_of_its_own_reports_what_would_have_been_a_traceback() -> None:
    program = """if True:
    from shardproxy.config.schema import Log
    from shardproxy.observe import log, unraisable
    log.setup(Log(), "worker 3")
    unraisable.install()
    class Careless:
        def __del__(self):
            raise OSError("out of order")
    Careless()
    """
    ran = subprocess.run([sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, timeout=60)
    assert ran.returncode == 0
    assert ran.stderr.count("\n") == 1
    assert "ERROR worker-3[" in ran.stderr
    assert "(in Careless.__del__); the process goes on: OSError: out of order (at <string>:8 in __del__)" in ran.stderr

"""What goes wrong inside the controller is counted and logged, and is never the end of what it does."""

from __future__ import annotations

import asyncio
import errno
import os
from collections.abc import Callable

import pytest

from shardproxy.controller.failures import AGAIN_S, LINE_EVERY_S, SHORTAGES, Failures, forever, is_shortage
from tests.unit.controller.counting import Clock


class Story:
    """Turns that go as told, a sleep that lasts as long as the test likes, and failures that are counted."""

    def __init__(self, *turns: float | BaseException) -> None:
        self.turns = list(turns)
        self.slept: list[float] = []
        self.counted = 0
        self.failures = Failures(self.count)

    def count(self) -> None:
        self.counted += 1

    async def turn(self) -> float:
        outcome = self.turns.pop(0)
        if isinstance(outcome, BaseException):
            raise outcome
        return outcome

    async def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)
        if not self.turns:
            await asyncio.Event().wait()

    def play(self, after_s: float = 0.0, again_s: float | None = None) -> list[float]:
        """Play all turns; how long each pause was."""

        async def play() -> None:
            again = {} if again_s is None else {"again_s": again_s}
            running = forever("the look", self.turn, self.failures, after_s=after_s, sleep=self.sleep, **again)
            task = asyncio.create_task(running)
            while self.turns:
                await asyncio.sleep(0)
            await asyncio.sleep(0)
            assert not task.done()
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task

        asyncio.run(play())
        return self.slept


def test_a_turn_says_when_it_wants_to_be_called_again() -> None:
    assert Story(3.0, 5.0).play(after_s=2.0) == [2.0, 3.0, 5.0]
    assert Story(1.0).play() == [0.0, 1.0]


@pytest.mark.parametrize("error", [RuntimeError("it is broken"), OSError(errno.EMFILE, "x"), asyncio.CancelledError()])
def test_a_turn_that_fails_is_counted_logged_and_tried_again(
    error: BaseException, caplog: pytest.LogCaptureFixture
) -> None:
    story = Story(error, 4.0)
    assert story.play() == [0.0, AGAIN_S, 4.0]
    assert story.counted == 1
    assert "the look failed" in caplog.text
    assert "it is tried again in 1 s" in caplog.text


def test_how_soon_it_is_tried_again_can_be_said() -> None:
    assert Story(RuntimeError(), 4.0).play(again_s=0.5) == [0.0, 0.5, 4.0]


def test_a_task_that_is_cancelled_while_it_works_ends() -> None:
    async def story() -> None:
        begun = asyncio.Event()

        async def turn() -> float:
            begun.set()
            await asyncio.sleep(3600)
            return 0.0

        counted: list[None] = []
        task = asyncio.create_task(forever("the look", turn, Failures(lambda: counted.append(None))))
        await begun.wait()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert not counted

    asyncio.run(story())


@pytest.fixture
def said(caplog: pytest.LogCaptureFixture) -> Callable[[], list[str]]:
    """The lines since the last time."""

    def lines() -> list[str]:
        found = [f"{record.levelname} {record.getMessage()}" for record in caplog.records]
        caplog.clear()
        return found

    return lines


def test_what_fails_in_one_place_has_one_line_a_minute_that_tells_how_often(said: Callable[[], list[str]]) -> None:
    clock = Clock()
    failures = Failures(clock=clock)
    for _ in range(3):
        failures.note("the look", RuntimeError("no"), "it goes on")
    assert said() == ["ERROR the look failed; it goes on"]
    clock.now += LINE_EVERY_S - 0.1
    failures.note("the look", RuntimeError("no"), "it goes on")
    assert said() == []
    clock.now += 0.1
    failures.note("the look", RuntimeError("no"), "it goes on")
    assert said() == ["ERROR the look failed; it goes on (3 more failures since the last line about it)"]
    clock.now += 10 * LINE_EVERY_S
    failures.note("the look", RuntimeError("no"), "it goes on")
    assert said() == ["ERROR the look failed; it goes on"]


def test_different_places_have_lines_of_their_own_and_the_error_is_part_of_them(
    caplog: pytest.LogCaptureFixture,
) -> None:
    failures = Failures()
    first, second = RuntimeError("one"), ValueError("two")
    failures.note("the look", first, "it goes on")
    failures.note("the check", second, "it goes on")
    assert [record.exc_info and record.exc_info[1] for record in caplog.records] == [first, second]


@pytest.mark.parametrize("number", sorted(SHORTAGES))
def test_a_shortage_has_one_line_wherever_it_is_met_with_its_reason_and_what_helps(
    number: int, said: Callable[[], list[str]]
) -> None:
    failures = Failures()
    for what in ("the check of a", "the check of b"):
        failures.note(what, OSError(number, "x"), "it goes on")
    reason = os.strerror(number)
    assert said() == [
        f"WARNING the check of a failed for want of resources ({reason}); it goes on; {SHORTAGES[number]}"
    ]


def test_every_failure_is_counted_whether_or_not_it_has_a_line() -> None:
    counted: list[None] = []
    failures = Failures(lambda: counted.append(None))
    for _ in range(5):
        failures.note("the look", RuntimeError(), "it goes on")
    assert len(counted) == 5


def test_places_that_were_quiet_for_long_are_forgotten() -> None:
    clock = Clock()
    failures = Failures(clock=clock)
    for number in range(100):
        failures.note(f"place {number}", RuntimeError(), "it goes on")
        clock.now += LINE_EVERY_S
    assert len(failures._places) <= 3


def test_only_what_this_machine_has_too_little_of_is_a_shortage() -> None:
    assert is_shortage(OSError(errno.EMFILE, "x"))
    assert not is_shortage(ConnectionRefusedError(errno.ECONNREFUSED, "x"))
    assert not is_shortage(ValueError())

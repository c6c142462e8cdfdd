from __future__ import annotations

import os
import select
import signal
import threading
from collections.abc import Iterator

import pytest

from shardproxy.supervisor.signals import STACKS, TABLE, Signals, held_back, reset_in_child


@pytest.fixture
def marks() -> Iterator[Signals]:
    with Signals() as caught:
        yield caught


def test_every_signal_of_the_design_has_an_action() -> None:
    names = {"TERM", "INT", "QUIT", "HUP", "USR1", "USR2", "TTIN", "TTOU", "CHLD"}
    assert {number.name for number in TABLE} == {f"SIG{name}" for name in names}
    assert STACKS not in TABLE


@pytest.mark.parametrize("number", TABLE, ids=lambda number: number.name)
def test_a_signal_leaves_its_mark_and_wakes_the_loop(marks: Signals, number: signal.Signals) -> None:
    os.kill(os.getpid(), number)
    assert select.select([marks], [], [], 5)[0]
    assert marks.take() == [number]


def test_marks_are_taken_once_and_in_order(marks: Signals) -> None:
    for number in (signal.SIGHUP, signal.SIGTERM, signal.SIGHUP):
        signal.raise_signal(number)
    assert marks.take() == [signal.SIGHUP, signal.SIGTERM, signal.SIGHUP]
    assert marks.take() == []


def test_a_storm_of_signals_does_no_harm(marks: Signals) -> None:
    for _ in range(50_000):
        signal.raise_signal(signal.SIGTERM)
    assert signal.SIGTERM in marks.take()


def test_afterwards_all_is_as_before() -> None:
    before = [signal.getsignal(number) for number in TABLE]
    with Signals() as caught:
        assert [signal.getsignal(number) for number in TABLE] != before
    assert [signal.getsignal(number) for number in TABLE] == before
    assert caught.fileno() == -1


def test_signals_that_are_held_back_arrive_later(marks: Signals) -> None:
    with held_back():
        signal.pthread_kill(threading.get_ident(), signal.SIGTERM)  # another test's thread must not get it
        assert marks.take() == []
    assert marks.take() == [signal.SIGTERM]


def test_a_child_ignores_what_is_for_the_supervisor_and_leaves_no_mark_there(marks: Signals) -> None:
    with held_back():
        pid = os.fork()
        if pid == 0:
            os.kill(os.getpid(), signal.SIGTERM)
            reset_in_child()
    if pid == 0:
        for number in TABLE:
            signal.raise_signal(number)
        os._exit(5)
    _, status = os.waitpid(pid, 0)
    assert os.waitstatus_to_exitcode(status) == 5
    assert [mark for mark in marks.take() if mark != signal.SIGCHLD] == []

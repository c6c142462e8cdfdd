from __future__ import annotations

import os
import signal

import pytest

from shardproxy.supervisor.children import Entries, how_it_ended
from shardproxy.supervisor.main import summary
from shardproxy.supervisor.processes import has_ended
from tests.e2e.supervised import Plan, configuration
from tests.proxykit import eventually


@pytest.mark.parametrize(
    ("status", "said"),
    [
        (0, "exit code 0"),
        (3 << 8, "exit code 3"),
        (signal.SIGSEGV, "killed by SIGSEGV"),
        (signal.SIGABRT | 0x80, "killed by SIGABRT"),
        (signal.SIGRTMIN + 3, f"killed by signal {signal.SIGRTMIN + 3}"),
    ],
)
def test_an_end_is_named_by_its_exit_code_or_its_signal(status: int, said: str) -> None:
    assert how_it_ended(status) == said


def test_by_default_the_children_are_those_of_this_package() -> None:
    assert Entries.default() == Entries("shardproxy.worker.main:serve", "shardproxy.controller.main:serve")


def test_the_summary_names_every_address() -> None:
    assert summary(configuration(Plan(80, 81, unix="/s")), 1) == (
        "1 worker, listening on 127.0.0.1:80, unix:/s; admin on http://127.0.0.1:81"
    )


def test_a_child_that_has_ended_is_reaped_once_and_one_that_lives_is_not() -> None:
    reading, writing = os.pipe()
    pid = os.fork()
    if pid == 0:
        os.read(reading, 1)
        os._exit(7)
    assert has_ended(pid) is None
    os.write(writing, b".")
    assert eventually(lambda: has_ended(pid), "the child to end") == 7 << 8
    with pytest.raises(ChildProcessError):
        has_ended(pid)
    os.close(reading)
    os.close(writing)

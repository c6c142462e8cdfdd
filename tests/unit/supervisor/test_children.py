from __future__ import annotations

import signal

import pytest

from shardproxy.supervisor.children import Entries, how_it_ended
from shardproxy.supervisor.main import summary
from tests.e2e.supervised import Plan, configuration


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

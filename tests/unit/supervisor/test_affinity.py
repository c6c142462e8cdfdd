from __future__ import annotations

import logging
import os

import pytest

from shardproxy.supervisor import affinity
from shardproxy.supervisor.affinity import Wish, assign


@pytest.mark.parametrize(
    ("workers", "cpus", "wish", "wanted"),
    [
        (2, {0, 1}, "auto", [{0}, {1}]),
        (2, {7, 3, 5}, "auto", [{3}, {5}]),
        (3, {0, 1}, "auto", [set(), set(), set()]),
        (2, {0, 1}, "none", [set(), set()]),
        (3, {0, 1, 2, 3}, [2, 3], [{2}, {3}, {2}]),
        (2, {0, 1}, [9, 1], [{1}, {1}]),
        (2, {0, 1}, [9], [set(), set()]),
        (1, set(), "auto", [set()]),
    ],
)
def test_who_may_run_where(workers: int, cpus: set[int], wish: Wish, wanted: list[set[int]]) -> None:
    assert assign(workers, cpus, wish) == wanted


def in_a_child(cpus: set[int]) -> set[int]:
    reader, writer = os.pipe()
    pid = os.fork()
    if pid == 0:
        affinity.apply(cpus)
        os.write(writer, ",".join(map(str, sorted(affinity.available()))).encode())
        os._exit(0)
    os.close(writer)
    with os.fdopen(reader) as said:
        found = {int(word) for word in said.read().split(",")}
    os.waitpid(pid, 0)
    return found


def test_a_child_stays_on_its_cpu() -> None:
    last = max(affinity.available())
    assert in_a_child({last}) == {last}


def test_a_child_without_a_cpu_of_its_own_runs_anywhere() -> None:
    assert in_a_child(set()) == affinity.available()


def test_what_the_system_refuses_is_logged_and_nothing_else(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.WARNING)
    before = affinity.available()
    affinity.apply({1023})
    assert affinity.available() == before
    assert [record.message for record in caplog.records] == ["cannot stay on CPU 1023: Invalid argument"]

"""What the supervisor tells the controller: another configuration in two steps, and what became of operations."""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path

import msgspec
import pytest

from shardproxy.config.schema import Config
from shardproxy.control.messages import Abort, Answer, Applied, Commit, Message, Prepare, Prepared, Refused
from shardproxy.control.plan import Plan
from shardproxy.controller.admin.ask import ask_stats
from shardproxy.shm.slots import Slots
from shardproxy.supervisor.catalog import assign
from tests.proxykit import eventually
from tests.unit.controller.supervising import Running, get


def test_the_last_outcome_is_in_the_stats(running: Running) -> None:
    assert ask_stats(running.url).last_operation is None
    running.supervisor.send(Answer(0, False, "reload: it is wrong"))
    eventually(lambda: ask_stats(running.url).last_operation is not None, "the news")
    last = ask_stats(running.url).last_operation
    assert last is not None
    assert (last.is_done, last.text) == (False, "reload: it is wrong")


def prepare(running: Running, version: int, config: Config, slots: Slots) -> Message | None:
    fd = Plan(version, config, slots).write()
    running.supervisor.send(Prepare(version), [fd])
    os.close(fd)
    return running.hear()


def test_a_configuration_is_shown_once_it_is_committed(running: Running, config: Config, slots: Slots) -> None:
    other = msgspec.structs.replace(config, drain_timeout=7 * 10**9)
    slots = slots.copy()
    assign(other, slots, version=2)
    assert prepare(running, 2, other, slots) == Prepared(2)
    assert get(running, "/config")[1]["drain_timeout"] != "7s"
    running.supervisor.send(Commit(2))
    assert running.hear() == Applied(2)
    assert get(running, "/config")[1]["drain_timeout"] == "7s"
    assert ask_stats(running.url).version == 2


def test_a_configuration_that_is_aborted_is_forgotten(running: Running, config: Config, slots: Slots) -> None:
    assert prepare(running, 2, config, slots) == Prepared(2)
    running.supervisor.send(Abort(2))
    running.supervisor.send(Commit(2))
    assert ask_stats(running.url).version == 1


def test_a_plan_that_cannot_be_read_is_refused(running: Running) -> None:
    fd = os.memfd_create("no-plan")
    running.supervisor.send(Prepare(2), [fd])
    os.close(fd)
    refused = running.hear()
    assert isinstance(refused, Refused)
    assert "cannot be taken over" in refused.reason


def test_a_plan_that_has_not_arrived_is_refused_with_the_likely_reason(running: Running) -> None:
    running.supervisor.send(Prepare(2))
    assert running.hear() == Refused(
        2, "controller: the configuration has not arrived; has this process too few descriptors left?"
    )


def test_a_fault_of_ours_in_reading_a_plan_is_a_refusal_and_counted(
    running: Running, config: Config, slots: Slots, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    with monkeypatch.context() as broken:
        broken.setattr("shardproxy.controller.orders.Plan.read", lambda *_: 1 // 0)
        refused = prepare(running, 2, config, slots)
    assert isinstance(refused, Refused)
    assert refused.version == 2
    assert refused.reason.startswith("controller: ZeroDivisionError: ")
    eventually(lambda: ask_stats(running.url).controller_failures == 1, "the failure to be counted")
    assert "the supervisor's message Prepare failed; the next message is read as ever" in caplog.text
    assert prepare(running, 3, config, slots) == Prepared(3)


def memory_files() -> int:
    """How many of them are open in this process."""
    found = 0
    for each in Path("/proc/self/fd").iterdir():
        with suppress(FileNotFoundError):  # closed meanwhile
            found += "memfd:" in str(each.readlink())
    return found


def test_descriptors_of_a_plan_are_closed_whatever_becomes_of_it(
    running: Running, config: Config, slots: Slots
) -> None:
    before = memory_files()
    for version in range(2, 7):
        assert prepare(running, version, config, slots) == Prepared(version)
    fd = os.memfd_create("no-plan")
    running.supervisor.send(Prepare(9), [fd, fd])
    os.close(fd)
    assert isinstance(running.hear(), Refused)
    eventually(lambda: memory_files() == before, "all descriptors to be closed")


def test_a_commit_of_another_version_is_nothing(running: Running, config: Config, slots: Slots) -> None:
    other, slots = msgspec.structs.replace(config, drain_timeout=7 * 10**9), slots.copy()
    assign(other, slots, version=2)
    assert prepare(running, 2, other, slots) == Prepared(2)
    running.supervisor.send(Commit(3))
    assert ask_stats(running.url).version == 1
    running.supervisor.send(Commit(2))
    assert running.hear() == Applied(2)
    running.supervisor.send(Commit(2))
    assert ask_stats(running.url).version == 2
    assert running.is_silent()


def test_a_supervisor_that_does_not_read_is_no_end(running: Running, caplog: pytest.LogCaptureFixture) -> None:
    """What cannot be said is left out."""
    fd = os.memfd_create("no-plan")
    for version in range(2, 400):
        running.supervisor.send(Prepare(version), [fd])
        assert get(running, "/live")[0] == 200
    os.close(fd)
    while not running.is_silent():
        running.supervisor.receive()
    assert get(running, "/live")[0] == 200

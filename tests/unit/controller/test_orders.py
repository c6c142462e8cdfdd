"""What the supervisor tells the controller: another configuration in two steps, and what became of operations."""

from __future__ import annotations

import os

import msgspec

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

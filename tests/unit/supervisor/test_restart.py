"""A hot restart: the new code proves itself, this process becomes it, its workers come up beside the former ones."""

from __future__ import annotations

import os
import signal
import sys
from pathlib import Path

import pytest

from shardproxy.config.load import load
from shardproxy.config.plain import decode
from shardproxy.control.messages import Answer, Ask, Drain
from shardproxy.supervisor import record as records
from shardproxy.supervisor.preflight import Preflight
from tests.unit.supervisor.stage import (
    SECOND,
    Executed,
    Stage,
    close,
    edit,
    names,
    record_left_behind,
    record_of,
    replaced,
    staged,
)

SERVES_ON = "restart: the old one serves on: "
RESTART = signal.SIGUSR2


# The preflight


def test_nothing_happens_before_the_preflight_is_over(restarting: Stage) -> None:
    for _ in range(19):
        restarting.pass_time(1)
    assert len(restarting.preflights) == 1
    assert not restarting.preflights[0].was_ended_by_us
    assert not any(child.everything() for child in restarting.living())


def test_a_preflight_that_fails_refuses_the_restart_with_its_reason(stage: Stage) -> None:
    controller = stage.ask("restart")
    stage.preflights[0].fails("listeners: the list is empty")
    stage.step()
    assert controller.answers() == [Answer(7, False, "the old one serves on: listeners: the list is empty")]
    assert stage.preflights[0].was_ended_by_us
    assert stage.supervisor._operations.is_idle


def test_a_preflight_that_hangs_is_ended_after_the_timeout(restarting: Stage) -> None:
    for _ in range(10):
        restarting.pass_time(1.999)
    assert not restarting.preflights[0].was_ended_by_us
    restarting.pass_time(0.01)
    assert restarting.preflights[0].was_ended_by_us
    assert restarting.said(SERVES_ON + "the new one has not proved itself in time", "ERROR")


def test_a_preflight_that_cannot_be_started_refuses_the_restart(stage: Stage) -> None:
    def fails() -> Preflight:
        raise OSError(11, "Resource temporarily unavailable")

    object.__setattr__(stage.processes, "preflight", fails)
    stage.signal(RESTART)
    assert stage.said(SERVES_ON + "the new one cannot be started: Resource temporarily unavailable")


def test_without_a_file_there_is_no_restart(stage: Stage) -> None:
    stage.home.path = None
    stage.signal(RESTART)
    assert stage.said("restart: the proxy was not started with a file", "ERROR")
    assert not stage.preflights


def test_the_preflight_is_looked_at_every_twentieth_of_a_second(restarting: Stage) -> None:
    operations = restarting.supervisor._operations
    assert operations.due_ns() == [restarting.clock.now_ns + SECOND // 50]
    restarting.pass_time(1)
    assert operations.due_ns() == [restarting.clock.now_ns + SECOND // 50]


def test_it_is_ended_when_the_proxy_stops(restarting: Stage) -> None:
    restarting.signal(signal.SIGINT)
    assert restarting.preflights[0].was_ended_by_us
    assert restarting.said("restart: the proxy is stopping")


# The replacement


def test_this_very_process_becomes_the_new_code(restarting: Stage) -> None:
    restarting.preflights[0].succeeds(load(restarting.file))
    with pytest.raises(Executed) as executed:
        restarting.step()
    assert executed.value.args == (sys.executable, sys.executable, *sys.orig_argv[1:])
    assert restarting.said("the new code is right; generation 2 takes over", "INFO")
    assert restarting.preflights[0].was_ended_by_us
    close(record_left_behind(restarting))


def test_no_signal_can_end_the_new_code_before_it_has_its_handlers(restarting: Stage) -> None:
    restarting.preflights[0].succeeds(load(restarting.file))
    with pytest.raises(Executed):
        restarting.step()
    blocked = signal.pthread_sigmask(signal.SIG_BLOCK, ())
    close(record_left_behind(restarting))
    assert {signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGUSR2} <= blocked


def test_what_is_left_behind_is_inheritable_until_it_is_found(restarting: Stage) -> None:
    restarting.preflights[0].succeeds(load(restarting.file))
    with pytest.raises(Executed):
        restarting.step()
    assert records.is_left_behind()
    listening = restarting.home.sockets.of_worker(0)["web"]
    assert listening.get_inheritable() and os.get_inheritable(restarting.home.memory.segment.fd)
    record = record_left_behind(restarting)
    assert not records.is_left_behind()
    close(record)


def test_the_record_has_all_that_must_survive(stage: Stage) -> None:
    former = load(stage.file)
    edit(stage.file, "drain_timeout: 30s", "drain_timeout: 31s")
    stage.home.edited = frozenset({"b", "a"})
    controller = stage.current("controller")
    controller.say(Ask(8, "restart"), Ask(9, "restart"))
    stage.step()
    living = [child.pid for child in stage.living()]
    record = record_of(stage)
    close(record)
    assert (record.pid, record.generation, record.version) == (os.getpid(), 2, 2)
    assert record.path == str(stage.file)
    assert (decode(record.config), decode(record.former_config)) == (load(stage.file), former)
    assert record.workers == 2
    assert record.edited == ("a", "b")
    assert record.asker == (controller.pid, 8) and record.askers() == ((controller.pid, 8), (controller.pid, 9))
    assert [child.pid for child in record.children] == living
    assert [(child.kind, child.index, child.generation) for child in record.children] == [
        ("controller", 0, 1), ("worker", 0, 1), ("worker", 1, 1)
    ]  # fmt: skip
    assert all(child.is_current for child in record.children)
    assert [address for address, _ in record.sockets] == [str(former.admin.bind), str(former.listeners[0].bind)]
    assert [len(sockets) for _, sockets in record.sockets] == [1, 2]
    assert len(record.bells) == stage.home.memory.segment.capacities.rows
    assert record.names == stage.home.slots.in_order()


def test_a_signal_asks_without_an_asker(restarting: Stage) -> None:
    record = record_of(restarting)
    close(record)
    assert record.askers() == ()
    assert record.waiting == () and record.signals == b""


def test_a_child_that_the_new_code_could_not_speak_with_ends_before(restarting: Stage) -> None:
    worker = restarting.current("worker 0")
    worker.close()
    restarting.step()
    restarting.preflights[0].succeeds(load(restarting.file))
    restarting.step()
    restarting.pass_time(2)
    assert restarting.kills() == ["worker 0 SIGKILL"]
    with pytest.raises(Executed):
        restarting.step()
    record = record_left_behind(restarting)
    close(record)
    assert worker.pid not in [child.pid for child in record.children]
    assert len(record.children) == 2


def test_after_going_back_a_worker_that_had_just_died_is_replaced_too(restarting: Stage) -> None:
    restarting.home.is_changing = True  # so that no successor comes before the new code does
    restarting.end(restarting.current("worker 0"), signal.SIGKILL)
    with replaced(restarting) as new:
        new.step()
        for _ in range(11):
            new.pass_time(1.999)
        assert names(new.workers()) == ["worker 0", "worker 1"]
        assert [post.index for post in new.home.workers] == [0, 1]
        assert new.current("worker 0").pid == 1_000_007


def test_only_those_that_live_are_told_of_as_draining(restarting: Stage) -> None:
    restarting.home.is_changing = True
    restarting.end(restarting.current("worker 0"), signal.SIGKILL)
    with replaced(restarting) as new:
        new.serve()
        assert new.said("restart: generation 2 serves; 1 former workers drain")


def test_a_child_that_does_not_end_is_not_waited_for_longer_than_the_preflight(restarting: Stage) -> None:
    worker = restarting.current("worker 0")
    worker.close()
    restarting.nobody_ends = True
    restarting.preflights[0].succeeds(load(restarting.file))
    for _ in range(9):
        restarting.pass_time(2)
    with pytest.raises(Executed):
        restarting.pass_time(2)
    record = record_left_behind(restarting)
    close(record)
    assert worker.pid not in [child.pid for child in record.children]


def test_when_the_new_code_cannot_be_executed_all_is_as_before(restarting: Stage) -> None:
    restarting.execute_fails = OSError(2, "No such file or directory")
    restarting.preflights[0].succeeds(load(restarting.file))
    restarting.step()
    assert restarting.said(SERVES_ON + "the new one cannot be executed: No such file or directory", "ERROR")
    assert not records.is_left_behind()
    assert signal.SIGTERM not in signal.pthread_sigmask(signal.SIG_BLOCK, ())
    assert not os.get_inheritable(restarting.home.memory.segment.fd)
    assert not restarting.home.sockets.of_worker(0)["web"].get_inheritable()
    restarting.signal(RESTART)
    assert len(restarting.preflights) == 2


def test_no_more_generations_drain_than_allowed(tmp_path: Path) -> None:
    with staged(tmp_path, {"drain_delay": "max_generations: 2\ndrain_delay"}) as stage:
        stage.signal(RESTART)
        with replaced(stage) as second:
            second.serve()
            second.signal(RESTART)
            with replaced(second) as third:
                third.serve()
                oldest = [child for child in third.living() if child.generation == 1]
                others = [child for child in third.living() if child.generation == 2]
                assert [len(child.told(Drain)) for child in oldest + others] == [1] * 6
                third.signal(RESTART)
                assert [child.told(Drain)[1:] for child in oldest] == [[Drain(third.clock.now_ns)]] * 3
                assert [len(child.told(Drain)) for child in others] == [1] * 3

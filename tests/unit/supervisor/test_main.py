"""The supervisor's own life: from the first fork to the last child's end, and what each signal does in each phase."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from shardproxy.control.messages import Drain, Drained, Ready, Stop
from shardproxy.shm.rows import Kind, State
from shardproxy.supervisor.main import FAILED, OK, wanted_workers
from shardproxy.supervisor.memory import SUPERVISOR_ROW
from shardproxy.supervisor.pidfile import PidFileError
from shardproxy.supervisor.requests import Request
from shardproxy.supervisor.state import Phase
from tests.unit.supervisor.stage import (
    SECOND,
    Stage,
    staged,
)

TERM, INT, QUIT = signal.SIGTERM, signal.SIGINT, signal.SIGQUIT


@pytest.fixture
def fresh(tmp_path: Path) -> Iterator[Stage]:
    with staged(tmp_path, is_serving=False) as made:
        yield made


# The start


def test_it_serves_when_every_worker_has_been_ready(fresh: Stage) -> None:
    fresh.step()
    assert fresh.phase() is Phase.STARTING
    for worker in fresh.workers():
        assert fresh.phase() is Phase.STARTING
        worker.say(Ready())
        fresh.step()
    assert fresh.phase() is Phase.SERVING
    config = fresh.home.config
    addresses = f"listening on {config.listeners[0].bind}; admin on http://{config.admin.bind}"
    assert fresh.said(f"ready: 2 workers, {addresses}", "INFO")


def test_it_gives_up_when_a_worker_ends_five_times_before_it_is_ready(fresh: Stage) -> None:
    for count in range(5):
        assert fresh.phase() is Phase.STARTING
        fresh.pass_time(2 * count)
        fresh.end(fresh.current("worker 1"), 1 << 8)
    assert fresh.said("giving up: worker 1 ended 5 times before it was ready", "CRITICAL")
    assert fresh.phase() is Phase.STOPPING
    assert fresh.current("worker 0").told(Stop) and fresh.current("controller").told(Stop)
    for child in fresh.living():
        fresh.end(child)
    assert fresh.supervisor.serve() == FAILED


def test_a_controller_that_never_gets_ready_stops_nobody(fresh: Stage) -> None:
    fresh.step()
    for worker in fresh.workers():
        worker.say(Ready())
    fresh.step()
    for _ in range(8):
        fresh.pass_time(10)
        fresh.end(fresh.current("controller"), 1 << 8)
        fresh.pass_time(10)
    assert fresh.phase() is Phase.SERVING


def test_its_own_row_says_that_it_is_there_and_beats(stage: Stage) -> None:
    rows = stage.home.memory.rows
    assert (rows.pid(SUPERVISOR_ROW), rows.kind(SUPERVISOR_ROW)) == (os.getpid(), Kind.SUPERVISOR)
    assert (rows.state(SUPERVISOR_ROW), rows.generation(SUPERVISOR_ROW)) == (State.READY, 1)
    assert rows.heartbeat(SUPERVISOR_ROW) == stage.clock.now_ns
    stage.pass_time(0.5)
    assert rows.heartbeat(SUPERVISOR_ROW) == stage.clock.now_ns


def test_its_pid_is_in_the_file_until_it_goes(tmp_path: Path) -> None:
    file = tmp_path / "pid"
    with staged(tmp_path, {"drain_delay": f"pid_file: {file}\ndrain_delay"}):
        assert file.read_text().strip() == str(os.getpid())
    assert not file.exists()


def test_without_a_place_for_the_pid_file_it_does_not_start(tmp_path: Path) -> None:
    file = tmp_path / "nowhere" / "pid"
    with (
        pytest.raises((PidFileError, OSError)),
        staged(tmp_path, {"drain_delay": f"pid_file: {file}\ndrain_delay"}, is_serving=False),
    ):
        raise AssertionError("it has begun")


# Signals


@pytest.mark.parametrize("mark", [INT, QUIT])
def test_a_stop_is_told_to_all_at_once(stage: Stage, mark: signal.Signals) -> None:
    stage.signal(mark)
    assert stage.said(f"{mark.name}: stopping at once", "INFO")
    assert stage.phase() is Phase.STOPPING
    assert [child.everything() for child in stage.living()] == [[Stop()]] * 3
    for child in stage.living():
        stage.end(child)
    assert len(stage.children) == 3
    assert stage.supervisor.serve() == OK
    assert stage.said("stopped", "INFO")


def test_a_second_stop_says_nothing_more(stage: Stage) -> None:
    stage.signal(INT, QUIT, TERM)
    assert [child.everything() for child in stage.living()] == [[Stop()]] * 3


def test_a_drain_is_announced_and_begins_after_its_delay(stage: Stage) -> None:
    began_ns = stage.clock.now_ns
    stage.signal(TERM)
    assert stage.said("SIGTERM: draining for at most 30 s", "INFO")
    assert stage.phase() is Phase.LEAVING
    assert stage.home.memory.rows.state(SUPERVISOR_ROW) is State.DRAINING
    stage.pass_time(3.9)
    assert not stage.current("worker 0").told(Drain)
    stage.pass_time(0.1)
    assert stage.phase() is Phase.DRAINING
    assert [worker.told(Drain) for worker in stage.workers()] == [[Drain(began_ns + 34 * SECOND)]] * 2
    assert not stage.current("controller").everything()


def test_without_a_delay_the_drain_begins_at_once(tmp_path: Path) -> None:
    with staged(tmp_path, {"drain_delay: 4s": "drain_delay: 0s"}) as stage:
        stage.signal(TERM)
        assert stage.phase() is Phase.DRAINING


def test_when_it_drains_the_sockets_are_left_to_the_workers(stage: Stage) -> None:
    mine = stage.home.sockets.of_worker(0)["web"]
    stage.signal(TERM)
    assert mine.fileno() >= 0
    stage.pass_time(4)
    assert mine.fileno() == -1


def test_the_controller_is_drained_when_the_last_worker_has_gone(stage: Stage) -> None:
    stage.signal(TERM)
    stage.pass_time(4)
    for worker in stage.workers():
        assert not stage.current("controller").told(Drain)
        worker.say(Drained(cut=0))
        stage.end(worker)
    controller = stage.current("controller")
    assert controller.told(Drain) == [Drain(stage.clock.now_ns + 2 * SECOND)]
    stage.step()
    assert len(controller.told(Drain)) == 1
    stage.end(controller)
    assert len(stage.children) == 3
    assert stage.supervisor.serve() == OK


def test_a_worker_that_dies_before_the_drain_begins_is_replaced_and_one_that_dies_later_is_not(stage: Stage) -> None:
    stage.signal(TERM)
    stage.end(stage.current("worker 0"), signal.SIGKILL)
    assert len(stage.children) == 4
    stage.pass_time(4)
    stage.end(stage.current("worker 0"), signal.SIGKILL)
    stage.pass_time(1)
    assert len(stage.children) == 4


def test_a_post_that_was_to_be_filled_is_not_when_the_end_has_begun(stage: Stage) -> None:
    for _ in range(2):
        stage.end(stage.current("worker 0"), 1 << 8)
    assert len(stage.children) == 4
    stage.signal(INT)
    stage.pass_time(1)
    assert len(stage.children) == 4


@pytest.mark.parametrize("delay_s", [0.0, 4.0], ids=["before the drain has begun", "while it drains"])
def test_a_second_sigterm_stops_at_once(stage: Stage, delay_s: float) -> None:
    stage.signal(TERM)
    stage.pass_time(delay_s)
    stage.signal(TERM)
    assert stage.said("SIGTERM: stopping at once")
    assert stage.phase() is Phase.STOPPING
    assert [len(child.told(Stop)) for child in stage.living()] == [1, 1, 1]
    stage.pass_time(10)
    assert stage.phase() is Phase.STOPPING


def test_a_drain_during_the_start_is_a_drain(fresh: Stage) -> None:
    fresh.step()
    fresh.signal(TERM)
    assert fresh.phase() is Phase.LEAVING


def test_what_the_admin_interface_asks_to_drain_is_drained_once(stage: Stage) -> None:
    controller = stage.ask("drain")
    assert stage.said("drain: draining for at most 30 s")
    began = stage.clock.now_ns
    stage.pass_time(1)
    stage.ask("drain", id=8)
    stage.pass_time(3)
    assert stage.workers()[0].told(Drain) == [Drain(began + 34 * SECOND)]
    assert [answer.is_done for answer in controller.answers()] == [True, True]


def test_sigchld_is_no_more_than_a_look(stage: Stage) -> None:
    before = list(stage.log)
    stage.signal(signal.SIGCHLD)
    assert stage.log == before


# Its own faults


def test_when_it_fails_itself_no_child_is_left_behind(stage: Stage) -> None:
    def fails(pid: int) -> int | None:
        if not stage.killed:
            raise RuntimeError("a fault of its own")
        return stage._has_ended(pid)

    object.__setattr__(stage.processes, "has_ended", fails)
    assert stage.supervisor.serve() == FAILED
    assert stage.said("the supervisor failed and stops everything (with traceback)", "CRITICAL")
    assert stage.phase() is Phase.STOPPING
    assert len(stage.children) == 3
    assert stage.kills() == ["controller SIGKILL", "worker 0 SIGKILL", "worker 1 SIGKILL"]
    assert stage.living() == []


def test_without_a_child_it_is_not_over_before_it_is_told_so(stage: Stage) -> None:
    stage.home.is_changing = True
    for child in stage.living():
        stage.end(child, signal.SIGKILL)
    assert stage.living() == []
    assert not stage.supervisor._is_over()


# Waiting


def test_it_never_waits_longer_than_a_second(stage: Stage) -> None:
    stage.pass_time(0)
    stage.supervisor._helm._steersman.courses = []
    assert stage.supervisor._wait_s() == 1.0


def test_it_waits_no_longer_than_until_it_has_to_steer(stage: Stage) -> None:
    stage.pass_time(0)
    (due_ns,) = stage.supervisor._helm.due_ns()
    assert stage.supervisor._wait_s() == (due_ns - stage.clock.now_ns) / 1e9 < 1.0


def test_it_waits_no_longer_than_until_a_child_must_be_killed(stage: Stage) -> None:
    stage.signal(INT)
    stage.clock.now_ns += SECOND - 1_000_000
    assert stage.supervisor._wait_s() == pytest.approx(0.001)
    stage.clock.now_ns += SECOND
    assert stage.supervisor._wait_s() == 0


def test_it_waits_no_longer_than_until_the_drain_begins(stage: Stage) -> None:
    stage.signal(TERM)
    stage.pass_time(3.9995)
    assert stage.supervisor._wait_s() <= 0.0005


# How many workers


@pytest.mark.parametrize(
    ("step", "present", "wanted"), [(1, 2, 3), (-1, 2, 1), (-1, 1, 0), (-9, 5, 1), (600, 5, 512), (1, 512, 513)]
)
def test_steps_lead_from_the_workers_that_there_are(step: int, present: int, wanted: int) -> None:
    assert wanted_workers(Request("scale", step=step), present) == wanted


def test_a_number_of_workers_is_taken_as_it_is() -> None:
    assert wanted_workers(Request("scale", workers=0, step=3), 2) == 0


# Too large workers


@pytest.fixture
def weighed(tmp_path: Path) -> Iterator[Stage]:
    """Worker 0 is said to be this process, which is larger than what is allowed."""
    with staged(tmp_path, {"drain_delay": "max_worker_rss: 16MiB\ndrain_delay"}) as stage:
        worker = stage.current("worker 0")
        assert worker.post.child is not None
        worker.pid = worker.post.child.pid = os.getpid()
        yield stage


def test_a_worker_that_is_too_large_gets_a_successor(weighed: Stage) -> None:
    worker = weighed.current("worker 0")
    weighed.pass_time(5)
    assert weighed.said(f"worker 0 (pid {os.getpid()}) has more memory than allowed", "WARNING")
    assert len(weighed.children) == 4
    weighed.all_get_ready()
    assert weighed.said("recycle: worker 0 has a successor", "INFO")
    assert weighed.current("worker 0") is weighed.children[-1]
    assert worker.told(Drain) == [Drain(weighed.clock.now_ns + 30 * SECOND, is_succeeded=True)]


def test_it_is_left_alone_while_another_operation_is_under_way(weighed: Stage) -> None:
    weighed.signal(signal.SIGUSR2)
    weighed.pass_time(5)
    assert len(weighed.children) == 3
    assert not any("memory" in line for line in weighed.log)


def test_it_waits_no_longer_than_until_it_weighs_them_again(weighed: Stage) -> None:
    weighed.pass_time(5)
    weighed.all_get_ready()
    weighed.clock.now_ns += 5 * SECOND
    assert weighed.supervisor._wait_s() == 0

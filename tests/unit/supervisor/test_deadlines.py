"""Until when a child may live on, how it is watched, and when the supervisor looks again."""

from __future__ import annotations

import signal

from shardproxy.control.messages import Drain, Drained, Stop
from shardproxy.shm.rows import State
from shardproxy.supervisor.signals import STACKS
from tests.unit.supervisor.stage import SECOND, Stage

# Which deadline holds


def test_a_worker_that_drains_has_two_seconds_beyond_its_deadline(stage: Stage) -> None:
    now_ns = stage.clock.now_ns
    worker = stage.current("worker 0")
    stage.supervisor._care.drain(worker.post, now_ns + 5 * SECOND)
    assert worker.everything() == [Drain(now_ns + 5 * SECOND, is_succeeded=False)]
    assert stage.home.memory.rows.state(worker.row) is State.DRAINING
    for _ in range(6):
        stage.pass_time(1)
    stage.pass_time(0.99)
    assert stage.kills() == []
    stage.pass_time(0.01)
    assert stage.kills() == ["worker 0 SIGKILL"]
    assert stage.said(f"worker 0 (pid {worker.pid}) is killed: it has not drained in time")


def test_the_deadline_of_a_later_drain_holds_though_it_is_later(stage: Stage) -> None:
    now_ns, post = stage.clock.now_ns, stage.current("worker 0").post
    stage.supervisor._care.drain(post, now_ns + SECOND)
    stage.supervisor._care.drain(post, now_ns + 9 * SECOND, is_succeeded=True)
    assert stage.current("worker 0").told(Drain)[-1] == Drain(now_ns + 9 * SECOND, is_succeeded=True)
    for _ in range(10):
        stage.pass_time(1)
    assert stage.kills() == []
    stage.pass_time(1)
    assert stage.kills() == ["worker 0 SIGKILL"]


def test_a_stop_does_not_put_off_an_earlier_deadline(stage: Stage) -> None:
    worker = stage.current("worker 0")
    worker.say(Drained(cut=0))
    stage.step()
    stage.pass_time(1.5)
    stage.supervisor._care.stop(worker.post, stage.clock.now_ns)
    stage.pass_time(0.5)
    assert stage.kills() == ["worker 0 SIGKILL"]


def test_a_child_that_is_told_to_stop_has_one_second(stage: Stage) -> None:
    worker = stage.current("worker 0")
    stage.supervisor._care.drain(worker.post, stage.clock.now_ns + 60 * SECOND)
    stage.supervisor._care.stop(worker.post, stage.clock.now_ns)
    assert worker.told(Stop)
    stage.pass_time(0.99)
    assert stage.kills() == []
    stage.pass_time(0.01)
    assert stage.said(f"worker 0 (pid {worker.pid}) is killed: it was told to stop and has not")


# The watchdog


def test_a_child_without_a_sign_of_life_is_asked_for_its_stacks_and_then_killed(stage: Stage) -> None:
    worker = stage.current("worker 1")
    worker.is_silent = True
    stage.pass_time(2.9)
    assert stage.killed == []
    stage.pass_time(0.1)
    assert stage.killed == [(worker.pid, STACKS)]
    text = f"worker 1 (pid {worker.pid}): no sign of life for 3.0 s; asked for its stacks"
    assert stage.said(text, "ERROR")
    stage.pass_time(1)
    assert stage.killed[1:] == [(worker.pid, signal.SIGKILL)]
    assert stage.said(f"worker 1 (pid {worker.pid}) is killed: no sign of life for 4.0 s")


def test_a_child_that_beats_again_is_left_alone(stage: Stage) -> None:
    worker = stage.current("worker 1")
    worker.is_silent = True
    stage.pass_time(3)
    worker.is_silent = False
    stage.pass_time(0.5)
    stage.pass_time(0.6)
    assert stage.killed == [(worker.pid, STACKS)]
    text = f"worker 1 (pid {worker.pid}) gives signs of life again"
    assert stage.said(text, "WARNING")


def test_a_child_whose_memory_cannot_be_read_is_not_watched(stage: Stage) -> None:
    worker = stage.current("worker 0")
    assert worker.post.child is not None
    worker.post.child.memory = None
    stage.pass_time(60)
    assert worker.pid not in {pid for pid, _ in stage.killed}
    stage.supervisor._care.drain(worker.post, stage.clock.now_ns)
    stage.end(worker)
    assert stage.current("worker 0") is not worker


# When to look again


def test_the_next_look_is_when_the_first_of_all_that_is_due_comes(stage: Stage) -> None:
    stage.pass_time(0)
    now_ns, care = stage.clock.now_ns, stage.supervisor._care
    assert set(care.due_ns()) == {now_ns + 3 * SECOND}
    care.stop(stage.current("worker 0").post, now_ns)
    assert min(care.due_ns()) == now_ns + SECOND
    assert len(care.due_ns()) == 4


def test_one_that_has_been_killed_is_not_waited_for_by_the_clock(stage: Stage) -> None:
    child = stage.current("worker 0").post.child
    assert child is not None
    child.killed = True
    assert len(stage.supervisor._care.due_ns()) == 2


def test_a_post_to_be_filled_later_is_due_then(stage: Stage) -> None:
    for _ in range(2):
        stage.end(stage.current("worker 0"), 1 << 8)
    assert stage.clock.now_ns + SECOND // 10 in stage.supervisor._care.due_ns()


def test_of_a_child_whose_memory_cannot_be_read_only_the_kill_is_due(stage: Stage) -> None:
    child = stage.current("worker 0").post.child
    assert child is not None
    child.memory = None
    assert len(stage.supervisor._care.due_ns()) == 2
    stage.supervisor._care.stop(stage.current("worker 0").post, stage.clock.now_ns)
    assert stage.clock.now_ns + SECOND in stage.supervisor._care.due_ns()



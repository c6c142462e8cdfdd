"""How the supervisor looks after its children: who is forked when, what is said to them, and who is killed why."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from shardproxy.control.messages import Drained, Ready, Reopen, Stop
from shardproxy.control.seat import Seat
from shardproxy.shm.rows import State
from shardproxy.supervisor.backoff import LONG_LIFE_NS
from shardproxy.supervisor.signals import STACKS
from tests.unit.supervisor.stage import SECOND, Stage, staged

CARE = "shardproxy.supervisor.care"


@pytest.fixture
def fresh(tmp_path: Path) -> Iterator[Stage]:
    """One that has not forked anybody yet."""
    with staged(tmp_path, is_serving=False) as made:
        yield made


def life_of(stage: Stage, child_name: str, seconds: float) -> None:
    """The child serves for so long, and then crashes."""
    stage.pass_time(seconds)
    stage.end(stage.current(child_name), signal.SIGSEGV)


# Forks


def test_every_post_is_filled_at_once(fresh: Stage) -> None:
    fresh.step()
    assert [child.name for child in fresh.children] == ["controller", "worker 0", "worker 1"]
    assert fresh.said(f"worker 1 (pid {fresh.children[2].pid}) started", "DEBUG")


def test_one_that_cannot_be_forked_is_tried_again_later_and_later(fresh: Stage) -> None:
    fresh.fork_fails = OSError(11, "Resource temporarily unavailable")
    fresh.step()
    said = "controller cannot be started: Resource temporarily unavailable; another starts"
    assert fresh.said(f"{said} at once", "ERROR")
    fresh.step()
    assert fresh.said(f"{said} in 0.1 s")
    fresh.pass_time(0.09)
    assert not fresh.said(f"{said} in 0.2 s")
    fresh.pass_time(0.01)
    assert fresh.said(f"{said} in 0.2 s")
    fresh.fork_fails = None
    fresh.pass_time(0.2)
    assert len(fresh.children) == 3


def test_without_a_row_a_child_is_not_started_and_the_reason_is_told(fresh: Stage) -> None:
    rows = fresh.home.memory.segment.capacities.rows
    taken = [fresh.home.memory.pool.take() for _ in range(rows - 2)]
    fresh.step()
    assert [child.name for child in fresh.children] == ["controller"]
    text = f"worker 0 cannot be started: all {rows} rows of the shared memory are taken; another starts at once"
    assert fresh.said(text)
    fresh.home.memory.pool.give_back(taken[0])
    fresh.step()
    assert [child.name for child in fresh.children] == ["controller", "worker 0"]


def test_nobody_is_forked_while_the_configuration_changes(stage: Stage) -> None:
    stage.home.is_changing = True
    stage.end(stage.current("worker 0"))
    assert len(stage.children) == 3
    stage.home.is_changing = False
    stage.step()
    assert len(stage.children) == 4


# Ready


def test_a_child_that_is_ready_serves_in_its_row(fresh: Stage) -> None:
    fresh.step()
    worker = fresh.children[1]
    rows = fresh.home.memory.rows
    assert rows.state(worker.row) is State.STARTING
    worker.say(Ready())
    fresh.step()
    assert rows.state(worker.row) is State.READY
    assert worker.post.child is not None and worker.post.child.ready
    assert worker.post.ever_ready
    assert fresh.said(f"worker 0 (pid {worker.pid}) is ready", "INFO")


def test_a_state_that_a_child_has_set_itself_stays(fresh: Stage) -> None:
    fresh.step()
    worker = fresh.children[1]
    fresh.home.memory.rows.set_state(worker.row, State.DRAINING)
    worker.say(Ready())
    fresh.step()
    assert fresh.home.memory.rows.state(worker.row) is State.DRAINING


def test_from_when_it_is_ready_a_child_must_beat_as_often_as_the_watchdog_says(fresh: Stage) -> None:
    fresh.step()
    worker = fresh.children[1]
    worker.is_silent = True
    fresh.clock.now_ns += 2 * SECOND
    worker.say(Ready())
    fresh.step()
    fresh.pass_time(2.9)
    assert fresh.kills() == []
    fresh.pass_time(0.1)
    assert (worker.pid, STACKS) in fresh.killed


# Death


def test_a_dead_child_is_buried_and_another_comes_at_once(stage: Stage) -> None:
    worker = stage.current("worker 0")
    stage.end(worker, signal.SIGSEGV)
    successor = stage.current("worker 0")
    assert successor is not worker and successor.row == worker.row
    text = f"worker 0 (pid {worker.pid}) ended: killed by SIGSEGV; another starts at once"
    assert stage.said(text, "ERROR")


def test_what_it_has_said_last_is_still_heard(stage: Stage) -> None:
    worker = stage.current("worker 1")
    worker.say(Drained(cut=3), Drained(cut=0))
    stage.end(worker)
    assert stage.said(f"worker 1 (pid {worker.pid}) has drained: 3 cut")
    assert stage.said(f"worker 1 (pid {worker.pid}) has drained: nothing was cut", "INFO")


def test_one_that_keeps_dying_is_replaced_ever_more_slowly(stage: Stage) -> None:
    for said in ("at once", "in 0.1 s", "in 0.2 s", "in 0.4 s"):
        worker = stage.current("worker 0")
        stage.end(worker, 1 << 8)
        assert stage.said(f"worker 0 (pid {worker.pid}) ended: exit code 1; another starts {said}")
        stage.pass_time(0.4)


def test_after_a_long_life_the_next_comes_at_once_again(stage: Stage) -> None:
    life_of(stage, "worker 0", 0.0)
    life_of(stage, "worker 0", 0.0)
    stage.pass_time(0.1)
    stage.all_get_ready()
    for _ in range(5):
        stage.pass_time(LONG_LIFE_NS / SECOND / 5)
    worker = stage.current("worker 0")
    stage.end(worker, 1 << 8)
    assert stage.said(f"worker 0 (pid {worker.pid}) ended: exit code 1; another starts at once")


def test_only_ends_before_the_first_service_count_as_early(fresh: Stage) -> None:
    fresh.step()
    first = fresh.current("worker 0")
    fresh.end(first, 1 << 8)
    assert first.post.early_ends == 1
    fresh.all_get_ready()
    fresh.end(fresh.current("worker 0"), 1 << 8)
    assert first.post.early_ends == 1


def test_its_row_is_free_again_and_its_channel_is_closed(stage: Stage) -> None:
    worker = stage.current("worker 1")
    former = worker.post.child
    assert former is not None
    stage.home.is_changing = True  # so that no successor comes
    free = stage.home.memory.pool.free
    stage.end(worker)
    assert stage.home.memory.pool.free == free + 1
    assert stage.home.memory.rows.state(worker.row) is State.GONE
    assert former.channel.fileno() == -1
    assert worker.post.child is None


# What is said to them


def test_a_child_that_closes_its_channel_is_killed_after_two_seconds(stage: Stage) -> None:
    worker = stage.current("worker 0")
    worker.close()
    stage.step()
    stage.pass_time(1.99)
    assert stage.kills() == []
    stage.pass_time(0.01)
    assert stage.kills() == ["worker 0 SIGKILL"]
    text = f"worker 0 (pid {worker.pid}) is killed: it has closed its channel and does not end"
    assert stage.said(text, "ERROR")


def test_it_is_killed_once(stage: Stage) -> None:
    stage.current("worker 0").close()
    stage.home.is_changing = True
    stage.nobody_ends = True
    for _ in range(5):
        stage.pass_time(1)
    assert stage.kills() == ["worker 0 SIGKILL"]


def test_a_child_that_has_drained_and_does_not_end_is_killed_after_two_seconds(stage: Stage) -> None:
    worker = stage.current("worker 0")
    worker.say(Drained(cut=0))
    stage.step()
    stage.pass_time(1.99)
    assert stage.kills() == []
    stage.pass_time(0.01)
    assert stage.kills() == ["worker 0 SIGKILL"]
    assert stage.said(f"worker 0 (pid {worker.pid}) is killed: it has drained and does not end")


def test_a_child_that_cannot_be_told_is_warned_of(stage: Stage) -> None:
    worker = stage.current("worker 0")
    worker.close()
    stage.marks.put_back([signal.SIGUSR1])
    stage.supervisor._act(signal.SIGUSR1)
    text = f"worker 0 (pid {worker.pid}) cannot be told to reopen: the process at the other end is gone (Broken pipe)"
    assert stage.said(text, "WARNING")


def test_all_workers_open_their_logs_anew_and_the_controller_is_left_alone(stage: Stage) -> None:
    stage.signal(signal.SIGUSR1)
    assert [worker.everything() for worker in stage.workers()] == [[Reopen()], [Reopen()]]
    assert stage.current("controller").everything() == []
    assert stage.said("the access logs are opened anew", "INFO")


def test_a_post_without_a_child_is_passed_over(stage: Stage) -> None:
    stage.home.is_changing = True
    stage.end(stage.current("worker 0"))
    stage.signal(signal.SIGUSR1)
    stage.signal(signal.SIGINT)
    assert stage.current("worker 1").everything() == [Reopen(), Stop()]


# In the child, and at the end


def test_a_child_keeps_nothing_of_the_supervisors(stage: Stage) -> None:
    home, worker = stage.home, stage.workers()[0]
    mine = home.sockets.of_worker(0)
    seat = Seat(
        kind="worker", index=0, row=worker.row, generation=1, config=home.config, segment=home.memory.segment,
        slots=home.slots, listeners=mine, channel=worker.channel,
    )  # fmt: skip
    others, sibling = home.sockets.of_worker(1)["web"], stage.workers()[1].post.child
    assert sibling is not None
    selector = stage.supervisor._selector
    stage.supervisor._care._leave(seat)
    assert [each.fileno() for each in (stage.marks, home.sockets.admin, others, sibling.channel)] == [-1] * 4
    assert mine["web"].fileno() >= 0
    with pytest.raises((RuntimeError, ValueError, KeyError)):
        selector.get_key(sibling.channel)


def test_a_post_that_leaves_goes_with_its_child(stage: Stage) -> None:
    stage.ask("scale", 1)
    (post,) = stage.home.leaving
    leaving = next(child for child in stage.living() if child.post is post)
    stage.end(leaving)
    assert stage.home.leaving == []
    assert stage.said(f"worker 1 (pid {leaving.pid}) ended: exit code 0", "INFO")


def test_an_end_without_a_successor_is_an_error_if_it_was_none_of_its_own(stage: Stage) -> None:
    stage.signal(signal.SIGINT)
    worker = stage.current("worker 0")
    stage.end(worker, 1 << 8)
    assert stage.said(f"worker 0 (pid {worker.pid}) ended: exit code 1", "ERROR")


def test_at_an_end_that_was_not_planned_all_are_killed_and_buried(stage: Stage) -> None:
    stage.supervisor._care.leave_nobody()
    assert stage.kills() == ["controller SIGKILL", "worker 0 SIGKILL", "worker 1 SIGKILL"]
    assert stage.living() == []

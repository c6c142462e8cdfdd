"""More workers, fewer, and one in the place of another."""

from __future__ import annotations

import os
import signal
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from shardproxy.control.messages import Answer, Drain, Released, Stop
from shardproxy.supervisor.recycle import Recycle, Scales, rss
from shardproxy.supervisor.requests import Request
from shardproxy.supervisor.scale import Scale
from shardproxy.supervisor.state import Post
from tests.unit.supervisor.scripts import Script
from tests.unit.supervisor.stage import SECOND, Stage, staged


@pytest.fixture
def stage(tmp_path: Path) -> Iterator[Stage]:
    with staged(tmp_path, workers=3) as started:
        yield started


def answer(stage: Stage) -> Answer:
    (said,) = stage.current("controller").answers()
    return said


def names(children: list[Script]) -> list[str]:
    return [child.name for child in children]


# More


def test_each_new_worker_has_a_socket_of_its_own(stage: Stage) -> None:
    stage.ask("scale", 5)
    assert names(stage.workers()) == ["worker 0", "worker 1", "worker 2", "worker 3", "worker 4"]
    assert len(stage.home.sockets.groups()["web"].sockets) == 5
    assert stage.home.memory.segment.workers_wanted == 5


def test_it_is_done_when_all_that_come_are_ready(stage: Stage) -> None:
    stage.ask("scale", 5)
    stage.step()
    assert stage.current("controller").answers() == []
    stage.all_get_ready()
    stage.step()
    assert answer(stage) == Answer(7, True, "5 workers")


def test_new_workers_that_never_get_ready_do_not_come(stage: Stage) -> None:
    stage.ask("scale", 5)
    stage.step()
    for _ in range(5):
        stage.end(stage.current("worker 4"), 1 << 8)
        stage.pass_time(1.6)
    assert answer(stage) == Answer(7, False, "a new worker ended 5 times before it was ready; the log says why")
    other = next(child for child in stage.living() if child.name == "worker 3")
    assert other.told(Stop)
    assert names(stage.workers()) == ["worker 0", "worker 1", "worker 2"]
    assert len(stage.home.sockets.groups()["web"].sockets) == 3


def test_new_workers_that_are_not_ready_after_twenty_seconds_do_not_come(stage: Stage) -> None:
    stage.ask("scale", 4)
    stage.step()
    for _ in range(9):
        stage.pass_time(2.2)
    assert stage.current("controller").answers() == []
    stage.pass_time(0.2)
    assert answer(stage) == Answer(7, False, "after 20 s not all workers have come or gone")
    assert len(stage.home.workers) == 3
    assert stage.children[-1].told(Stop)


def test_one_that_was_ready_and_died_has_come(stage: Stage) -> None:
    stage.ask("scale", 4)
    stage.step()
    stage.all_get_ready()
    stage.end(stage.current("worker 3"), signal.SIGKILL)
    assert answer(stage).is_done


@pytest.mark.parametrize("number", [0, 513])
def test_there_are_one_to_512_workers(number: int, stage: Stage) -> None:
    stage.ask("scale", number)
    assert answer(stage) == Answer(7, False, f"there can be 1 to 512 workers, not {number}")


def test_there_are_as_many_workers_as_there_are_rows(stage: Stage) -> None:
    free = stage.home.memory.pool.free
    stage.ask("scale", 3 + free)
    text = f"the shared memory has rows for {3 + free - 1} workers; restart for more"
    assert answer(stage) == Answer(7, False, text)
    stage.ask("scale", 3 + free - 1)
    assert len(stage.home.workers) == 3 + free - 1


def test_without_a_socket_for_another_worker_there_is_none(stage: Stage) -> None:
    group = stage.home.sockets.groups()["web"]
    with socket.create_server(("127.0.0.1", 0)) as taken:
        group.address = type(group.address)("127.0.0.1", taken.getsockname()[1])
        stage.ask("scale", 4)
    assert not answer(stage).is_done
    assert "cannot have a socket for another worker: another process is listening there" in answer(stage).text
    assert len(stage.home.workers) == 3


# Fewer


def test_the_last_workers_get_no_new_connections_before_they_drain(stage: Stage) -> None:
    stage.ask("scale", 1)
    began_ns = stage.clock.now_ns
    leaving = [child for child in stage.living() if child.name in ("worker 1", "worker 2")]
    assert names(stage.workers()) == ["worker 0"]
    stage.pass_time(0.199)
    assert not any(child.told(Drain) for child in leaving)
    stage.pass_time(0.001)
    deadline_ns = began_ns + SECOND // 5 + 30 * SECOND
    assert [child.told(Drain) for child in leaving] == [[Drain(deadline_ns)]] * 2
    assert not stage.current("worker 0").told(Drain)


def test_our_sockets_of_a_worker_that_leaves_are_closed_when_it_has_let_go_of_its_own(stage: Stage) -> None:
    mine = stage.home.sockets.of_worker(2)["web"]
    stage.ask("scale", 1)
    stage.pass_time(0.2)
    leaving = [child for child in stage.living() if child.name in ("worker 1", "worker 2")]
    for child in leaving:
        assert mine.fileno() >= 0
        child.say(Released())
        stage.step()
    assert mine.fileno() == -1
    assert answer(stage) == Answer(7, True, "1 worker")


def test_a_worker_that_dies_has_let_go_too_and_has_no_successor(stage: Stage) -> None:
    stage.ask("scale", 2)
    stage.pass_time(0.2)
    stage.end(next(child for child in stage.living() if child.name == "worker 2"), signal.SIGKILL)
    assert answer(stage) == Answer(7, True, "2 workers")
    assert len(stage.children) == 4


def test_other_messages_are_no_sign_that_it_has_let_go(stage: Stage) -> None:
    stage.ask("scale", 2)
    stage.pass_time(0.2)
    stage.current("worker 0").say(Released())
    stage.step()
    assert stage.current("controller").answers() == []


def test_one_that_does_not_let_go_is_waited_for_twenty_seconds(stage: Stage) -> None:
    stage.ask("scale", 2)
    for _ in range(9):
        stage.pass_time(2.2)
    stage.pass_time(0.2)
    assert answer(stage) == Answer(7, False, "after 20 s not all workers have come or gone")
    assert len(stage.home.workers) == 2


def test_a_worker_that_was_dead_already_is_not_waited_for(stage: Stage) -> None:
    for _ in range(2):
        stage.end(stage.current("worker 2"), 1 << 8)
    stage.ask("scale", 2)
    stage.pass_time(0.2)
    assert answer(stage) == Answer(7, True, "2 workers")


def test_it_wants_to_be_asked_again_when_the_kernel_has_settled_and_then_at_the_end(stage: Stage) -> None:
    operations, began_ns = stage.supervisor._operations, stage.clock.now_ns
    stage.ask("scale", 2)
    assert operations.due_ns() == [began_ns + SECOND // 5]
    stage.pass_time(0.2)
    assert operations.due_ns() == [began_ns + 20 * SECOND]


def test_as_many_as_there_are_is_done_at_once(stage: Stage) -> None:
    stage.ask("scale", 3)
    assert answer(stage) == Answer(7, True, "3 workers")


def test_whoever_leaves_leaves_though_the_proxy_stops(stage: Stage) -> None:
    stage.ask("scale", 2)
    stage.signal(signal.SIGTERM)
    assert len(stage.home.workers) == 2
    assert answer(stage) == Answer(7, False, "the proxy is draining")


def test_it_says_what_it_waits_for(stage: Stage) -> None:
    scale = Scale(stage.home, stage.supervisor._care, stage.supervisor._herald, 4)
    assert repr(scale) == "<Scale to=4 coming=0 leaving=0>"


# One in the place of another


@pytest.fixture
def recycling(stage: Stage) -> Stage:
    """Worker 1 gets a successor."""
    stage.supervisor._operations.ask(Request("recycle", subject=stage.current("worker 1").post))
    stage.step()
    stage.step()
    return stage


def test_the_successor_serves_on_the_same_sockets_before_the_former_worker_drains(recycling: Stage) -> None:
    former, successor = recycling.children[2], recycling.children[4]
    assert (successor.name, successor.post.index) == ("worker 1", 1)
    assert not former.told(Drain)
    recycling.all_get_ready()
    assert former.told(Drain) == [Drain(recycling.clock.now_ns + 30 * SECOND, is_succeeded=True)]
    assert recycling.said("recycle: worker 1 has a successor", "INFO")
    assert names(recycling.workers()) == ["worker 0", "worker 1", "worker 2"]
    assert recycling.current("worker 1") is successor
    recycling.end(former)
    recycling.pass_time(1)
    assert len(recycling.children) == 5


@pytest.mark.parametrize("how", ["slow", "dead"])
def test_without_a_successor_that_gets_ready_the_former_worker_stays(how: str, recycling: Stage) -> None:
    former = recycling.children[2]
    if how == "slow":
        for _ in range(9):
            recycling.pass_time(2.2)
        assert not recycling.said(f"recycle: a successor of {former.post} does not get ready; it stays")
        recycling.pass_time(0.2)
    else:
        for _ in range(5):
            recycling.end(recycling.current("worker 1"), 1 << 8)
            recycling.pass_time(1.6)
    assert recycling.said(f"recycle: a successor of worker 1 (pid {former.pid}) does not get ready; it stays", "ERROR")
    assert recycling.current("worker 1") is former
    assert former.post not in recycling.home.leaving
    assert not former.told(Drain)
    if how == "slow":
        assert recycling.children[4].told(Stop)
    assert names(recycling.workers()) == ["worker 0", "worker 1", "worker 2"]
    recycling.end(former, signal.SIGKILL)
    recycling.pass_time(0.2)
    assert recycling.current("worker 1").post is former.post


def test_a_worker_that_has_gone_meanwhile_needs_no_successor(stage: Stage) -> None:
    post = stage.current("worker 1").post
    for _ in range(2):
        stage.end(stage.current("worker 1"), 1 << 8)
    assert post.child is None
    assert Recycle(stage.home, stage.supervisor._care, post).begin(0) == (True, "worker 1 has gone by itself", False)
    other = Post("worker", 1, stage.current("worker 0").post.child)
    assert Recycle(stage.home, stage.supervisor._care, other).begin(0) is not None


def test_while_the_proxy_stops_both_are_stopped(recycling: Stage) -> None:
    recycling.signal(signal.SIGINT)
    assert recycling.children[2].told(Stop) and recycling.children[4].told(Stop)


def test_it_waits_for_the_successor_for_twenty_seconds(recycling: Stage) -> None:
    assert recycling.supervisor._operations.due_ns() == [recycling.clock.now_ns + 20 * SECOND]


# Weighing


def test_the_size_of_a_process_is_what_it_has_resident() -> None:
    resident = int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")
    assert rss(os.getpid()) == pytest.approx(resident, rel=0.2)
    assert rss(2**22 + 1) == 0


def test_workers_are_weighed_every_five_seconds(tmp_path: Path) -> None:
    with staged(tmp_path, {"drain_delay": "max_worker_rss: 16MiB\ndrain_delay"}) as stage:
        scales = Scales(stage.home)
        worker, other = stage.workers()
        assert worker.post.child is not None and other.post.child is not None
        worker.post.child.pid = other.post.child.pid = os.getpid()
        other.post.child.ready = False
        assert scales.due_ns() == [0]
        assert scales.too_heavy(100 * SECOND) == [worker.post]
        assert scales.due_ns() == [105 * SECOND]
        assert scales.too_heavy(105 * SECOND - 1) == []
        assert scales.too_heavy(105 * SECOND) == [worker.post]
        worker.post.child.pid, other.post.child.pid = worker.pid, other.pid


def test_without_a_limit_nobody_is_weighed(stage: Stage) -> None:
    scales = Scales(stage.home)
    assert scales.due_ns() == []
    assert scales.too_heavy(100 * SECOND) == []

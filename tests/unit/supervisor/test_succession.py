"""After the code was replaced: the new generation comes up beside the former one, which drains or serves on."""

from __future__ import annotations

import signal
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from shardproxy.control.messages import Drain, Ready, Stop
from shardproxy.supervisor.state import Phase
from tests.e2e.supervised import free_ports
from tests.unit.supervisor.scripts import Script
from tests.unit.supervisor.stage import SECOND, Stage, add_a_listener, edit, former, names, replaced, staged

SERVES_ON = "restart: the old one serves on: "
RESTART = signal.SIGUSR2


# The new generation


@pytest.fixture
def succeeding(restarting: Stage) -> Iterator[Stage]:
    """The new code, whose children have just been forked."""
    with replaced(restarting) as new:
        new.step()
        yield new


def newcomers(stage: Stage) -> list[Script]:
    return [child for child in stage.living() if child.generation == 2]


def test_the_new_workers_come_up_beside_the_former_on_the_same_sockets(succeeding: Stage) -> None:
    assert names(newcomers(succeeding)) == ["controller", "worker 0", "worker 1"]
    assert len({child.row for child in succeeding.living()}) == 6
    assert not any(child.told(Drain) for child in former(succeeding))
    assert succeeding.phase() is Phase.SERVING
    assert (succeeding.home.generation, succeeding.home.version) == (2, 2)
    assert not succeeding.supervisor._operations.is_idle


def test_the_former_serve_as_before_and_are_known_as_those_that_were_ready(succeeding: Stage) -> None:
    for child in former(succeeding):
        assert child.post.child is not None
        known = next(living for _, living in succeeding.home.filled() if living.pid == child.pid)
        post = next(post for post, living in succeeding.home.filled() if living.pid == child.pid)
        assert (known.ready, known.killed, known.doom, known.generation) == (True, False, None, 1)
        assert (known.row, known.born_ns, known.memory) == (child.row, 10**18, succeeding.home.memory)
        assert (post.kind, post.index) == (child.post.kind, child.post.index)
        assert (post.ever_ready, post.fork_at_ns) == (True, None)


def test_only_when_all_new_ones_are_ready_the_former_drain(succeeding: Stage) -> None:
    for child in newcomers(succeeding):
        assert not any(each.told(Drain) for each in former(succeeding))
        child.say(Ready())
        succeeding.step()
    deadline_ns = succeeding.clock.now_ns + 30 * SECOND
    assert [child.told(Drain) for child in former(succeeding)] == [[Drain(deadline_ns, is_succeeded=True)]] * 3
    assert succeeding.said("restart: generation 2 serves; 2 former workers drain", "INFO")
    assert succeeding.supervisor._operations.is_idle


def test_the_former_have_no_successors(succeeding: Stage) -> None:
    succeeding.all_get_ready()
    for child in former(succeeding):
        succeeding.end(child)
    succeeding.pass_time(1)
    assert len(succeeding.children) == 6


def test_one_that_was_ready_and_died_before_the_others_is_waited_for_again(succeeding: Stage) -> None:
    first, second, third = newcomers(succeeding)
    second.say(Ready())
    succeeding.step()
    succeeding.home.is_changing = True
    succeeding.end(second, signal.SIGKILL)
    first.say(Ready())
    third.say(Ready())
    succeeding.step()
    assert not any(child.told(Drain) for child in former(succeeding))
    succeeding.home.is_changing = False
    succeeding.step()
    succeeding.step()
    assert all(child.told(Drain) for child in former(succeeding))


def test_going_back_ends_every_new_child_and_the_former_serve_on(succeeding: Stage) -> None:
    old = former(succeeding)
    for _ in range(10):
        succeeding.pass_time(1.999)
    assert not any(child.told(Stop) for child in newcomers(succeeding))
    succeeding.pass_time(0.01)
    assert succeeding.said(SERVES_ON + "the new workers were not ready in time", "ERROR")
    assert all(child.told(Stop) for child in newcomers(succeeding))
    assert not any(child.told(Stop) or child.told(Drain) for child in old)
    assert [succeeding.current(name) for name in ("controller", "worker 0", "worker 1")] == old
    for child in newcomers(succeeding):
        succeeding.end(child)
    succeeding.pass_time(1)
    assert len(succeeding.children) == 6
    assert succeeding.home.version == 1


def test_after_going_back_a_former_worker_that_dies_is_replaced_again(succeeding: Stage) -> None:
    dead = former(succeeding)[1]
    succeeding.end(dead, signal.SIGKILL)
    for _ in range(11):
        succeeding.pass_time(1.999)
    successor = succeeding.current("worker 0")
    assert successor.pid > 1_000_006
    succeeding.end(former(succeeding)[1], signal.SIGKILL)
    assert succeeding.current("worker 1").pid > successor.pid


def test_new_workers_that_keep_dying_end_the_restart(succeeding: Stage) -> None:
    for _ in range(5):
        succeeding.end(succeeding.current("worker 1"), 1 << 8)
        succeeding.pass_time(1.6)
    assert succeeding.said(SERVES_ON + "the new worker 1 ended 5 times before it was ready")
    assert not any(child.told(Drain) for child in former(succeeding))


def test_while_it_is_under_way_a_stop_is_for_both_generations(succeeding: Stage) -> None:
    everybody = succeeding.living()
    succeeding.signal(signal.SIGINT)
    assert [len(child.told(Stop)) for child in everybody] == [1] * 6


def test_it_wants_to_be_asked_again_when_its_time_is_up(succeeding: Stage) -> None:
    assert succeeding.supervisor._operations.due_ns() == [succeeding.clock.now_ns + 20 * SECOND]


def test_those_that_were_draining_already_drain_on_for_a_while_and_are_killed_then(stage: Stage) -> None:
    stage.signal(signal.SIGTTOU)
    stage.pass_time(0.2)
    draining = next(child for child in stage.living() if child.told(Drain))
    draining.say()
    for _ in range(10):
        stage.pass_time(2)
    stage.signal(RESTART)
    with replaced(stage) as new:
        new.serve()
        assert len(draining.told(Drain)) == 1
        for _ in range(16):
            new.pass_time(1.99)
        assert new.kills() == []
        new.pass_time(0.2)
        assert f"{draining.name} SIGKILL" in new.kills()
        assert new.said(f"{draining.name} (pid {draining.pid}) is killed: it has not drained in time")


# With another file


def test_a_new_listener_is_the_new_generation_s_alone(restarting: Stage) -> None:
    port = add_a_listener(restarting.file)
    with replaced(restarting) as new:
        assert set(new.home.sockets.of_worker(0, new.home.change)) == {"web", "second"}
        assert set(new.home.sockets.groups()) == {"web"}
        new.serve()
        assert set(new.home.sockets.groups()) == {"web", "second"}
        assert new.home.change is None
        with socket.create_connection(("127.0.0.1", port)):
            pass


def test_going_back_gives_up_the_new_listener(restarting: Stage) -> None:
    port = add_a_listener(restarting.file)
    former_config = restarting.home.config
    with replaced(restarting) as new:
        new.step()
        for _ in range(11):
            new.pass_time(1.999)
        assert new.home.change is None
        assert new.home.config == former_config
        with pytest.raises(ConnectionRefusedError):
            socket.create_connection(("127.0.0.1", port)).close()


def test_a_new_listener_whose_address_is_taken_sends_it_back_at_once(restarting: Stage) -> None:
    port = add_a_listener(restarting.file)
    with socket.create_server(("127.0.0.1", port)), replaced(restarting) as new:
        text = f"listener second cannot listen on 127.0.0.1:{port}: another process is listening there"
        assert new.said(SERVES_ON + text)
        new.step()
        assert len(new.children) == 3
        assert names(new.workers()) == ["worker 0", "worker 1"]


def test_the_queue_of_a_listener_that_is_gone_is_emptied_by_its_workers(tmp_path: Path) -> None:
    with staged(tmp_path) as stage:
        text = stage.file.read_text().splitlines(keepends=True)
        (port,) = free_ports(1)
        other = f"  - {{name: other, bind: 127.0.0.1:{port}, routes: [{{match: {{prefix: /}}, cluster: app}}]}}\n"
        stage.file.write_text("".join(other if "name: web" in line else line for line in text))
        stage.signal(RESTART)
        with replaced(stage) as new:
            new.serve()
            assert [child.told(Drain)[0].is_succeeded for child in former(new)] == [False] * 3


@pytest.mark.parametrize(("wanted", "born"), [(4, 4), (1, 2)])
def test_another_number_of_workers_is_reached_without_a_gap(wanted: int, born: int, restarting: Stage) -> None:
    edit(restarting.file, "workers: 2", f"workers: {wanted}")
    with replaced(restarting) as new:
        new.step()
        assert len(new.workers()) == born
        assert len(new.home.sockets.groups()["web"].sockets) == born
        new.all_get_ready()
        new.pass_time(0.2)
        assert len(new.workers()) == wanted
        assert new.said("scale begins") == (wanted < born)


def test_going_back_has_the_former_number_of_sockets(restarting: Stage) -> None:
    edit(restarting.file, "workers: 2", "workers: 4")
    with replaced(restarting) as new:
        new.step()
        for _ in range(11):
            new.pass_time(1.999)
        assert len(new.home.sockets.groups()["web"].sockets) == 2

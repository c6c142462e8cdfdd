"""Which groups of sockets are steered, and who counts with what."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from shardproxy.control.messages import Applied, Commit, Prepare, Prepared
from shardproxy.shm import names
from shardproxy.shm.gauges import Gauges
from shardproxy.shm.metrics import Metrics
from shardproxy.supervisor.helm import Helm
from tests.e2e.supervised import free_ports
from tests.unit.supervisor.scripts import Script
from tests.unit.supervisor.stage import SECOND, Stage, edit, replaced, staged

SECOND_LISTENER = "  - {name: second, bind: 127.0.0.1:%d, routes: [{match: {prefix: /}, cluster: app}]}\n"


@pytest.fixture
def helm(stage: Stage) -> Iterator[Helm]:
    made = Helm(stage.home)
    made.turn(stage.clock.now_ns)
    yield made
    made.close()


def hold(stage: Stage, child: Script, connections: int) -> None:
    gauge = stage.home.slots.gauge(names.listener_connections("web"))
    Gauges(stage.home.memory.segment, child.row).add(gauge, connections)


def counts(stage: Stage, helm: Helm) -> list[int | None]:
    return helm._counts(stage.home.slots.gauge(names.listener_connections("web")))


def reload(stage: Stage, version: int = 2) -> None:
    stage.signal(signal.SIGHUP)
    for kind, answer in ((Prepare, Prepared), (Commit, Applied)):
        for child in stage.living():
            assert child.told(kind)
            child.say(answer(version))
        stage.step()


# Who counts with what


def test_each_worker_counts_with_the_connections_in_its_row(stage: Stage, helm: Helm) -> None:
    for number, worker in enumerate(stage.workers()):
        hold(stage, worker, 3 + number)
    hold(stage, stage.current("controller"), 99)
    assert counts(stage, helm) == [3, 4]


def test_one_that_is_not_ready_draining_killed_or_gone_gets_nothing(stage: Stage, helm: Helm) -> None:
    first, second = (worker.post.child for worker in stage.workers())
    assert first is not None and second is not None
    first.ready = False
    assert counts(stage, helm) == [None, 0]
    first.ready, first.killed = True, True
    assert counts(stage, helm) == [None, 0]
    first.killed, first.doom = False, (0, "it drains")
    assert counts(stage, helm) == [None, 0]
    first.doom = None
    assert counts(stage, helm) == [0, 0]
    stage.home.is_changing = True
    stage.end(stage.workers()[1], signal.SIGKILL)
    assert counts(stage, helm) == [0, None]


def test_in_a_hot_restart_both_workers_of_a_socket_count(stage: Stage) -> None:
    hold(stage, stage.workers()[1], 5)
    stage.signal(signal.SIGUSR2)
    with replaced(stage) as new:
        new.step()
        helm = Helm(new.home)
        former = [child for child in new.living() if child.generation == 1]
        assert counts(new, helm) == [0, 5]
        for child in new.living():
            if child.generation == 2 and child.post.child is not None:
                child.post.child.ready = True
        hold(new, new.workers()[1], 2)
        assert counts(new, helm) == [0, 7]
        assert former[0].post.child is not None
        for child in former:
            if child.post.child is not None:
                child.post.child.doom = (0, "it drains")
        assert counts(new, helm)[0] == 0


def test_one_beyond_the_workers_that_are_wanted_counts_with_nobody(stage: Stage, helm: Helm) -> None:
    stage.ask("scale", 1)
    assert counts(stage, helm) == [0]


def test_what_all_have_ever_accepted_is_the_sum_of_their_rows(stage: Stage, helm: Helm) -> None:
    counter = stage.home.slots.counter(names.listener_accepted("web"))
    for worker in stage.workers():
        Metrics(stage.home.memory.segment, worker.row).count(counter, 4)
    assert helm._accepted(counter) == 8


# When


def test_it_looks_again_at_once_when_somebody_comes_or_goes(stage: Stage, helm: Helm) -> None:
    assert helm.due_ns()[0] > stage.clock.now_ns
    later_ns = helm.due_ns()[0] - 1
    helm.turn(later_ns)
    assert helm.due_ns()[0] == later_ns + 1
    child = stage.workers()[0].post.child
    assert child is not None
    child.doom = (0, "it drains")
    helm.turn(later_ns)
    assert helm.due_ns()[0] > later_ns + 1


def test_nothing_is_due_where_nothing_is_steered(tmp_path: Path) -> None:
    with staged(tmp_path, {"drain_delay": "steering: false\ndrain_delay"}) as stage:
        helm = Helm(stage.home)
        helm.turn(stage.clock.now_ns)
        assert helm.due_ns() == []


def test_the_supervisor_steers_while_it_serves_and_until_it_drains(stage: Stage) -> None:
    steersman = stage.supervisor._helm._steersman
    seen = []
    steersman.steer = lambda now_ns, clock=None: seen.append(now_ns)  # type: ignore[method-assign]
    stage.pass_time(1)
    stage.signal(signal.SIGTERM)
    assert len(seen) == 2
    stage.pass_time(4)
    stage.pass_time(1)
    assert len(seen) == 2


# Which groups


def test_a_new_listener_is_steered_and_one_that_stays_is_steered_on_as_it_is(stage: Stage, helm: Helm) -> None:
    _, course = helm._courses["web"]
    edit(stage.file, "clusters:\n", SECOND_LISTENER % free_ports(1)[0] + "clusters:\n")
    reload(stage)
    helm.turn(stage.clock.now_ns)
    assert set(helm._courses) == {"web", "second"}
    assert helm._courses["web"][1] is course
    assert len(helm._steersman.courses) == 2


def test_a_listener_that_is_gone_is_steered_no_more(stage: Stage, helm: Helm) -> None:
    edit(stage.file, "clusters:\n", SECOND_LISTENER % free_ports(1)[0] + "clusters:\n")
    reload(stage)
    helm.turn(stage.clock.now_ns)
    text = stage.file.read_text().splitlines(keepends=True)
    stage.file.write_text("".join(line for line in text if "second" not in line))
    reload(stage, 3)
    helm.turn(stage.clock.now_ns)
    assert set(helm._courses) == {"web"}
    assert len(helm._steersman.courses) == 1


def test_when_the_file_says_so_the_kernel_chooses_by_itself_again(stage: Stage, helm: Helm) -> None:
    _, course = helm._courses["web"]
    seen: list[str] = []
    course.steering.detach = lambda: seen.append("detached")  # type: ignore[method-assign]
    edit(stage.file, "drain_delay", "steering: false\ndrain_delay")
    reload(stage)
    helm.turn(stage.clock.now_ns)
    assert seen == ["detached"]
    assert helm._courses == {} and helm.due_ns() == []


def test_a_unix_listener_is_not_steered(tmp_path: Path) -> None:
    with staged(tmp_path, {"bind: 127.0.0.1:PORT": f"bind: 'unix:{tmp_path / 's'}'"}) as stage:
        helm = Helm(stage.home)
        helm.turn(stage.clock.now_ns)
        assert helm._courses == {}


def test_in_another_memory_all_begin_anew(stage: Stage, helm: Helm) -> None:
    _, course = helm._courses["web"]
    helm._memory = object()  # type: ignore[assignment]
    helm.turn(stage.clock.now_ns)
    assert helm._courses["web"][1] is not course
    assert helm._memory is stage.home.memory


def test_a_turn_in_which_nothing_has_changed_changes_nothing(stage: Stage, helm: Helm) -> None:
    _, course = helm._courses["web"]
    helm.turn(stage.clock.now_ns + SECOND)
    assert helm._courses["web"][1] is course


def test_at_the_end_everything_is_given_back(stage: Stage, helm: Helm) -> None:
    _, course = helm._courses["web"]
    seen: list[str] = []
    course.steering.close = lambda: seen.append("closed")  # type: ignore[method-assign]
    helm.close()
    assert seen == ["closed"]
    assert helm.due_ns() == []

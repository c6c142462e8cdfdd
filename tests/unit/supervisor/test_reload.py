"""A reload: all prepare the new configuration before any serves it; what goes wrong before leaves all as it was."""

from __future__ import annotations

import json
import os
import resource
import signal
import socket
from pathlib import Path

import msgspec
import pytest

from shardproxy.config.load import load
from shardproxy.control.messages import Abort, Applied, Commit, Prepare, Prepared, Refused
from shardproxy.control.plan import Plan
from shardproxy.supervisor.privileges import Identity
from shardproxy.supervisor.reload import PATIENCE_NS
from tests.e2e.supervised import free_ports
from tests.unit.supervisor.stage import SECOND, Stage, add_a_listener, edit, finish, remove_the_listener, say

PATIENCE_S = PATIENCE_NS / SECOND
STAYS = "reload: the running configuration stays: "


@pytest.fixture
def preparing(stage: Stage) -> Stage:
    """A reload that has been offered to all children."""
    stage.signal(signal.SIGHUP)
    assert all(child.told(Prepare) for child in stage.living())
    return stage


def is_listened_on(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


# In three steps


def test_nobody_serves_it_before_all_have_prepared_it(preparing: Stage) -> None:
    for child in preparing.living():
        assert not any(each.told(Commit) for each in preparing.living())
        child.say(Prepared(2))
        preparing.step()
    assert [child.told(Commit) for child in preparing.living()] == [[Commit(2)]] * 3
    assert preparing.home.version == 2


def test_it_is_over_when_all_serve_it(preparing: Stage) -> None:
    say(preparing.living(), Prepared)
    preparing.step()
    for child in preparing.living():
        assert not preparing.said("reload: configuration 2 is served by all 2 workers")
        child.say(Applied(2))
        preparing.step()
    assert preparing.said("reload: configuration 2 is served by all 2 workers", "INFO")
    assert preparing.supervisor._operations.is_idle


def test_every_child_is_offered_the_plan_and_is_told_of_no_socket_that_it_has(preparing: Stage) -> None:
    for child in preparing.living():
        assert child.told(Prepare) == [Prepare(2, ())]
        (fd,) = child.descriptors
        plan = Plan.read(fd, preparing.home.memory.segment.capacities)
        assert (plan.version, plan.config) == (2, load(preparing.file))


def test_the_configuration_that_is_served_is_that_of_the_file(stage: Stage) -> None:
    edit(stage.file, "drain_timeout: 30s", "drain_timeout: 31s")
    stage.signal(signal.SIGHUP)
    assert stage.home.config.drain_timeout == 30 * SECOND
    finish(stage)
    assert stage.home.config.drain_timeout == 31 * SECOND
    assert stage.home.config == load(stage.file)


def test_a_second_reload_is_a_version_more(stage: Stage) -> None:
    for version in (2, 3):
        stage.signal(signal.SIGHUP)
        finish(stage, version)
        assert stage.said(f"reload: configuration {version} is served by all 2 workers")


def test_it_waits_until_all_children_are_ready(stage: Stage) -> None:
    stage.end(stage.current("worker 0"), signal.SIGKILL)
    stage.signal(signal.SIGHUP)
    assert not any(child.told(Prepare) for child in stage.living())
    stage.all_get_ready()
    assert all(child.told(Prepare) for child in stage.living())


def test_a_child_that_dies_is_not_waited_for_and_followed_when_it_is_clear_what_holds(preparing: Stage) -> None:
    worker = preparing.current("worker 1")
    preparing.end(worker, signal.SIGKILL)
    assert len(preparing.children) == 3
    say(preparing.living(), Prepared)
    preparing.step()
    assert preparing.home.version == 2
    assert len(preparing.children) == 4
    say(preparing.living(), Applied)
    preparing.step()
    assert preparing.said("reload: configuration 2 is served by all 2 workers")


def test_answers_to_another_version_are_no_answers(preparing: Stage) -> None:
    say(preparing.living(), Prepared, 1)
    preparing.children[0].say(Refused(1, "that was long ago"))
    preparing.step()
    assert not any(child.told(Commit) or child.told(Abort) for child in preparing.living())
    say(preparing.living(), Prepared)
    preparing.step()
    say(preparing.living(), Applied, 1)
    preparing.step()
    assert not preparing.supervisor._operations.is_idle


def test_while_it_runs_nobody_is_born_and_afterwards_somebody_is(preparing: Stage) -> None:
    assert preparing.home.is_changing
    say(preparing.living(), Prepared)
    preparing.step()
    assert not preparing.home.is_changing


# New listeners


def test_a_new_listener_is_bound_before_anybody_serves_it_and_each_worker_is_sent_its_own_socket(stage: Stage) -> None:
    port = add_a_listener(stage.file)
    stage.signal(signal.SIGHUP)
    assert is_listened_on(port)
    inodes = set()
    for worker in stage.workers():
        assert worker.told(Prepare) == [Prepare(2, ("second",))]
        _, sent = worker.descriptors
        inodes.add(os.fstat(sent).st_ino)
        with socket.socket(fileno=os.dup(sent)) as copy:
            assert copy.getsockname()[1] == port
    assert len(inodes) == 2
    assert stage.current("controller").told(Prepare) == [Prepare(2, ())]
    finish(stage)
    assert set(stage.home.sockets.groups()) == {"web", "second"}


@pytest.mark.parametrize("what", ["refused", "too slow", "given up"])
def test_the_sockets_of_a_reload_that_is_not_done_are_closed(what: str, stage: Stage) -> None:
    port = add_a_listener(stage.file)
    stage.signal(signal.SIGHUP)
    if what == "refused":
        stage.current("worker 0").say(Refused(2, "no"))
        stage.step()
    elif what == "too slow":
        for _ in range(10):
            stage.pass_time(PATIENCE_S / 10)
    else:
        stage.signal(signal.SIGTERM)
    for child in stage.children:
        child.close()  # they hold copies
    assert not is_listened_on(port)
    assert set(stage.home.sockets.groups()) == {"web"}


def test_a_listener_that_is_gone_is_left_to_the_workers(stage: Stage) -> None:
    add_a_listener(stage.file)
    stage.signal(signal.SIGHUP)
    finish(stage)
    second = stage.home.sockets.of_worker(0)["second"]
    remove_the_listener(stage.file)
    stage.signal(signal.SIGHUP)
    assert second.fileno() >= 0
    finish(stage, 3)
    assert second.fileno() == -1


def test_an_address_that_is_taken_refuses_the_reload(stage: Stage) -> None:
    port = add_a_listener(stage.file)
    with socket.create_server(("127.0.0.1", port)):
        stage.signal(signal.SIGHUP)
    text = f"listener second cannot listen on 127.0.0.1:{port}: another process is listening there"
    assert stage.said(STAYS + text, "ERROR")
    assert not any(child.everything()[:-1] for child in stage.living())
    assert not stage.home.is_changing


def test_more_new_listeners_than_one_message_can_carry_are_refused(stage: Stage) -> None:
    ports = free_ports(250)
    lines = [
        f"  - {{name: l{port}, bind: 127.0.0.1:{port}, routes: [{{match: {{prefix: /}}, cluster: app}}]}}\n"
        for port in ports
    ]
    edit(stage.file, "clusters:\n", "".join(lines) + "clusters:\n")
    stage.signal(signal.SIGHUP)
    assert stage.said(STAYS + "250 listeners are new; at most 249 can be at once")
    assert not any(is_listened_on(port) for port in ports)


# What follows


def test_the_log_goes_on_as_the_new_file_says(stage: Stage, capfd: pytest.CaptureFixture[str]) -> None:
    edit(stage.file, "drain_delay", "log: {format: json}\ndrain_delay")
    stage.signal(signal.SIGHUP)
    finish(stage)
    line = json.loads(capfd.readouterr().err.splitlines()[-1])
    assert "reload: configuration 2 is served" in str(line) and "'supervisor'" in str(line)


def test_too_few_descriptors_for_the_new_file_are_warned_of(stage: Stage) -> None:
    if resource.getrlimit(resource.RLIMIT_NOFILE)[1] == resource.RLIM_INFINITY:
        pytest.skip("there is no limit here")
    edit(stage.file, "{name: web,", "{name: web, max_connections: 2000000000,")
    stage.signal(signal.SIGHUP)
    finish(stage)
    assert any(line.startswith("WARNING max_connections may need ") for line in stage.log)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give files away")
def test_the_file_of_a_new_unix_socket_belongs_to_whom_the_workers_run_as(stage: Stage, tmp_path: Path) -> None:
    stage.home.identity = Identity.find("nobody")
    path = tmp_path / "s"
    second = f"  - {{name: second, bind: 'unix:{path}', routes: [{{match: {{prefix: /}}, cluster: app}}]}}\n"
    edit(stage.file, "clusters:\n", second + "clusters:\n")
    stage.home.config = msgspec.structs.replace(stage.home.config)
    stage.signal(signal.SIGHUP)
    finish(stage)
    assert path.stat().st_uid == stage.home.identity.uid


def test_another_number_of_workers_in_the_file_is_reached_afterwards(stage: Stage) -> None:
    edit(stage.file, "workers: 2", "workers: 4")
    stage.signal(signal.SIGHUP)
    finish(stage)
    assert len(stage.home.workers) == 4
    stage.all_get_ready()
    stage.all_get_ready()
    assert stage.said("scale: 4 workers")


def test_what_was_scaled_stays_when_the_file_says_what_it_said(stage: Stage) -> None:
    stage.ask("scale", 3)
    stage.all_get_ready()
    stage.all_get_ready()
    stage.signal(signal.SIGHUP)
    finish(stage)
    assert stage.said("reload: configuration 2 is served by all 3 workers")
    assert len(stage.home.workers) == 3


def test_what_the_file_says_comes_before_what_waits(stage: Stage) -> None:
    edit(stage.file, "workers: 2", "workers: 4")
    stage.signal(signal.SIGHUP)
    stage.signal(signal.SIGTTOU)
    finish(stage)
    stage.all_get_ready()
    stage.all_get_ready()
    stage.pass_time(0.3)
    assert len(stage.home.workers) == 3


def test_it_is_given_up_when_the_proxy_stops(preparing: Stage) -> None:
    preparing.signal(signal.SIGTERM)
    assert all(child.told(Abort) for child in preparing.living())
    assert not preparing.home.is_changing
    assert preparing.said("reload: the proxy is draining")

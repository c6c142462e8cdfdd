"""A reload: all prepare the new configuration before any serves it; what goes wrong before leaves all as it was."""

from __future__ import annotations

import json
import os
import resource
import signal
import socket
from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest

from shardproxy.config.load import load
from shardproxy.control.found import encode
from shardproxy.control.messages import Abort, Answer, Applied, Ask, Commit, Prepare, Prepared, Ready, Refused
from shardproxy.control.plan import Plan
from shardproxy.supervisor.privileges import Identity
from shardproxy.supervisor.reload import PATIENCE_NS, Refusal, read
from tests.e2e.supervised import free_ports
from tests.unit.supervisor.stage import SECOND, Script, Stage, edit, fill_the_memory, staged

PATIENCE_S = PATIENCE_NS / SECOND
STAYS = "reload: the running configuration stays: "


@pytest.fixture
def stage(tmp_path: Path) -> Iterator[Stage]:
    with staged(tmp_path) as started:
        yield started


@pytest.fixture
def preparing(stage: Stage) -> Stage:
    """A reload that has been offered to all children."""
    stage.signal(signal.SIGHUP)
    assert all(child.told(Prepare) for child in stage.living())
    return stage


def say(children: list[Script], message: type[Prepared] | type[Applied], version: int = 2) -> None:
    for child in children:
        child.say(message(version))


def finish(stage: Stage, version: int = 2) -> None:
    for message in (Prepared, Applied):
        say(stage.living(), message, version)
        stage.step()


def with_a_second_listener(stage: Stage) -> int:
    (port,) = free_ports(1)
    second = f"  - {{name: second, bind: 127.0.0.1:{port}, routes: [{{match: {{prefix: /}}, cluster: app}}]}}\n"
    edit(stage.file, "clusters:\n", second + "clusters:\n")
    return port


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
    port = with_a_second_listener(stage)
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
    port = with_a_second_listener(stage)
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
    with_a_second_listener(stage)
    stage.signal(signal.SIGHUP)
    finish(stage)
    second = stage.home.sockets.of_worker(0)["second"]
    text = stage.file.read_text().splitlines(keepends=True)
    stage.file.write_text("".join(line for line in text if "second" not in line))
    stage.signal(signal.SIGHUP)
    assert second.fileno() >= 0
    finish(stage, 3)
    assert second.fileno() == -1


def test_an_address_that_is_taken_refuses_the_reload(stage: Stage) -> None:
    port = with_a_second_listener(stage)
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


# Refusals


def test_what_one_child_refuses_is_aborted_for_all(preparing: Stage) -> None:
    say([preparing.current("worker 0")], Prepared)
    preparing.current("worker 1").say(Refused(2, "worker 1: it cannot be built"))
    preparing.step()
    assert [child.told(Abort) for child in preparing.living()] == [[Abort(2)]] * 3
    assert preparing.said(STAYS + "worker 1: it cannot be built", "ERROR")
    assert (preparing.home.version, preparing.home.is_changing) == (1, False)


def test_a_refusal_after_all_have_been_told_to_serve_it_changes_nothing(preparing: Stage) -> None:
    say(preparing.living(), Prepared)
    preparing.step()
    preparing.current("worker 0").say(Refused(2, "too late"))
    preparing.step()
    assert not any(child.told(Abort) for child in preparing.living())
    say(preparing.living(), Applied)
    preparing.step()
    assert preparing.said("reload: configuration 2 is served by all 2 workers")


def test_a_child_that_does_not_answer_ends_the_reload_after_twenty_seconds(preparing: Stage) -> None:
    slow = preparing.current("worker 1")
    say([child for child in preparing.living() if child is not slow], Prepared)
    for _ in range(10):
        preparing.pass_time(PATIENCE_S / 10 - 0.01)
    assert not any(child.told(Abort) for child in preparing.living())
    preparing.pass_time(0.1)
    assert preparing.said(STAYS + f"no answer from worker 1 (pid {slow.pid}) for 20 s")
    assert all(child.told(Abort) for child in preparing.living())


def test_all_that_do_not_answer_are_named(preparing: Stage) -> None:
    say([preparing.current("controller")], Prepared)
    for _ in range(10):
        preparing.pass_time(PATIENCE_S / 10)
    names = ", ".join(f"{child.name} (pid {child.pid})" for child in preparing.workers())
    assert preparing.said(STAYS + f"no answer from {names} for 20 s")


def test_a_plan_that_cannot_be_written_refuses_the_reload(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    def fails(self: Plan) -> int:
        raise OSError(12, "Cannot allocate memory")

    monkeypatch.setattr(Plan, "write", fails)
    stage.signal(signal.SIGHUP)
    assert stage.said(STAYS + "it cannot be handed to the workers: Cannot allocate memory")


def test_a_child_that_does_not_get_ready_ends_the_reload_after_twenty_seconds(stage: Stage) -> None:
    stage.end(stage.current("worker 0"), signal.SIGKILL)
    stage.signal(signal.SIGHUP)
    for _ in range(10):
        stage.pass_time(PATIENCE_S / 10)
    assert stage.said(STAYS + "no answer from a child that is not ready for 20 s")
    assert not any(child.told(Abort) for child in stage.living())
    assert not stage.home.is_changing


def test_a_child_that_never_commits_is_killed_and_its_successor_serves_the_new_one(preparing: Stage) -> None:
    slow = preparing.current("worker 1")
    say(preparing.living(), Prepared)
    preparing.step()
    say([child for child in preparing.living() if child is not slow], Applied)
    for _ in range(10):
        preparing.pass_time(PATIENCE_S / 10 - 0.01)
    assert preparing.kills() == []
    preparing.pass_time(0.1)
    assert preparing.kills() == ["worker 1 SIGKILL"]
    assert preparing.supervisor._operations.due_ns() == [preparing.clock.now_ns + PATIENCE_NS]
    assert preparing.said(f"worker 1 (pid {slow.pid}) is killed: it does not take configuration 2 over")
    preparing.step()
    assert preparing.said("reload: configuration 2 is served by all 2 workers")


def test_it_wants_to_be_asked_again_when_its_time_is_up(preparing: Stage) -> None:
    operations, began_ns = preparing.supervisor._operations, preparing.clock.now_ns
    assert operations.due_ns() == [began_ns + PATIENCE_NS]
    preparing.pass_time(1)
    say(preparing.living(), Prepared)
    preparing.step()
    assert operations.due_ns() == [began_ns + SECOND + PATIENCE_NS]


def test_a_wrong_file_is_refused_before_anybody_hears_of_it(stage: Stage) -> None:
    edit(stage.file, "prefix: /", "prefix: nowhere")
    controller = stage.ask("reload")
    (answer,) = controller.answers()
    assert not answer.is_done
    assert answer.text.startswith(f"the running configuration stays: {stage.file}:")
    assert not any(child.told(Prepare) or child.told(Abort) for child in stage.living())


@pytest.mark.parametrize(
    ("before", "after", "key"),
    [
        ("drain_delay", "user: nobody\ndrain_delay", "user"),
        ("drain_delay", "pid_file: /tmp/x.pid\ndrain_delay", "pid_file"),
        ("admin: {bind: 127.0.0.1:", "admin: {bind: 127.0.0.2:", "admin.bind"),
    ],
)
def test_what_only_a_restart_can_change_is_refused(before: str, after: str, key: str, stage: Stage) -> None:
    edit(stage.file, before, after)
    with pytest.raises(Refusal, match=f"^{key} can only be changed by a restart \\(shardproxy restart\\)$"):
        read(stage.home)


def test_without_a_file_there_is_nothing_to_read(stage: Stage) -> None:
    stage.home.path = None
    with pytest.raises(Refusal, match="^the proxy was not started with a file$"):
        read(stage.home)


def test_as_many_workers_as_there_are_rows_for_are_taken_and_no_more(stage: Stage) -> None:
    rows = stage.home.memory.segment.capacities.rows
    most = (rows - 1) // 2 - 1
    edit(stage.file, "workers: 2", f"workers: {most}")
    assert read(stage.home).workers == most
    edit(stage.file, f"workers: {most}", f"workers: {most + 1}")
    said = f"the shared memory has {rows} rows, too few for that many workers; restart \\(shardproxy restart\\)"
    with pytest.raises(Refusal, match=said):
        read(stage.home)


def test_more_names_than_the_memory_has_room_for_are_refused(stage: Stage) -> None:
    fill_the_memory(stage)
    edit(stage.file, "clusters:\n", "clusters:\n  - {name: other, endpoints: [127.0.0.1:1]}\n")
    stage.signal(signal.SIGHUP)
    assert any(line.startswith(f"ERROR {STAYS}the shared memory") for line in stage.log)
    assert not any(child.told(Prepare) for child in stage.living())


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


# Endpoints that were found


@pytest.fixture
def found(stage: Stage) -> Stage:
    """The controller has found other endpoints for `app`."""
    change(stage, "127.0.0.1:1", "127.0.0.1:2", "127.0.0.1:3")
    return stage


def change(stage: Stage, *addresses: str, version: int = 1) -> None:
    cluster = stage.home.config.clusters[0]
    other = stage.file.with_name("other.yaml")
    wanted = f"[{', '.join(f'{{address: {each}}}' if '{' not in each else each for each in addresses)}]"
    other.write_text(stage.file.read_text().replace("endpoints: [127.0.0.1:1]", f"endpoints: {wanted}"))
    endpoints = load(other).clusters[0].endpoints
    stage.current("controller").say(Ask(3, "endpoints", found=encode({cluster.name: endpoints}), version=version))
    stage.step()


def endpoints(stage: Stage) -> list[str]:
    return [str(each.address) for each in stage.home.config.clusters[0].endpoints]


def test_endpoints_are_changed_in_the_same_two_phases(found: Stage) -> None:
    assert endpoints(found) == ["127.0.0.1:1"]
    finish(found)
    assert endpoints(found) == ["127.0.0.1:1", "127.0.0.1:2", "127.0.0.1:3"]
    assert found.home.edited == {"app"}
    (answer,) = found.current("controller").answers()
    assert answer == Answer(3, True, "cluster app: 3 endpoints, 2 added, 0 removed, 0 changed")


def test_they_are_no_news_for_operators_and_begin_quietly(found: Stage) -> None:
    finish(found)
    assert [answer.id for answer in found.current("controller").told(Answer)] == [3]
    assert "DEBUG endpoints begins" in found.log


def test_what_has_changed_is_counted(found: Stage) -> None:
    finish(found)
    change(found, "{address: 127.0.0.1:2, weight: 3}", "127.0.0.1:4", version=2)
    finish(found, 3)
    text = "cluster app: 2 endpoints, 1 added, 2 removed, 1 changed"
    assert found.current("controller").answers()[1] == Answer(3, True, text)


def test_endpoints_made_from_another_configuration_are_refused(stage: Stage) -> None:
    change(stage, "127.0.0.1:2", version=7)
    text = "the running configuration stays: another configuration is served by now"
    assert stage.current("controller").answers() == [Answer(3, False, text)]


def test_endpoints_that_cannot_be_read_are_refused(stage: Stage) -> None:
    stage.current("controller").say(Ask(3, "endpoints", found=b"\xc1", version=1))
    stage.step()
    (answer,) = stage.current("controller").answers()
    assert answer.text.startswith("the running configuration stays: the endpoints cannot be read: ")


def test_a_change_of_endpoints_does_not_scale(found: Stage) -> None:
    finish(found)
    assert not any("scale" in line for line in found.log)


def test_a_reload_takes_what_the_file_says(found: Stage) -> None:
    finish(found)
    found.signal(signal.SIGHUP)
    finish(found, 3)
    assert endpoints(found) == ["127.0.0.1:1"]
    assert found.home.edited == frozenset()


def test_a_newly_born_child_gets_what_holds(found: Stage) -> None:
    finish(found)
    found.end(found.current("worker 0"), signal.SIGKILL)
    found.current("worker 0").say(Ready())
    found.step()
    assert found.home.version == 2

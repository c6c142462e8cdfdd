"""What systemd hears of the supervisor's life, and what it is given to keep."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from shardproxy.control.plan import Plan
from shardproxy.supervisor.herald import STATUS_NS, Herald
from shardproxy.supervisor.revival import PLAN, SEGMENT
from shardproxy.supervisor.systemd import Manager
from tests.systemd.notified import Listening, stored
from tests.unit.supervisor.stage import SECOND, Stage, staged


@pytest.fixture
def heard(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Listening]:
    for name in ("WATCHDOG_USEC", "WATCHDOG_PID", "LISTEN_PID", "LISTEN_FDS", "LISTEN_FDNAMES", "SHARDPROXY_LENT"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("NOTIFY_SOCKET", str(tmp_path / "notify"))
    listening = Listening(str(tmp_path / "notify"))
    yield listening
    listening.socket.close()


@pytest.fixture
def stage(tmp_path: Path, heard: Listening) -> Iterator[Stage]:
    """A supervisor that serves, and of which systemd has heard everything so far."""
    with staged(tmp_path) as started:
        texts(heard)
        yield started


def texts(heard: Listening) -> list[str]:
    """All datagrams that wait, without those for the store; descriptors closed."""
    seen: list[str] = []
    heard.socket.setblocking(False)
    while True:
        try:
            datagram = heard.take()
        except BlockingIOError:
            return seen
        for fd in datagram.descriptors:
            os.close(fd)
        if "FDNAME" not in datagram.words and "BARRIER" not in datagram.words:
            seen.append(datagram.text)


def names_of(stage: Stage, workers: int = 2) -> list[str]:
    config = stage.home.config
    groups = [(config.admin.bind, 1), (config.listeners[0].bind, workers)]
    found = [f"listen.{index}.{str(bind).replace(':', '%3A')}" for bind, count in groups for index in range(count)]
    return [*found, SEGMENT, PLAN]


FIGURES = "2 workers serve configuration 1, generation 1"


def test_it_is_ready_when_all_workers_are_and_everything_is_kept_before(tmp_path: Path, heard: Listening) -> None:
    with staged(tmp_path, is_serving=False) as stage:
        stage.step()
        assert texts(heard) == []
        stage.all_get_ready()
        assert stored(heard)[:5] == [f"+{name}" for name in names_of(stage)]


def test_what_it_serves_is_said_when_it_is_ready_and_every_ten_seconds(tmp_path: Path, heard: Listening) -> None:
    with staged(tmp_path) as stage:
        assert f"READY=1\nSTATUS={FIGURES}" in texts(heard)
        stage.pass_time(0.1)
        assert texts(heard) == [f"STATUS={FIGURES}"]
        stage.pass_time(STATUS_NS / SECOND - 0.1)
        assert texts(heard) == []
        stage.pass_time(0.1)
        assert texts(heard) == [f"STATUS={FIGURES}"]


def test_only_workers_that_are_ready_are_counted(stage: Stage, heard: Listening) -> None:
    stage.end(stage.current("worker 0"), signal.SIGKILL)
    texts(heard)
    stage.pass_time(STATUS_NS / SECOND)
    assert texts(heard) == ["STATUS=1 workers serve configuration 1, generation 1"]


@pytest.mark.parametrize("what", ["reload", "restart"])
def test_a_reload_and_a_restart_begin_and_end_for_systemd(what: str, stage: Stage, heard: Listening) -> None:
    herald = stage.supervisor._herald
    herald.begins(what)
    (begun,) = texts(heard)
    assert begun.startswith("RELOADING=1\n") and begun.endswith(f"STATUS={what} is under way")
    herald.ends(what, "it is done")
    assert texts(heard) == [f"READY=1\nSTATUS={what}: it is done"]


def test_other_operations_pass_unnoticed(stage: Stage, heard: Listening) -> None:
    stage.supervisor._herald.begins("scale")
    stage.supervisor._herald.ends("scale", "3 workers")
    assert texts(heard) == []


def test_after_every_operation_the_store_has_what_there_is(stage: Stage, heard: Listening) -> None:
    stage.home.sockets.resize(3)
    stage.supervisor._herald.ends("scale", "3 workers")
    assert stored(heard) == ["+" + names_of(stage, 3)[3]]
    stage.supervisor._herald.keep_only(1)
    gone = names_of(stage, 3)
    assert stored(heard) == ["-" + gone[2], "-" + gone[3]]


def test_another_configuration_is_another_plan_in_the_store(stage: Stage, heard: Listening) -> None:
    stage.home.version = 2
    stage.supervisor._herald.ends("reload", "done")
    seen = []
    heard.socket.setblocking(False)
    while True:
        try:
            datagram = heard.take()
        except BlockingIOError:
            break
        if datagram.words.get("FDNAME") == PLAN and datagram.descriptors:
            seen.append(Plan.read(datagram.descriptors[0], stage.home.memory.segment.capacities))
        for fd in datagram.descriptors:
            os.close(fd)
    assert [(plan.version, plan.config) for plan in seen] == [(2, stage.home.config)]
    assert seen[0].slots.in_order() == stage.home.slots.in_order()


def test_a_drain_says_how_long_it_may_take(stage: Stage, heard: Listening) -> None:
    stage.signal(signal.SIGTERM)
    assert texts(heard) == [f"STOPPING=1\nEXTEND_TIMEOUT_USEC={(4 + 30 + 2) * 1_000_000}\nSTATUS=draining"]


def test_while_it_drains_no_figures_are_told(stage: Stage, heard: Listening) -> None:
    stage.signal(signal.SIGTERM)
    texts(heard)
    stage.pass_time(STATUS_NS / SECOND)
    assert texts(heard) == []


def test_a_sign_of_life_is_given_when_it_is_due(
    tmp_path: Path, heard: Listening, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("WATCHDOG_USEC", "4000000")
    with staged(tmp_path) as stage:
        texts(heard)
        assert stage.supervisor._herald.due_ns() == [stage.clock.now_ns + 2 * SECOND]
        stage.pass_time(2)
        assert "WATCHDOG=1" in texts(heard)


def test_without_a_watchdog_nothing_is_due(stage: Stage) -> None:
    assert stage.supervisor._herald.due_ns() == []


def test_the_new_code_of_a_hot_restart_learns_what_is_in_the_store(stage: Stage, heard: Listening) -> None:
    herald = Herald(stage.home, Manager())
    herald.resumes()
    assert stored(heard) == [f"-{PLAN}", *(f"+{name}" for name in names_of(stage))]
    herald._forget_plan()


def test_a_plan_that_cannot_be_written_is_warned_of(stage: Stage, heard: Listening) -> None:
    herald = stage.supervisor._herald

    def fails() -> None:
        raise OSError(12, "Cannot allocate memory")

    herald._write_plan = fails  # type: ignore[method-assign]
    herald.ends("reload", "done")
    assert stage.said(
        "systemd cannot be given the names of the shared memory: Cannot allocate memory", "WARNING"
    )
    assert texts(heard) == ["READY=1\nSTATUS=reload: done"]


def test_without_systemd_there_is_no_plan(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("NOTIFY_SOCKET", raising=False)
    with staged(tmp_path) as stage:
        assert stage.supervisor._herald._plan_fd == -1


def test_at_the_end_the_plan_is_closed_and_files_are_left_to_systemd(tmp_path: Path, heard: Listening) -> None:
    path = tmp_path / "s"
    with staged(tmp_path, {"bind: 127.0.0.1:PORT": f"bind: 'unix:{path}'"}) as stage:
        fd = stage.supervisor._herald._plan_fd
        assert os.fstat(fd)
    assert path.exists()
    with pytest.raises(OSError):
        os.fstat(fd)


def test_without_systemd_files_are_removed_at_the_end(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("NOTIFY_SOCKET", raising=False)
    path = tmp_path / "s"
    with staged(tmp_path, {"bind: 127.0.0.1:PORT": f"bind: 'unix:{path}'"}):
        assert path.exists()
    assert not path.exists()

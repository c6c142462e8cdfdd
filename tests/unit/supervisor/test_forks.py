"""From the fork to the child's entry: what a child has, and what it leaves behind."""

from __future__ import annotations

import faulthandler
import gc
import json
import logging
import os
import resource
import select
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from shardproxy.config.load import load
from shardproxy.control.channel import Channel
from shardproxy.control.messages import Refused
from shardproxy.control.seat import ADMIN, Seat
from shardproxy.shm.rows import Kind, Rows
from shardproxy.shm.slots import UnknownSlot
from shardproxy.supervisor import children, signals
from shardproxy.supervisor.children import (
    START_PATIENCE_NS,
    Body,
    Entries,
    _close_all_but,
    _descriptors,
    _seat,
    _serve,
    exit_code_of,
    fork,
)
from shardproxy.supervisor.privileges import Identity, PrivilegeError
from shardproxy.supervisor.state import Child, Household, Post
from shardproxy.supervisor.systemd import Found
from tests.unit.supervisor.forked import EXIT_CODE, open_descriptors
from tests.unit.supervisor.scripts import Lines
from tests.unit.supervisor.stage import SECOND, own_log_handlers, write

ENTRIES = Entries("tests.unit.supervisor.forked:tell", "tests.unit.supervisor.forked:tell")
root_only = pytest.mark.skipif(os.geteuid() != 0, reason="only root can become somebody else")


@pytest.fixture
def home(tmp_path: Path) -> Iterator[Household]:
    write(tmp_path / "proxy.yaml", 2, {})
    home = Household.fresh(load(tmp_path / "proxy.yaml"), tmp_path / "proxy.yaml", Found())
    with own_log_handlers():
        yield home
    home.close()
    gc.unfreeze()


def told(child: Child) -> dict[str, Any]:
    """What the child has found, once it has ended."""
    assert select.select([child.channel], [], [], 20)[0], "the child says nothing"
    message = child.channel.receive()
    assert isinstance(message, Refused)
    _, status = os.waitpid(child.pid, 0)
    child.channel.close()
    assert os.waitstatus_to_exitcode(status) == EXIT_CODE
    return dict(json.loads(message.reason))


def left(seat: Seat) -> None:
    """There is nothing that the supervisor would close by name."""


def seat_of(home: Household, post: Post) -> Iterator[Seat]:
    ours, theirs = Channel.pair()
    yield _seat(home, post, home.memory.pool.take(), theirs)
    ours.close()
    theirs.close()


@pytest.fixture
def seat(home: Household) -> Iterator[Seat]:
    yield from seat_of(home, home.workers[1])


# A whole life


def test_a_worker_is_born_with_its_own_and_nothing_else(home: Household) -> None:
    home.generation, home.version = 3, 5
    before = home.memory.pool.free
    child = fork(home, home.workers[1], ENTRIES, left)
    assert home.memory.pool.free == before - 1
    facts = told(child)
    assert facts["seat"] == ["worker 1", child.row, 3, 5]
    assert facts["listeners"] == ["web"]
    assert facts["descriptors"] == facts["own"]
    assert facts["row"] == [True, "WORKER", 3]
    assert all(facts["ignores"])
    assert facts["blocked"] == 0
    assert facts["shows_stacks"]
    assert (child.generation, child.memory, child.ready) == (3, home.memory, False)


def test_the_controller_has_the_admin_socket_only(home: Household) -> None:
    facts = told(fork(home, home.controllers[0], ENTRIES, left))
    assert facts["listeners"] == [ADMIN]
    assert facts["descriptors"] == facts["own"]
    assert facts["row"] == [True, "CONTROLLER", 1]


def test_it_leaves_first_what_the_supervisor_names(home: Household) -> None:
    reading, writing = os.pipe()

    def leave(seat: Seat) -> None:
        os.write(writing, seat.name.encode())

    told(fork(home, home.workers[0], ENTRIES, leave))
    assert os.read(reading, 100) == b"worker 0"
    os.close(reading)
    os.close(writing)


def test_the_supervisor_keeps_its_own_end_only(home: Household) -> None:
    before = len(open_descriptors())
    child = fork(home, home.workers[0], ENTRIES, left)
    assert len(open_descriptors()) == before + 1
    told(child)


@pytest.mark.parametrize(("watchdog_s", "patience_s"), [(3, 10), (20, 20)])
def test_it_may_start_for_as_long_as_the_more_patient_says(
    watchdog_s: int, patience_s: int, home: Household, tmp_path: Path
) -> None:
    text = (tmp_path / "proxy.yaml").read_text().replace("watchdog: 3s", f"watchdog: {watchdog_s}s")
    (tmp_path / "proxy.yaml").write_text(text)
    home.config = load(tmp_path / "proxy.yaml")
    child = fork(home, home.workers[0], ENTRIES, left)
    assert child.watch.due_ns() == child.born_ns + patience_s * SECOND
    assert START_PATIENCE_NS == 10 * SECOND
    told(child)


def test_what_exists_at_the_fork_is_left_alone_by_the_collector(home: Household) -> None:
    gc.unfreeze()
    child = fork(home, home.workers[0], ENTRIES, left)
    assert gc.get_freeze_count() > 0
    told(child)


def test_when_the_system_refuses_a_process_everything_is_given_back(
    home: Household, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse() -> int:
        raise OSError(11, "Resource temporarily unavailable")

    before, free = len(open_descriptors()), home.memory.pool.free
    monkeypatch.setattr(os, "fork", refuse)
    with pytest.raises(OSError, match="Resource temporarily unavailable"):
        fork(home, home.workers[0], ENTRIES, left)
    assert (len(open_descriptors()), home.memory.pool.free) == (before, free)
    assert signal.SIGTERM not in signal.pthread_sigmask(signal.SIG_BLOCK, ())


def test_each_worker_has_its_cpu_and_the_controller_any(home: Household, tmp_path: Path) -> None:
    text = (tmp_path / "proxy.yaml").read_text()
    (tmp_path / "proxy.yaml").write_text("cpu_affinity: auto\n" + text)
    home.config = load(tmp_path / "proxy.yaml")
    cpus = sorted(os.sched_getaffinity(0))
    if len(cpus) < 2:
        pytest.skip("there is only one CPU")
    assert told(fork(home, home.workers[0], ENTRIES, left))["cpus"] == cpus[:1]
    assert told(fork(home, home.workers[1], ENTRIES, left))["cpus"] == cpus[1:2]
    assert told(fork(home, home.controllers[0], ENTRIES, left))["cpus"] == cpus


@root_only
def test_it_runs_as_the_user_that_is_wanted(home: Household) -> None:
    home.identity = Identity.find("nobody")
    assert told(fork(home, home.workers[0], ENTRIES, left))["user"] == home.identity.uid


# Its parts


def test_its_seat_is_made_of_what_holds_now(home: Household, seat: Seat) -> None:
    assert (seat.kind, seat.index, seat.name) == ("worker", 1, "worker 1")
    assert (seat.config, seat.segment, seat.slots, seat.bells) == (
        home.config, home.memory.segment, home.slots, home.memory.bells
    )  # fmt: skip
    assert seat.listeners == home.sockets.of_worker(1)


def test_its_descriptors_are_those_of_its_seat(seat: Seat) -> None:
    own = [0, 1, 2, seat.segment.fd, *seat.bells, seat.channel.fileno(), seat.listeners["web"].fileno()]
    assert sorted(_descriptors(seat)) == sorted(own)


@pytest.mark.parametrize("kept", [[0, 1, 2], [1, 2, 7], [0, 3, 4, 9, 4]])
def test_everything_else_is_closed_up_to_the_limit(kept: list[int]) -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    _close_all_but(range(min(soft, 1 << 20)))  # nothing, if all are kept
    pid = os.fork()
    if pid == 0:
        code = 1
        try:
            code = 0 if left_open(kept, hard) == sorted(set(kept)) else 2
        finally:
            os._exit(code)
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0


def left_open(kept: list[int], hard: int) -> list[int]:
    """Which of 70 descriptors are open afterwards, in a process that may have no more."""
    null = os.open(os.devnull, os.O_RDWR)
    for fd in range(70):
        os.dup2(null, fd)
    resource.setrlimit(resource.RLIMIT_NOFILE, (70, hard))
    _close_all_but(kept)
    return [fd for fd in range(70) if _is_open(fd)]


def _is_open(fd: int) -> bool:
    try:
        os.fstat(fd)
    except OSError:
        return False
    return True


def test_its_entry_is_found_by_its_kind(seat: Seat, home: Household) -> None:
    entries = Entries("tests.unit.supervisor.forked:tell", "tests.unit.supervisor.forked:returns_nothing")
    assert entries.load(seat).__name__ == "tell"
    for other in seat_of(home, home.controllers[0]):
        assert entries.load(other).__name__ == "returns_nothing"


@pytest.fixture
def restored() -> Iterator[None]:
    """What a child changes in its process is changed back."""
    cpus = os.sched_getaffinity(0)
    yield
    os.sched_setaffinity(0, cpus)
    faulthandler.unregister(signals.STACKS)


def test_before_its_entry_a_child_has_taken_its_row_and_no_name_gets_a_slot(
    seat: Seat, restored: None, capfd: pytest.CaptureFixture[str]
) -> None:
    entries = Entries("tests.unit.supervisor.forked:tell", "")
    cpu = min(os.sched_getaffinity(0))
    assert _serve(seat, entries, Body(None, {cpu})) == EXIT_CODE
    rows = Rows(seat.segment)
    assert (rows.pid(seat.row), rows.kind(seat.row), rows.generation(seat.row)) == (os.getpid(), Kind.WORKER, 1)
    assert os.sched_getaffinity(0) == {cpu}
    with pytest.raises(UnknownSlot):
        seat.slots.gauge("a name that nobody knows")
    logging.getLogger("shardproxy").warning("it speaks under its own name")
    assert f"worker-1[{os.getpid()}] it speaks under its own name" in capfd.readouterr().err
    signal.raise_signal(signals.STACKS)
    assert "test_before_its_entry_a_child" in capfd.readouterr().err


def test_an_entry_that_returns_nothing_has_ended_well(seat: Seat, restored: None) -> None:
    assert _serve(seat, Entries("tests.unit.supervisor.forked:returns_nothing", ""), Body(None, set())) == 0


# Its end


@pytest.fixture
def log() -> Iterator[list[str]]:
    lines, logger = Lines(), logging.getLogger(children.__name__)
    logger.addHandler(lines)
    yield lines.lines
    logger.removeHandler(lines)


def raises(error: BaseException) -> int:
    raise error


def test_the_exit_code_is_what_the_entry_says(log: list[str]) -> None:
    assert exit_code_of("worker 0", lambda: 5) == 5
    assert exit_code_of("worker 0", lambda: raises(SystemExit(6))) == 6
    assert exit_code_of("worker 0", lambda: raises(SystemExit())) == 0
    assert exit_code_of("worker 0", lambda: raises(SystemExit("a reason"))) == 1
    assert log == []


def test_whatever_it_raises_is_logged_and_is_exit_code_1(log: list[str]) -> None:
    assert exit_code_of("worker 0", lambda: raises(KeyboardInterrupt())) == 1
    assert log == ["CRITICAL worker 0 failed (with traceback)"]


def test_a_user_that_cannot_be_had_is_said_in_a_sentence(log: list[str]) -> None:
    assert exit_code_of("worker 0", lambda: raises(PrivilegeError("no such user"))) == 1
    assert log == ["CRITICAL worker 0 cannot begin: no such user"]


def test_what_it_has_written_is_not_lost(capfd: pytest.CaptureFixture[str]) -> None:
    def writes() -> int:
        print("its last words")
        return 0

    assert exit_code_of("worker 0", writes) == 0
    assert capfd.readouterr().out == "its last words\n"

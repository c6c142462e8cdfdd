"""The supervisor as a process, with real children, signals and sockets."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest

from shardproxy.shm.layout import Capacities
from tests.e2e.supervised import ROOT, Running, ask, connect, eventually, supervised, wait_for_exit

READY = r" ready: "


def children_of(running: Running) -> dict[str, int]:
    """Pid by name, of those that have reported ready, the latest of each."""
    running.wait_for(r"controller \(pid \d+\) is ready")
    found = running._found(r" (worker \d+|controller) \(pid (\d+)\) is ready")
    return {match[1]: int(match[2]) for match in found}


# Start


def test_it_says_when_all_workers_are_ready_and_where_they_listen() -> None:
    with supervised(workers=2) as running:
        line = running.wait_for(READY).string
        plan = running.plan
        assert line.endswith(
            f"ready: 2 workers, listening on 127.0.0.1:{plan.port}; admin on http://127.0.0.1:{plan.admin_port}"
        )
        assert running.whoami().name.startswith("worker ")
        assert running.ask_controller("whoami").startswith("controller|")


def test_every_worker_is_reached_through_a_socket_of_its_own() -> None:
    with supervised(workers=2) as running:
        running.wait_for(READY)
        for index in (0, 1):
            eventually(f"worker {index}", lambda: running.whoami().name)


def test_a_child_has_only_its_own_descriptors(tmp_path: Path) -> None:
    with supervised(workers=2, unix=str(tmp_path / "s")) as running:
        running.wait_for(READY)
        assert {running.ask("fds") for _ in range(20)} == {"0 1 2"}
        assert running.ask_controller("fds") == "0 1 2"
        for name, pid in children_of(running).items():
            kinds = [str(entry.readlink()).partition(":")[0] for entry in Path(f"/proc/{pid}/fd").iterdir()]
            assert kinds.count("socket") == (3 if name.startswith("worker") else 2)
            assert [kind for kind in kinds if kind.startswith("/memfd")] == ["/memfd"]
            bells = Capacities().rows
            assert kinds.count("anon_inode") == bells
            assert len(kinds) == kinds.count("socket") + 1 + 3 + bells


def test_a_port_that_is_taken_is_said_in_a_plain_sentence() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with supervised(port=port) as running:
            assert running.exit_code() == 1
            reason = f"listener web cannot listen on 127.0.0.1:{port}: another process is listening there"
            assert running.lines[-1].endswith(f"cannot start: {reason}")


def test_a_second_supervisor_does_not_share_the_ports_of_the_first() -> None:
    with supervised() as first:
        first.wait_for(READY)
        with supervised(port=first.plan.port) as second:
            assert second.exit_code() == 1
            assert second.lines[-1].endswith("another process is listening there")


@pytest.mark.parametrize(("worker", "reason"), [("never_ready", "exit code 4"), ("raises", "cannot work like this")])
def test_it_gives_up_when_a_worker_never_gets_ready(worker: str, reason: str) -> None:
    with supervised(worker=worker) as running:
        assert running.exit_code() == 1
        running.wait_for("giving up: worker 0 ended 5 times before it was ready")
        running.wait_for(reason, times=5)
        assert not any("Traceback" in line for line in running.lines)


def test_a_controller_that_never_gets_ready_does_not_stop_the_traffic() -> None:
    with supervised(controller="never_ready") as running:
        running.wait_for(READY)
        running.wait_for(r"controller \(pid \d+\) ended: exit code 4", times=4)
        assert running.whoami().name == "worker 0"


# Death and replacement


def test_a_killed_worker_is_replaced_at_once() -> None:
    with supervised() as running:
        running.wait_for(READY)
        former = running.whoami()
        os.kill(former.pid, signal.SIGKILL)
        running.wait_for(rf"worker 0 \(pid {former.pid}\) ended: killed by SIGKILL; another starts at once")
        running.wait_for(r"worker 0 \(pid \d+\) is ready", times=2)
        latter = running.whoami()
        assert (latter.name, latter.row) == (former.name, former.row)
        assert latter.pid != former.pid


def test_a_killed_controller_is_replaced() -> None:
    with supervised() as running:
        running.wait_for(READY)
        os.kill(children_of(running)["controller"], signal.SIGKILL)
        running.wait_for(r"controller \(pid \d+\) is ready", times=2)
        assert running.ask_controller("whoami").startswith("controller|")


@pytest.mark.parametrize(("order", "said"), [("exit 3", "exit code 3"), ("crash", "killed by SIGSEGV")])
def test_it_says_how_a_worker_ended(order: str, said: str) -> None:
    with supervised() as running:
        running.wait_for(READY)
        pid = running.whoami().pid
        with connect(running.plan.port, order):
            running.wait_for(rf"ERROR supervisor\[{running.pid}\] worker 0 \(pid {pid}\) ended: {said};")


def test_one_that_keeps_dying_is_replaced_ever_more_slowly() -> None:
    with supervised(workers=2, worker="short_lived") as running:
        for said in ("at once", r"in 0\.1 s", r"in 0\.2 s", r"in 0\.4 s"):
            running.wait_for(rf"worker 1 \(pid \d+\) ended: exit code 7; another starts {said}")


def test_what_a_dead_worker_held_is_given_back_and_what_it_counted_is_kept() -> None:
    with supervised() as running:
        running.wait_for(READY)
        for _ in range(3):
            running.ask("count")
        assert (running.ask_controller("gauge"), running.ask_controller("counter")) == ("3", "3")
        os.kill(running.whoami().pid, signal.SIGKILL)
        running.wait_for(r"worker 0 \(pid \d+\) is ready", times=2)
        assert (running.ask_controller("gauge"), running.ask_controller("counter")) == ("0", "3")


def test_an_exception_that_nothing_can_catch_is_a_line_of_the_child_and_is_counted_for_its_kind() -> None:
    lost = r"an exception .*\(in FailsAtItsEnd.__del__\).* goes on: OSError: nothing can catch this"
    with supervised() as running:
        running.wait_for(READY)
        assert running.ask("lose") == "lost"
        running.wait_for(rf"ERROR worker-0\[\d+\] {lost}")
        assert running.ask_controller("lose") == "lost"
        running.wait_for(rf"ERROR controller\[\d+\] {lost}")
        assert running.ask_controller("lost") == "1 1 0"
        with connect(running.plan.port, "exit 1"):
            running.wait_for(r"worker 0 \(pid \d+\) is ready", times=2)
        assert running.ask_controller("lost") == "1 1 0"
        assert running.ask("lose") == "lost"
        assert running.ask_controller("lost") == "2 1 0"


def test_an_exception_that_nothing_can_catch_in_the_supervisor_is_counted_too() -> None:
    with supervised(loses=True) as running:
        running.wait_for(READY)
        running.signal(signal.SIGHUP)
        running.wait_for(rf"ERROR supervisor\[{running.pid}\] an exception .* goes on: OSError: nothing can catch this")
        assert running.ask_controller("lost") == "0 0 1"


def test_a_connection_in_the_queue_of_a_dead_worker_is_served_by_the_next() -> None:
    with supervised() as running:
        running.wait_for(READY)
        former = running.whoami()
        os.kill(former.pid, signal.SIGSTOP)
        with connect(running.plan.port, "whoami") as waiting:
            os.kill(former.pid, signal.SIGKILL)
            name, pid, _ = waiting.recv(100).decode().split("|")
        assert name == "worker 0"
        assert int(pid) != former.pid


def test_a_child_that_closes_its_channel_and_lives_on_is_killed() -> None:
    with supervised() as running:
        running.wait_for(READY)
        with connect(running.plan.port, "mute"):
            running.wait_for("is killed: it has closed its channel and does not end")
        running.wait_for(r"worker 0 \(pid \d+\) is ready", times=2)


# Watchdog


def test_a_stopped_worker_is_killed_and_replaced() -> None:
    with supervised(watchdog_s=0.4) as running:
        running.wait_for(READY)
        pid = running.whoami().pid
        os.kill(pid, signal.SIGSTOP)
        running.wait_for(rf"worker 0 \(pid {pid}\): no sign of life for 0\.\d s; asked for its stacks")
        running.wait_for(rf"worker 0 \(pid {pid}\) is killed: no sign of life for 1\.\d s")
        running.wait_for(r"worker 0 \(pid \d+\) is ready", times=2)
        assert running.whoami().pid != pid


def test_a_worker_in_an_endless_loop_shows_its_stacks_before_it_is_killed() -> None:
    with supervised(watchdog_s=0.4) as running:
        running.wait_for(READY)
        with connect(running.plan.port, "spin"):
            running.wait_for(r'File ".*supervised_children.py", line \d+ in spin_for_ever')
            running.wait_for(r"ended: killed by SIGKILL")
        running.wait_for(r"worker 0 \(pid \d+\) is ready", times=2)


def test_a_worker_that_comes_back_to_life_in_time_is_spared() -> None:
    with supervised(watchdog_s=0.4) as running:
        running.wait_for(READY)
        pid = running.whoami().pid
        os.kill(pid, signal.SIGSTOP)
        running.wait_for("asked for its stacks")
        os.kill(pid, signal.SIGCONT)
        running.wait_for(rf"worker 0 \(pid {pid}\) gives signs of life again")
        assert running.whoami().pid == pid


# Drain and stop


def test_sigterm_drains_the_workers_first_and_the_controller_last() -> None:
    with supervised(workers=2) as running:
        running.wait_for(READY)
        pids = children_of(running)
        running.signal(signal.SIGTERM)
        assert running.exit_code() == 0
        last_worker = max(running.position(rf"worker {index} \(pid \d+\) ended: exit code 0$") for index in (0, 1))
        assert last_worker < running.position(r"controller \(pid \d+\) has drained")
        assert not any(psutil.pid_exists(pid) for pid in pids.values())
        assert not any(" ERROR " in line for line in running.lines)


def test_a_connection_in_the_queue_is_served_before_the_socket_closes() -> None:
    with supervised() as running:
        running.wait_for(READY)
        worker = running.whoami()
        os.kill(worker.pid, signal.SIGSTOP)
        with connect(running.plan.port, "whoami") as waiting:
            running.signal(signal.SIGTERM)
            running.wait_for("draining for at most")
            os.kill(worker.pid, signal.SIGCONT)
            assert waiting.recv(100).decode().startswith("worker 0|")
        assert running.exit_code() == 0


def test_while_work_is_finished_new_connections_are_refused_instead_of_waiting_for_nobody() -> None:
    with supervised() as running:
        running.wait_for(READY)
        with connect(running.plan.port, "hold") as held:
            assert held.recv(10) == b"held"
            running.signal(signal.SIGTERM)
            running.wait_for("draining for at most")
            eventually(False, lambda: is_open(running.plan.port))
            assert is_open(running.plan.admin_port)
        assert running.exit_code() == 0


def test_what_is_not_done_by_the_deadline_is_cut_and_counted() -> None:
    with supervised(drain_s=0.3) as running:
        running.wait_for(READY)
        with connect(running.plan.port, "hold") as held:
            assert held.recv(10) == b"held"
            running.signal(signal.SIGTERM)
            assert running.exit_code() == 0
        running.wait_for(r"worker 0 \(pid \d+\) has drained: 1 cut")


def test_a_worker_that_does_not_drain_is_killed_and_the_exit_is_still_clean() -> None:
    with supervised(worker="stubborn", drain_s=0.1) as running:
        running.wait_for(READY)
        running.signal(signal.SIGTERM)
        assert running.exit_code() == 0
        running.wait_for(r"worker 0 \(pid \d+\) is killed: it has not drained in time")


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGQUIT])
def test_sigint_and_sigquit_stop_at_once(number: signal.Signals) -> None:
    with supervised() as running:
        running.wait_for(READY)
        with connect(running.plan.port, "hold") as held:
            assert held.recv(10) == b"held"
            running.signal(number)
            assert running.exit_code() == 0
        running.wait_for(rf"{number.name}: stopping at once")


def test_a_second_sigterm_stops_at_once() -> None:
    with supervised(drain_s=60) as running:
        running.wait_for(READY)
        with connect(running.plan.port, "hold") as held:
            assert held.recv(10) == b"held"
            running.signal(signal.SIGTERM)
            running.wait_for("draining for at most 60 s")
            running.signal(signal.SIGTERM)
            assert running.exit_code() == 0
        running.wait_for("SIGTERM: stopping at once")


def test_a_child_that_does_not_stop_is_killed_after_a_second() -> None:
    with supervised(worker="stubborn", controller="stubborn") as running:
        running.wait_for(READY)
        running.signal(signal.SIGINT)
        began = time.monotonic()
        assert running.exit_code() == 0
        assert time.monotonic() - began < 5
        running.wait_for("is killed: it was told to stop and has not", times=2)


def test_signals_to_the_whole_group_reach_the_children_only_through_the_supervisor() -> None:
    with supervised(workers=2) as running:
        running.wait_for(READY)
        with connect(running.plan.port, "hold") as held:
            assert held.recv(10) == b"held"
            for pid in [*children_of(running).values(), running.pid]:
                os.kill(pid, signal.SIGTERM)
            running.wait_for("draining for at most")
        assert running.exit_code() == 0
        assert not any("killed by" in line for line in running.lines)


def test_when_the_supervisor_is_killed_its_children_leave() -> None:
    with supervised(workers=2) as running:
        running.wait_for(READY)
        pids = children_of(running)
        running.signal(signal.SIGKILL)
        assert [pid for pid in pids.values() if not wait_for_exit(pid)] == []
        assert not is_open(running.plan.port)


def test_a_fault_of_the_supervisor_itself_is_one_line_and_leaves_nobody_behind() -> None:
    with supervised(workers=2, breaks=True) as running:
        running.wait_for(READY)
        pids = children_of(running)
        running.signal(signal.SIGHUP)
        assert running.exit_code() == 1
        running.wait_for(r"CRITICAL .* stops everything: RuntimeError: a fault of the supervisor itself \(at main\.py:")
        assert not any(psutil.pid_exists(pid) for pid in pids.values())
        assert not any("Traceback" in line or "another starts" in line for line in running.lines)


def test_after_a_killed_supervisor_the_next_one_gets_the_same_ports() -> None:
    with supervised() as first:
        first.wait_for(READY)
        first.signal(signal.SIGKILL)
        with supervised(port=first.plan.port, admin_port=first.plan.admin_port) as second:
            second.wait_for(READY)


# Unix sockets, log, imports


def test_a_unix_socket_left_behind_is_replaced_and_removed_at_the_end(tmp_path: Path) -> None:
    path = tmp_path / "proxy.sock"
    with socket.socket(socket.AF_UNIX) as dead:
        dead.bind(str(path))
    with supervised(unix=str(path)) as running:
        running.wait_for(READY)
        with socket.socket(socket.AF_UNIX) as client:
            client.settimeout(10)
            client.connect(str(path))
            client.sendall(b"whoami")
            assert client.recv(100).startswith(b"worker 0|")
        running.signal(signal.SIGTERM)
        assert running.exit_code() == 0
        assert not path.exists()


def test_every_line_of_a_json_log_is_an_object() -> None:
    with supervised(log="json", worker="raises") as running:
        assert running.exit_code() == 1
        events = [json.loads(line) for line in running.lines]
        assert {event["role"] for event in events} == {"supervisor", "worker 0"}
        errors = [event["error"] for event in events if event["message"] == "worker 0 failed"]
        assert len(errors) == 5
        assert errors[0].startswith("RuntimeError: cannot work like this (at ")


def test_the_supervisor_loads_no_event_loop() -> None:
    code = "import sys, shardproxy.supervisor.main; print({'asyncio', 'uvloop', 'aiohttp'} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, timeout=30)
    assert done.stdout == "set()\n", done.stderr


def is_open(port: int) -> bool:
    try:
        return bool(ask(port, "whoami"))
    except OSError:
        return False

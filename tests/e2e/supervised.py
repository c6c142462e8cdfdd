"""A real supervisor in a process of its own, with children from `supervised_children`."""

from __future__ import annotations

import json
import os
import re
import select
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Literal, NamedTuple

from shardproxy.config.schema import Admin, Cluster, Config, Endpoint, Listener, Log, Match, Route
from shardproxy.config.units import Address
from shardproxy.supervisor.children import Entries
from shardproxy.supervisor.main import Supervisor, run
from tests.e2e.supervised_children import FailsAtItsEnd

PATIENCE_S = 15.0
ROOT = Path(__file__).parents[2]
CHILDREN = "tests.e2e.supervised_children"


class Plan(NamedTuple):
    """What to start; `worker` and `controller` name functions of `supervised_children`.

    `breaks` gives the supervisor a fault of its own: any signal makes its loop raise. With `loses` any signal makes it
    raise where nothing can catch it.
    """

    port: int
    admin_port: int
    workers: int = 1
    worker: str = "serve"
    controller: str = "serve"
    watchdog_s: float = 10.0
    drain_s: float = 10.0
    log: Literal["plain", "json"] = "plain"
    unix: str = ""
    breaks: bool = False
    loses: bool = False


class WhoAmI(NamedTuple):
    name: str
    pid: int
    row: int


def configuration(plan: Plan) -> Config:
    everything = (Route(match=Match(prefix="/"), cluster="app"),)
    listeners = [Listener(bind=Address("127.0.0.1", plan.port), name="web", routes=everything)]
    if plan.unix:
        listeners.append(Listener(bind=Address(path=plan.unix), name="local", routes=everything))
    return Config(
        listeners=tuple(listeners),
        clusters=(Cluster(name="app", endpoints=(Endpoint(address=Address("127.0.0.1", 1)),)),),
        workers=plan.workers,
        admin=Admin(bind=Address("127.0.0.1", plan.admin_port)),
        watchdog=round(plan.watchdog_s * 1e9),
        drain_timeout=round(plan.drain_s * 1e9),
        log=Log(format=plan.log, level="info"),
    )


def free_ports(count: int) -> list[int]:
    """Ports that nobody has at this moment."""
    probes = [socket.create_server(("127.0.0.1", 0)) for _ in range(count)]
    ports = [probe.getsockname()[1] for probe in probes]
    for probe in probes:
        probe.close()
    return ports


def wait_for_exit(pid: int, within_s: float = PATIENCE_S) -> bool:
    """Whether the process, which need not be a child of ours, is gone in time."""
    try:
        fd = os.pidfd_open(pid)
    except ProcessLookupError:
        return True
    try:
        return bool(select.select([fd], [], [], within_s)[0])
    finally:
        os.close(fd)


class Running:
    """A running supervisor: its log, its exit, and lines to its children."""

    def __init__(self, plan: Plan) -> None:
        self.plan = plan
        self.lines: list[str] = []
        self._ended = False
        self._news = threading.Condition()
        self.process = subprocess.Popen(
            [sys.executable, "-m", "tests.e2e.supervised", json.dumps(plan)],
            cwd=ROOT, stderr=subprocess.PIPE, stdin=subprocess.DEVNULL, text=True,
        )  # fmt: skip
        self._reader = threading.Thread(target=self._read)
        self._reader.start()

    @property
    def pid(self) -> int:
        return self.process.pid

    def signal(self, number: signal.Signals) -> None:
        self.process.send_signal(number)

    def wait_for(self, pattern: str, times: int = 1) -> re.Match[str]:
        """The last of the first `times` lines of the log that match; waits for them."""
        with self._news:
            self._news.wait_for(lambda: self._ended or len(self._found(pattern)) >= times, PATIENCE_S)
            found = self._found(pattern)
        assert len(found) >= times, f"{pattern!r} not {times} times in:\n" + "\n".join(self.lines)
        return found[times - 1]

    def exit_code(self) -> int:
        code = self.process.wait(PATIENCE_S)
        self._reader.join(PATIENCE_S)
        assert not self._reader.is_alive(), "somebody still holds the log open: a child was left behind"
        return code

    def position(self, pattern: str) -> int:
        """The number of the line that matches."""
        return next(number for number, line in enumerate(self.lines) if re.search(pattern, line))

    def ask(self, question: str) -> str:
        """What a worker (whichever the kernel picks) answers."""
        return ask(self.plan.port, question)

    def ask_controller(self, question: str) -> str:
        return ask(self.plan.admin_port, question)

    def whoami(self) -> WhoAmI:
        name, pid, row = self.ask("whoami").split("|")
        return WhoAmI(name, int(pid), int(row))

    def close(self) -> None:
        if self.process.poll() is None:
            self.process.kill()
        self.exit_code()
        assert self.process.stderr is not None
        self.process.stderr.close()

    def _found(self, pattern: str) -> list[re.Match[str]]:
        return [match for line in self.lines if (match := re.search(pattern, line))]

    def _read(self) -> None:
        """Ends when the last process that holds the pipe has gone: a child left behind makes the test fail."""
        assert self.process.stderr is not None
        for line in self.process.stderr:
            with self._news:
                self.lines.append(line.rstrip("\n"))
                self._news.notify_all()
        with self._news:
            self._ended = True
            self._news.notify_all()


def ask(port: int, question: str) -> str:
    with connect(port, question) as connection:
        answer = b""
        while part := connection.recv(4096):
            answer += part
    return answer.decode()


def connect(port: int, question: str) -> socket.socket:
    connection = socket.create_connection(("127.0.0.1", port), timeout=PATIENCE_S)
    connection.sendall(question.encode())
    return connection


@contextmanager
def supervised(**changes: Any) -> Iterator[Running]:
    """A supervisor that is `ready`, unless the plan's worker never is."""
    port, admin_port = free_ports(2)
    running = Running(Plan(port, admin_port)._replace(**changes))
    try:
        yield running
    finally:
        running.close()


def eventually(answer: object, question: object) -> None:
    """Ask until the answer is right; for states that no event announces."""
    assert callable(question)
    give_up = time.monotonic() + PATIENCE_S
    while (got := question()) != answer:
        assert time.monotonic() < give_up, f"{got!r} instead of {answer!r}"
        time.sleep(0.01)


def broken(self: Supervisor, mark: signal.Signals) -> None:
    if mark is not signal.SIGCHLD:
        raise RuntimeError("a fault of the supervisor itself")


def lossy(self: Supervisor, mark: signal.Signals) -> None:
    FailsAtItsEnd()


if __name__ == "__main__":
    wanted = Plan(*json.loads(sys.argv[1]))
    names = Entries(worker=f"{CHILDREN}:{wanted.worker}", controller=f"{CHILDREN}:{wanted.controller}")
    if wanted.breaks:
        Supervisor._act = broken  # type: ignore[method-assign]
    if wanted.loses:
        Supervisor._act = lossy  # type: ignore[method-assign]
    sys.exit(run(configuration(wanted), entries=names))

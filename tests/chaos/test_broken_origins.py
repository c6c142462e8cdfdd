"""One of three origins is killed, stopped or answers with 500, under load over four workers: clients see nothing of it.

The configuration is the example `configs/resilient.yaml`.  What is printed last is when the broken endpoint's state
changed, as the controller publishes it.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.load import Background
from tests.proxykit import ROOT, Proxy, eventually, exchange, free_port, proxy


class Breakable:
    """An origin in a process of its own that the test may treat badly."""

    def __init__(self) -> None:
        self.port = free_port()
        self.start()

    @property
    def address(self) -> str:
        return f"127.0.0.1:{self.port}"

    def start(self) -> None:
        self.process = subprocess.Popen([sys.executable, "-m", "tests.origin", str(self.port)], cwd=ROOT)
        eventually(self.answers, f"the origin on port {self.port}")

    def answers(self) -> bool:
        try:
            return b" 200 " in exchange(self.port, b"GET / HTTP/1.0\r\n\r\n", patience_s=0.2)
        except TimeoutError:  # it keeps the connection, and has been asked nothing else
            return True
        except OSError:
            return False

    def break_by(self, way: str) -> None:
        number = {"killed": signal.SIGKILL, "stopped": signal.SIGSTOP, "answering 500": signal.SIGUSR1}[way]
        os.kill(self.process.pid, number)
        if way == "killed":
            self.process.wait()

    def mend(self, way: str) -> None:
        if way == "killed":
            self.start()
        else:
            os.kill(self.process.pid, {"stopped": signal.SIGCONT, "answering 500": signal.SIGUSR2}[way])

    def end(self) -> None:
        self.process.kill()
        self.process.wait()


@contextmanager
def three_origins() -> Iterator[list[Breakable]]:
    made: list[Breakable] = []
    try:
        for _ in range(3):
            made.append(Breakable())
        yield made
    finally:
        for one in made:
            one.end()


def configuration(origins: list[Breakable]) -> str:
    text = (ROOT / "configs" / "resilient.yaml").read_text().replace("127.0.0.1:8080", "127.0.0.1:PORT")
    for number, one in enumerate(origins, 1):
        text = text.replace(f"127.0.0.1:900{number}", one.address)
    return "workers: 4\n" + text


def state(running: Proxy, origin: Breakable) -> str:
    return str(running.endpoints()[origin.address]["health"]["state"])


def is_served(running: Proxy, origin: Breakable) -> bool:
    """Whether one more of its answers reaches a client."""
    answer = exchange(running.port, b"GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n")
    return f"\r\n\r\n{origin.port}\n".encode() in answer


@pytest.mark.parametrize("way", ["killed", "stopped", "answering 500"])
def test_a_broken_origin_is_not_seen_by_clients_and_comes_back(tmp_path: Path, way: str) -> None:
    with three_origins() as origins, proxy(tmp_path, configuration(origins)) as running:
        broken, begin = origins[0], time.monotonic()
        line: list[str] = []

        def note(what: str) -> None:
            line.append(f"{time.monotonic() - begin:.2f} s {what}")

        eventually(lambda: state(running, broken) == "healthy", "the first checks")
        with Background(running.port, clients=8, pause_s=0.02) as load:
            eventually(lambda: load.tally.total > 200, "traffic")
            broken.break_by(way)
            note(way)
            eventually(lambda: state(running, broken) != "healthy", "the endpoint to be out")
            note(f"is {state(running, broken)}")
            before = load.tally.total
            eventually(lambda: load.tally.total > before + 200, "traffic without it")
            broken.mend(way)
            note("mended")
            eventually(lambda: state(running, broken) == "healthy", "the endpoint to be back")
            note("is healthy")
            eventually(lambda: is_served(running, broken), "its answers")
            note("serves")
        tally = load.tally
        failed = tally.total - tally.with_status(200)
        print(f"{way}: {tally.total} requests, {failed} failed, {tally.broken} broken; {'; '.join(line)}")
        assert (failed, tally.broken, tally.refused) == (0, 0, 0)
        running.await_idle()

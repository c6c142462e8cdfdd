"""Start a program pinned to one CPU, wait until it serves, and end it with everything it started."""

from __future__ import annotations

import http.client
import socket
import subprocess
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from types import TracebackType

import psutil

START_TIMEOUT_S = 15.0
END_TIMEOUT_S = 5.0
POLL_INTERVAL_S = 0.05
PROBE_TIMEOUT_S = 5.0


class DidNotStart(Exception):
    """A program ended or did not serve in time; the text says which and ends with the last line it wrote."""


def free_ports(count: int) -> list[int]:
    """TCP ports of the loopback that nobody listens on at this moment, all different."""
    sockets = [socket.socket() for _ in range(count)]
    try:
        for each in sockets:
            each.bind(("127.0.0.1", 0))
        return [each.getsockname()[1] for each in sockets]
    finally:
        for each in sockets:
            each.close()


class Running:
    """A program on one CPU (None: on any) with its own session, so that Ctrl-C reaches only us and we end it by pid.

    `taskset` pins it before it starts, therefore all its threads and children are pinned as well.
    """

    def __init__(self, name: str, command: Sequence[str], cpu: int | None, log: Path) -> None:
        self.name = name
        self._log = log
        pinned = [] if cpu is None else ["taskset", "-c", str(cpu)]
        with log.open("wb") as out:
            self._process = subprocess.Popen(
                [*pinned, *command],
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )

    def __repr__(self) -> str:
        state = "running" if self.is_alive else f"ended with {self._process.returncode}"
        return f"<{self.name} pid {self.pid} {state}>"

    @property
    def pid(self) -> int:
        return self._process.pid

    @property
    def is_alive(self) -> bool:
        return self._process.poll() is None

    def wait_until(self, serves: Callable[[], bool]) -> None:
        """Return once `serves()` is true; DidNotStart when the program ends first or START_TIMEOUT_S pass."""
        deadline = time.monotonic() + START_TIMEOUT_S
        while not serves():
            if not self.is_alive:
                raise DidNotStart(f"{self.name} ended at start with {self._process.returncode}: {self.last_line()}")
            if time.monotonic() > deadline:
                raise DidNotStart(f"{self.name} did not serve within {START_TIMEOUT_S:.0f} s: {self.last_line()}")
            time.sleep(POLL_INTERVAL_S)

    def last_line(self) -> str:
        """The last line of the program's output that is not empty."""
        lines = [line.strip() for line in self._log.read_text(errors="replace").splitlines() if line.strip()]
        return lines[-1] if lines else "(it wrote nothing)"

    def end(self) -> None:
        """SIGTERM to the program, SIGKILL after END_TIMEOUT_S to whatever is left of its tree."""
        members = _tree(self.pid) if self.is_alive else []
        self._process.terminate()
        _, left = psutil.wait_procs(members, timeout=END_TIMEOUT_S)
        for process in left:
            process.kill()  # psutil compares the start time first: never a stranger with a reused pid
        psutil.wait_procs(left, timeout=END_TIMEOUT_S)
        self._process.wait(timeout=END_TIMEOUT_S)

    def __enter__(self) -> Running:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.end()


def _tree(root: int) -> list[psutil.Process]:
    try:
        process = psutil.Process(root)
        return [process, *process.children(recursive=True)]
    except psutil.NoSuchProcess:
        return []


def fetch(port: int, path: str, method: str = "GET", body: bytes | None = None) -> tuple[int, int]:
    """One request to the loopback: (status, bytes of the body). OSError when nobody answers properly."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=PROBE_TIMEOUT_S)
    try:
        connection.request(method, path, body=body)
        answer = connection.getresponse()
        return answer.status, len(answer.read())
    except http.client.HTTPException as error:
        raise OSError(f"broken answer: {error!r}") from error
    finally:
        connection.close()


def answers(port: int, path: str) -> bool:
    """Whether a GET is answered with 200 now."""
    try:
        return fetch(port, path)[0] == 200
    except OSError:
        return False

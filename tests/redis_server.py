"""A real redis-server (or valkey-server) on a port of its own, which tests pause, kill and start again."""

from __future__ import annotations

import shutil
import signal
import socket
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from importlib.util import find_spec
from pathlib import Path

import pytest

from tests.proxykit import eventually, free_port

PROGRAM = shutil.which("redis-server") or shutil.which("valkey-server")

needs_redis = pytest.mark.skipif(
    PROGRAM is None or find_spec("redis") is None,
    reason="needs a redis-server (apt-get install redis-server) and the package redis (pip install redis)",
)


class RedisServer:
    """Keeps nothing on disk: who is started again knows nothing."""

    def __init__(self, folder: Path) -> None:
        self.port = free_port()
        self._folder = folder
        self.start()

    @property
    def url(self) -> str:
        return f"redis://127.0.0.1:{self.port}"

    def start(self) -> None:
        assert PROGRAM is not None
        options = ["--bind", "127.0.0.1", "--port", str(self.port), "--save", "", "--dir", str(self._folder)]
        log = ["--logfile", str(self._folder / "redis.log")]
        self.process = subprocess.Popen([PROGRAM, *options, *log], stdout=subprocess.DEVNULL)
        eventually(lambda: self.ask("PING") == "+PONG", "the redis-server")

    def ask(self, command: str) -> str:
        """The first line of the answer to an inline command; empty if there is none."""
        with suppress(OSError), socket.create_connection(("127.0.0.1", self.port), 1) as connection:
            connection.sendall(command.encode() + b"\r\n")
            return connection.recv(4096).decode().split("\r\n")[0]
        return ""

    def pause(self) -> None:
        """It takes connections, since the kernel does that, and answers nothing."""
        self.process.send_signal(signal.SIGSTOP)

    def resume(self) -> None:
        self.process.send_signal(signal.SIGCONT)

    def kill(self) -> None:
        self.process.kill()
        self.process.wait()


@contextmanager
def redis_server(folder: Path) -> Iterator[RedisServer]:
    server = RedisServer(folder)
    try:
        yield server
    finally:
        server.kill()

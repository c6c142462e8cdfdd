"""The real proxy on free ports, with real origins: what end-to-end and chaos tests stand on."""

from __future__ import annotations

import asyncio
import json
import socket
import subprocess
import sys
import threading
import time
import urllib.request
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar

ROOT = Path(__file__).parents[1]
PATIENCE_S = 20.0
T = TypeVar("T")


def free_port() -> int:
    """A port that nobody listens on; outside the range of outgoing connections would be better, but this is rare."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def eventually(condition: Callable[[], T], what: str, patience_s: float = PATIENCE_S) -> T:
    """The first true value of `condition`; fails the test when there is none in time."""
    deadline = time.monotonic() + patience_s
    while not (value := condition()):
        assert time.monotonic() < deadline, f"waited {patience_s:g} s for {what}"
        time.sleep(0.01)
    return value


class Proxy:
    """A `shardproxy run` of its own; `log` is all it has said so far."""

    def __init__(self, file: Path, port: int, admin_port: int) -> None:
        self.port = port
        self.admin_port = admin_port
        self._output = file.with_suffix(".log").open("w+b")
        self.process = subprocess.Popen(
            [sys.executable, "-m", "shardproxy", "run", str(file)], cwd=ROOT, stderr=self._output, stdout=self._output
        )

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @property
    def log(self) -> str:
        return Path(self._output.name).read_text()

    def stats(self) -> dict[str, Any]:
        with urllib.request.urlopen(f"http://127.0.0.1:{self.admin_port}/stats", timeout=PATIENCE_S) as answer:
            return dict(json.load(answer))

    def is_ready(self) -> bool:
        assert self.process.poll() is None, f"the proxy has ended:\n{self.log}"
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{self.admin_port}/ready", timeout=PATIENCE_S) as answer:
                return bool(answer.status == 200)
        except OSError:
            return False

    def worker_pids(self) -> list[int]:
        return [worker["pid"] for worker in self.stats()["workers"]]

    def endpoints(self, cluster: str = "app") -> dict[str, dict[str, Any]]:
        return dict(self.stats()["clusters"][cluster]["endpoints"])

    def await_idle(self) -> None:
        """Until no request is counted as active anywhere; exact zeros are what is asserted."""
        eventually(lambda: all(not e["active"] for e in self.endpoints().values()), "active counts of 0")

    def close(self) -> None:
        if self.process.poll() is None:
            self.process.terminate()
        try:
            code = self.process.wait(PATIENCE_S)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
            raise
        finally:
            self._output.close()
        assert code in (0, -9), f"exit code {code}:\n{Path(self._output.name).read_text()}"
        assert "Traceback" not in Path(self._output.name).read_text()


@contextmanager
def proxy(tmp_path: Path, configuration: str) -> Iterator[Proxy]:
    """The proxy with this configuration, in which PORT and ADMIN stand for free ports; ready when this returns."""
    port, admin_port = free_port(), free_port()
    file = tmp_path / f"proxy-{port}.yaml"
    text = f"admin: {{bind: 127.0.0.1:{admin_port}}}\n" + configuration.replace("PORT", str(port))
    file.write_text(text)
    running = Proxy(file, port, admin_port)
    try:
        eventually(running.is_ready, "the proxy to be ready")
        yield running
    finally:
        running.close()


@contextmanager
def origins(*delays_ms: float) -> Iterator[list[str]]:
    """Addresses of quick origins, each a process of its own and as slow as asked for."""
    ports = [free_port() for _ in delays_ms]
    processes = [
        subprocess.Popen([sys.executable, "-m", "tests.origin", "--delay-ms", str(delay), str(port)], cwd=ROOT)
        for port, delay in zip(ports, delays_ms, strict=True)
    ]
    try:
        for port in ports:
            eventually(lambda port=port: _accepts(port), f"the origin on port {port}")  # type: ignore[misc]
        yield [f"127.0.0.1:{port}" for port in ports]
    finally:
        for process in processes:
            process.kill()
            process.wait()


def _accepts(port: int) -> bool:
    try:
        socket.create_connection(("127.0.0.1", port), 1).close()
    except OSError:
        return False
    return True


Handler = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


@contextmanager
def scripted_origin(handler: Handler, unix: Path | None = None) -> Iterator[str]:
    """An origin that does to each connection what `handler` says, in a thread of its own; `unix` names its socket."""
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever)
    thread.start()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            await handler(reader, writer)
        except (ConnectionError, asyncio.IncompleteReadError, asyncio.CancelledError):
            pass
        finally:
            writer.close()

    async def stop() -> None:
        server.close()
        while tasks := asyncio.all_tasks() - {asyncio.current_task()}:
            await asyncio.sleep(0)  # a task that is cancelled before it has begun does not close what it was given
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    async def start() -> asyncio.Server:
        if unix is not None:
            return await asyncio.start_unix_server(serve, unix)
        return await asyncio.start_server(serve, "127.0.0.1", 0, backlog=1024)

    server = asyncio.run_coroutine_threadsafe(start(), loop).result(PATIENCE_S)
    try:
        yield f"unix:{unix}" if unix else f"127.0.0.1:{server.sockets[0].getsockname()[1]}"
    finally:
        asyncio.run_coroutine_threadsafe(stop(), loop).result(PATIENCE_S)
        loop.call_soon_threadsafe(loop.stop)
        thread.join()
        loop.close()


def exchange(port: int, request: bytes, *, patience_s: float = PATIENCE_S) -> bytes:
    """Send raw bytes on a connection of their own; all that comes back until the proxy closes it."""
    with socket.create_connection(("127.0.0.1", port), patience_s) as connection:
        connection.settimeout(patience_s)
        connection.sendall(request)
        pieces = []
        try:
            while piece := connection.recv(65536):
                pieces.append(piece)
        except ConnectionResetError:
            pieces.append(b"<reset>")
        return b"".join(pieces)

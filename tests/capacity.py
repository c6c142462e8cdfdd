"""An origin that notes how many requests it works on at a time: `python -m tests.capacity --work-ms 2 PORT`.

Each request's path is its number, `/17`.  What it has seen, a client of its own asks with `/report`.  A request whose
connection ends is given up at once, as an origin does that watches its clients.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import msgspec
import uvloop

from tests.proxykit import eventually, free_port

ROOT = Path(__file__).parents[1]
ANSWER = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"


class Span(msgspec.Struct, array_like=True):
    """One request: its number, and when work on it began and ended (CLOCK_MONOTONIC ns)."""

    number: int
    start_ns: int
    end_ns: int


class Report(msgspec.Struct):
    """`most` is the largest number of requests that were worked on at the same moment."""

    most: int = 0
    spans: list[Span] = msgspec.field(default_factory=list)


class Work:
    """What all connections share."""

    def __init__(self, work_s: float) -> None:
        self.work_s = work_s
        self.now = 0
        self.report = Report()


class Connection(asyncio.Protocol):
    def __init__(self, work: Work) -> None:
        self.work = work
        self.buffer = b""
        self.running: asyncio.TimerHandle | None = None
        self.transport: asyncio.Transport | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        self.transport = transport

    def connection_lost(self, exc: Exception | None) -> None:
        self.transport = None
        if self.running is not None:
            self.running.cancel()
            self.running = None
            self.work.now -= 1

    def data_received(self, data: bytes) -> None:
        self.buffer += data
        if not self.buffer.endswith(b"\r\n\r\n"):
            return
        path, self.buffer = self.buffer.split(b" ", 2)[1][1:], b""
        if path == b"report":
            self.answer_report()
            return
        work = self.work
        work.now += 1
        work.report.most = max(work.report.most, work.now)
        number, begun = int(path), time.monotonic_ns()
        self.running = asyncio.get_running_loop().call_later(work.work_s, self.done, number, begun)

    def done(self, number: int, begun_ns: int) -> None:
        self.running = None
        self.work.now -= 1
        self.work.report.spans.append(Span(number, begun_ns, time.monotonic_ns()))
        if self.transport is not None:
            self.transport.write(ANSWER)

    def answer_report(self) -> None:
        body = msgspec.json.encode(self.work.report)
        assert self.transport is not None
        self.transport.write(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\nConnection: close\r\n\r\n" % len(body) + body)
        self.transport.close()


class Origin:
    """A running one."""

    def __init__(self, port: int) -> None:
        self.port = port
        self.address = f"127.0.0.1:{port}"

    def report(self) -> Report:
        with urllib.request.urlopen(f"http://{self.address}/report", timeout=20) as answer:
            return msgspec.json.decode(answer.read(), type=Report)

    def is_up(self) -> bool:
        try:
            return self.report().most == 0
        except OSError:
            return False


@contextmanager
def capacity_origin(work_ms: float) -> Iterator[Origin]:
    origin = Origin(free_port())
    command = [sys.executable, "-m", "tests.capacity", "--work-ms", str(work_ms), str(origin.port)]
    process = subprocess.Popen(command, cwd=ROOT)
    try:
        eventually(origin.is_up, "the origin")
        yield origin
    finally:
        process.kill()
        process.wait()


async def serve(port: int, work_s: float) -> None:
    work = Work(work_s)
    loop = asyncio.get_running_loop()
    server = await loop.create_server(lambda: Connection(work), "127.0.0.1", port, backlog=1024)
    async with server:
        await server.serve_forever()


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--work-ms", type=float, required=True)
    parser.add_argument("port", type=int)
    arguments = parser.parse_args()
    with contextlib.suppress(KeyboardInterrupt):
        uvloop.run(serve(arguments.port, arguments.work_ms / 1000))

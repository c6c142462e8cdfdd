"""Sockets of the data path at their limits: many at once, none left, an endpoint that does not take what it is sent."""

from __future__ import annotations

import asyncio
import resource
import socket
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import psutil
import pytest

from tests.proxykit import Proxy, exchange, origins, proxy, scripted_origin

CONFIGURATION = """
workers: 1
listeners:
  - bind: 127.0.0.1:PORT
    routes:
      - {match: {prefix: /}, cluster: app}
clusters:
  - {name: app, endpoints: ["ORIGIN"]}
"""
GET = b"GET / HTTP/1.1\r\nHost: a.test\r\n\r\n"
PATIENCE_S = 10.0


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Proxy]:
    with (
        origins(0) as (origin,),
        proxy(tmp_path_factory.mktemp("streams"), CONFIGURATION.replace("ORIGIN", origin)) as started,
    ):
        yield started


def connect(stack: ExitStack, port: int) -> socket.socket:
    return stack.enter_context(socket.create_connection(("127.0.0.1", port), PATIENCE_S))


@contextmanager
def few_descriptors(pid: int, free: int) -> Iterator[None]:
    """The process may open so many descriptors more: the limit is one of their numbers, and there may be gaps."""
    before = resource.prlimit(pid, resource.RLIMIT_NOFILE)
    used = {int(entry.name) for entry in Path(f"/proc/{pid}/fd").iterdir()}
    unused = [number for number in range(len(used) + free + 1) if number not in used]
    resource.prlimit(pid, resource.RLIMIT_NOFILE, (unused[free - 1] + 1, before[1]))
    try:
        yield
    finally:
        resource.prlimit(pid, resource.RLIMIT_NOFILE, before)


def test_three_hundred_who_come_at_the_same_time_are_all_answered(running: Proxy) -> None:
    with ExitStack() as stack:
        clients = [connect(stack, running.port) for _ in range(300)]
        for client in clients:
            client.sendall(GET)
        assert all(client.recv(65536).startswith(b"HTTP/1.1 200 ") for client in clients)


def test_who_comes_when_no_descriptor_is_left_waits_and_is_answered_when_there_is_one(running: Proxy) -> None:
    assert exchange(running.port, GET.replace(b"\r\n\r\n", b"\r\nConnection: close\r\n\r\n"))
    (pid,) = running.worker_pids()
    with ExitStack() as stack, few_descriptors(pid, 6):
        first = [connect(stack, running.port) for _ in range(6)]
        late = connect(stack, running.port)
        late.sendall(GET)
        late.settimeout(0.5)
        with pytest.raises(TimeoutError):
            late.recv(65536)
        before = sum(psutil.Process(pid).cpu_times()[:2])
        with pytest.raises(TimeoutError):
            late.recv(65536)
        busy_s = sum(psutil.Process(pid).cpu_times()[:2]) - before
        for client in first:
            client.close()
        late.settimeout(PATIENCE_S)
        assert late.recv(65536).startswith(b"HTTP/1.1 200 ")
        assert busy_s < 0.1, "a worker that waits for descriptors is not busy meanwhile"


def test_what_an_endpoint_takes_slowly_arrives_whole_and_in_order(tmp_path: Path) -> None:
    body = b"".join(b"%07d\n" % number for number in range(1_000_000))
    taken: list[bytes] = []

    async def slow(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        while sum(map(len, taken)) < len(body):
            taken.append(await reader.read(100_000))
            await asyncio.sleep(0)
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")
        await writer.drain()

    head = b"POST / HTTP/1.1\r\nHost: a.test\r\nConnection: close\r\nContent-Length: %d\r\n\r\n" % len(body)
    with scripted_origin(slow) as origin, proxy(tmp_path, CONFIGURATION.replace("ORIGIN", origin)) as started:
        assert exchange(started.port, head + body).startswith(b"HTTP/1.1 200 ")
    assert b"".join(taken) == body

"""A worker that gets no memory for a while loses what it had in hand, and goes on when there is memory again."""

from __future__ import annotations

import asyncio
import hashlib
import re
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.failing_malloc import FailingMalloc, failing_malloc, only_with_glibc
from tests.proxykit import Proxy, eventually, exchange, origins, proxy, scripted_origin

pytestmark = only_with_glibc

ONE_TICK = 40  # allocations of a worker that has nothing to do, and more
SOON_S = 0.3

CONFIGURATION = """
workers: 1
watchdog: 3s
listeners:
  - bind: 127.0.0.1:PORT
    timeouts: {request_head: 500ms}
    routes: [{match: {prefix: /}, cluster: app}]
clusters:
  - {name: app, endpoints: [ORIGIN]}
"""
GET = b"GET / HTTP/1.1\r\nHost: a.test\r\nConnection: close\r\n\r\n"
PIECE = bytes(range(251)) * 40  # 10 040 bytes: a chunk that Python gets from malloc
PIECES = 12
BODY = PIECE * PIECES
EXCHANGES = 20

UPLOAD = b"POST / HTTP/1.1\r\nHost: a.test\r\nTransfer-Encoding: chunked\r\nConnection: close\r\n\r\n"


@pytest.fixture(scope="module")
def malloc(tmp_path_factory: pytest.TempPathFactory) -> Iterator[FailingMalloc]:
    with failing_malloc(tmp_path_factory.mktemp("malloc")) as built:
        yield built


@pytest.fixture
def running(malloc: FailingMalloc, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Proxy]:
    """A proxy whose every allocation, the small ones of Python's objects included, can be refused."""
    with origins(0) as (address,):
        for name, value in {**malloc.environment, "PYTHONMALLOC": "malloc"}.items():
            monkeypatch.setenv(name, value)
        with proxy(tmp_path, CONFIGURATION.replace("ORIGIN", address)) as one:
            yield one


def worker(running: Proxy) -> dict[str, Any]:
    (only,) = running.stats()["workers"]
    return dict(only)


def test_a_worker_ticks_and_serves_timeouts_after_any_one_allocation_that_failed(
    running: Proxy, malloc: FailingMalloc
) -> None:
    """The first that it asks for, then the second, and so on: more than one tick needs."""
    pid = worker(running)["pid"]
    for nth in range(1, ONE_TICK + 1):
        with malloc.orders.refuse(pid, nth=nth, times=1):
            eventually(lambda: malloc.orders.refused, "a worker that asks for memory")
        eventually(lambda: worker(running)["heartbeat_age_s"] < SOON_S, "the next heartbeat")
    assert worker(running)["pid"] == pid
    assert 0 < worker(running)["unraisable"] <= ONE_TICK
    with socket.create_connection(("127.0.0.1", running.port), 20) as silent:
        silent.sendall(b"GET / HTTP/1.1\r\n")
        assert silent.recv(4096).startswith(b"HTTP/1.1 408 ")
    assert exchange(running.port, GET).startswith(b"HTTP/1.1 200 ")
    assert "an exception reached no code that could handle it" in running.log


async def measure_or_send(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """An origin that answers an upload with the digest of what it got, and all else with the body."""
    head = await reader.readuntil(b"\r\n\r\n")
    body = BODY
    if head.startswith(b"POST "):
        got = hashlib.sha256()
        while size := int(await reader.readuntil(b"\n"), 16):
            got.update(await reader.readexactly(size))
            await reader.readexactly(2)
        body = got.hexdigest().encode()
    writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\nConnection: close\r\n\r\n%b" % (len(body), body))
    await writer.drain()


def upload(port: int) -> bytes:
    """All that comes back for the body, sent in chunks that arrive one by one."""
    with socket.create_connection(("127.0.0.1", port), 20) as client:
        client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        try:
            client.sendall(UPLOAD)
            for _ in range(PIECES):
                client.sendall(b"%x\r\n%b\r\n" % (len(PIECE), PIECE))
            client.sendall(b"0\r\n\r\n")
        except OSError:
            pass  # broken off, as it should be; what it answered is still there
        try:
            return b"".join(iter(lambda: client.recv(65536), b""))
        except ConnectionResetError:
            return b""


def is_whole(answer: bytes, body: bytes) -> bool:
    """Whether it is the body; an answer with 200 that looks complete and is another one fails the test."""
    head, _, got = answer.partition(b"\r\n\r\n")
    length = re.search(rb"(?i)\r\ncontent-length: (\d+)", head)
    if not answer.startswith(b"HTTP/1.1 200 ") or length is None or len(got) < int(length[1]):
        return False  # visibly not the answer
    assert got == body, "bytes were lost, and nothing tells of it"
    return True


def test_bodies_are_whole_or_visibly_broken_off_when_every_third_large_allocation_fails(
    malloc: FailingMalloc, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    digest = hashlib.sha256(BODY).hexdigest().encode()
    with scripted_origin(measure_or_send) as address:
        for name, value in malloc.environment.items():
            monkeypatch.setenv(name, value)
        with proxy(tmp_path, CONFIGURATION.replace("ORIGIN", address)) as running:
            pid = worker(running)["pid"]
            with malloc.orders.refuse(pid, nth=3, least=4000):
                for _ in range(EXCHANGES):
                    is_whole(upload(running.port), digest)
                    is_whole(exchange(running.port, GET), BODY)
            assert malloc.orders.refused > EXCHANGES
            assert is_whole(upload(running.port), digest)
            assert is_whole(exchange(running.port, GET), BODY)
            assert worker(running)["pid"] == pid
            running.await_idle()

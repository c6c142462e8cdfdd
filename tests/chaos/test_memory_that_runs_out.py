"""A worker that gets no memory for a while loses what it had in hand, and goes on when there is memory again."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.failing_malloc import FailingMalloc, failing_malloc, only_with_glibc
from tests.proxykit import Proxy, eventually, exchange, origins, proxy

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

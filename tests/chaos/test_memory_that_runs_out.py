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

REFUSALS = 200

CONFIGURATION = """
workers: 1
watchdog: 3s
listeners:
  - bind: 127.0.0.1:PORT
    timeouts: {request_head: 1s}
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


@pytest.mark.parametrize("nth", [1, 2, 7])
def test_ticks_and_timeouts_go_on_in_the_worker_whose_ticks_got_no_memory(
    running: Proxy, malloc: FailingMalloc, nth: int
) -> None:
    pid = worker(running)["pid"]
    with malloc.orders.refuse(pid, nth=nth):
        eventually(lambda: malloc.orders.refused >= REFUSALS // nth, "a worker that asks for memory")
    eventually(lambda: worker(running)["heartbeat_age_s"] < 0.2, "the next heartbeat")
    with socket.create_connection(("127.0.0.1", running.port), 20) as silent:
        silent.sendall(b"GET / HTTP/1.1\r\n")
        assert silent.recv(4096).startswith(b"HTTP/1.1 408 "), "a timeout is served"
    assert exchange(running.port, GET).startswith(b"HTTP/1.1 200 ")
    assert worker(running)["pid"] == pid
    assert worker(running)["unraisable"] > 0
    assert "an exception reached no code that could handle it" in running.log

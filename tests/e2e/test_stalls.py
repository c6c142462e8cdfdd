"""A worker that stood still (SIGSTOP, a suspended machine) serves what has arrived meanwhile before any timeout."""

from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest

from tests.e2e.peers import OK, Client, Origin, recording_origin, says_when
from tests.proxykit import Proxy, eventually, proxy

CONFIGURATION = """
workers: 1
watchdog: 60s
listeners:
  - bind: 127.0.0.1:PORT
    timeouts: {idle: 1s, request_head: 1s, request_body: 1s}
    routes:
      - {match: {prefix: /}, cluster: app, timeout: 1s}
clusters:
  - {name: app, endpoints: [ORIGIN]}
"""
TIMEOUT_S = 1.0
CLIENTS = 400  # more than the worker serves in one round


@pytest.fixture
def origin() -> Iterator[Origin]:
    with recording_origin() as recording:
        yield recording


@pytest.fixture
def running(tmp_path: Path, origin: Origin) -> Iterator[Proxy]:
    with proxy(tmp_path, CONFIGURATION.replace("ORIGIN", origin.address)) as started:
        yield started


@contextmanager
def stall(running: Proxy) -> Iterator[None]:
    """The worker stands still for longer than every timeout that it has."""
    (worker,) = running.worker_pids()
    os.kill(worker, signal.SIGSTOP)
    try:
        yield
        time.sleep(1.5 * TIMEOUT_S)  # what is tested is how long it stands still
    finally:
        os.kill(worker, signal.SIGCONT)


def test_requests_on_kept_connections_are_answered(running: Proxy) -> None:
    with ExitStack() as stack:
        clients = [stack.enter_context(Client(running.port)) for _ in range(CLIENTS)]
        for client in clients:
            client.send("GET /first HTTP/1.1")
        assert {client.read().status for client in clients} == {200}
        with stall(running):
            for client in clients:
                client.send("GET /second HTTP/1.1")
        assert {client.read().status for client in clients} == {200}


def test_heads_and_bodies_whose_rest_has_arrived_are_read(running: Proxy) -> None:
    with ExitStack() as stack:
        clients = [stack.enter_context(Client(running.port)) for _ in range(CLIENTS)]
        for client in clients[::2]:
            client.socket.sendall(b"GET / HTTP/1.1\r\nHost:")
        for client in clients[1::2]:
            client.socket.sendall(b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nhel")
        eventually(lambda: running.stats()["active"] == CLIENTS // 2, "the requests")
        with stall(running):
            for client in clients[::2]:
                client.socket.sendall(b" a\r\n\r\n")
            for client in clients[1::2]:
                client.socket.sendall(b"lo")
        assert {client.read().status for client in clients} == {200}


def test_responses_that_have_arrived_are_passed_on(running: Proxy, origin: Origin) -> None:
    gate = threading.Event()
    origin.plays["/held"] = says_when(gate, OK)
    with ExitStack() as stack:
        clients = [stack.enter_context(Client(running.port)) for _ in range(200)]
        for client in clients:
            client.send("GET /held HTTP/1.1")
        eventually(lambda: len(origin.of("/held")) == len(clients), "the requests")
        with stall(running):
            gate.set()
        assert {client.read().status for client in clients} == {200}


def test_timeouts_hold_for_those_who_have_sent_nothing(running: Proxy) -> None:
    with Client(running.port) as client:
        client.send("GET / HTTP/1.1")
        assert client.read().status == 200
        with stall(running):
            pass
        assert client.is_closed()

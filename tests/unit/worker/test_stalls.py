"""A worker's connections and a clock that is set: what has arrived is served before timers, however late they are."""

from __future__ import annotations

import socket
from collections.abc import Iterator

import pytest
import uvloop

from shardproxy.config.load import parse
from shardproxy.proxy.listening import StreamServer
from shardproxy.proxy.process import Process
from shardproxy.shm.addresses import Addresses
from shardproxy.shm.clock import clock_ns, start_clock, stop_clock
from shardproxy.shm.gauges import Gauges
from shardproxy.shm.metrics import Metrics
from shardproxy.shm.segment import Segment
from shardproxy.shm.slots import Slots
from shardproxy.shm.waiters import Waiters
from shardproxy.supervisor import catalog
from shardproxy.worker.build import build
from shardproxy.worker.snapshot import Worksite

CONFIGURATION = """
listeners:
  - name: web
    bind: 127.0.0.1:8080
    timeouts: {idle: 1s, request_head: 1s}
    routes: [{match: {prefix: /}, redirect: {path: /new}}]
clusters: [{name: app, endpoints: ["127.0.0.1:1"]}]
"""
TICK_S = 0.05
REQUEST = b"GET / HTTP/1.1\r\nHost: a\r\n\r\n"
ROW = 1


class Worker:
    """Its connections, without the process: a turn of the sockets or a tick of the timers comes when a test says so."""

    def __init__(self, segment: Segment, slots: Slots) -> None:
        self.loop = uvloop.new_event_loop()
        gauges, metrics = Gauges(segment, ROW), Metrics(segment, ROW)
        self.process = Process(self.loop, gauges, Addresses(segment, ROW), metrics, slots.counter, slots.histogram)
        site = Worksite(self.process, segment, gauges, metrics, Waiters(segment, ROW))
        listener = build(site, parse(CONFIGURATION, "test.yaml"), slots).listeners["web"]
        self.socket = socket.create_server(("127.0.0.1", 0))
        self.socket.setblocking(False)
        self.server = StreamServer(self.process, self.socket, listener)

    def client(self) -> socket.socket:
        """One whose first request has been answered."""
        client = socket.create_connection(self.socket.getsockname(), timeout=5)
        client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)  # what is sent has arrived
        client.sendall(REQUEST)
        while not self.process.clients:
            self.turn()
        self.turn()
        assert answer(client).startswith(b"HTTP/1.1 301")
        return client

    def turn(self) -> None:
        self.process.watcher.turn()

    def pass_time(self, seconds: float) -> None:
        """Without a tick."""
        stop_clock(clock_ns() + int(seconds * 1e9))

    def tick(self, seconds: float = TICK_S) -> None:
        self.pass_time(seconds)
        self.process.tick()

    def close(self) -> None:
        self.server.close()
        for client in list(self.process.clients):
            client.cut()
        self.turn()
        self.socket.close()
        self.loop.close()


@pytest.fixture
def worker() -> Iterator[Worker]:
    config = parse(CONFIGURATION, "test.yaml")
    capacities = catalog.capacities(config, 1)
    slots, segment = Slots(capacities), Segment.create(capacities)
    catalog.assign(config, slots)
    stop_clock(10**15)
    made = Worker(segment, slots)
    yield made
    made.close()
    start_clock()
    segment.close()


def answer(client: socket.socket) -> bytes:
    """What has come; nothing, if the connection has been closed."""
    try:
        return client.recv(65536)
    except ConnectionResetError:
        return b""


def test_a_request_that_came_during_a_stall_is_answered(worker: Worker) -> None:
    with worker.client() as client:
        client.sendall(REQUEST)
        worker.tick(3600)
        assert answer(client).startswith(b"HTTP/1.1 301")


def test_the_rest_of_a_head_that_came_during_a_stall_is_read(worker: Worker) -> None:
    with worker.client() as client:
        client.sendall(REQUEST[:10])
        worker.turn()
        client.sendall(REQUEST[10:])
        worker.tick(3600)
        assert answer(client).startswith(b"HTTP/1.1 301")


def test_timeouts_that_begin_in_the_first_turn_after_a_stall_are_not_cut_short(worker: Worker) -> None:
    with worker.client() as client:
        client.sendall(REQUEST)
        worker.pass_time(3600)
        worker.turn()
        worker.tick(0)
        for _ in range(19):
            worker.tick()
        assert worker.process.clients
        assert answer(client).startswith(b"HTTP/1.1 301")


def test_the_time_of_a_stall_does_not_count(worker: Worker) -> None:
    with worker.client():
        worker.tick(0.5)
        worker.tick(3600)
        for _ in range(10):
            worker.tick()
        assert len(worker.process.clients) == 1
        for _ in range(12):
            worker.tick()
        worker.turn()
        assert not worker.process.clients


def test_a_worker_that_is_always_late_has_its_timeouts_all_the_same(worker: Worker) -> None:
    with worker.client():
        for _ in range(5):
            worker.tick(0.9)
        worker.turn()
        assert not worker.process.clients


def test_a_request_that_has_arrived_is_not_closed_by_a_tick_that_comes_in_time(worker: Worker) -> None:
    with worker.client() as client:
        client.sendall(REQUEST)
        for _ in range(25):
            worker.tick()
        worker.turn()
        assert answer(client).startswith(b"HTTP/1.1 301")


def test_a_client_that_has_sent_nothing_is_closed_in_time(worker: Worker) -> None:
    with worker.client() as client:
        for _ in range(19):
            worker.tick()
        assert worker.process.clients
        for _ in range(4):
            worker.tick()
        worker.turn()
        assert answer(client) == b""

"""A worker's connections, without its process: sockets and timers are served when a test says so."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from contextlib import contextmanager

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
        self.listener = build(site, parse(CONFIGURATION, "test.yaml"), slots).listeners["web"]
        self.socket = socket.create_server(("127.0.0.1", 0))
        self.socket.setblocking(False)
        self.server = StreamServer(self.process, self.socket, self.listener)

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


@contextmanager
def standing_clock() -> Iterator[Worker]:
    """A worker whose clock stands still until it is set."""
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

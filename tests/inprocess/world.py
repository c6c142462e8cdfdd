"""A worker in this process: its real data path over socket pairs, with clients and origins that a test plays.

The clock stands still until the test moves it.

    world = World(CONFIGURATION)
    client = world.client()
    client.send(b"GET / HTTP/1.1\\r\\nHost: a\\r\\n\\r\\n")
    origin = world.connecting[0].accept()       # the proxy connects when the test says so
    origin.send(b"HTTP/1.1 200 OK\\r\\nContent-Length: 2\\r\\n\\r\\nok")
    assert client.received().endswith(b"ok")
    world.close()                               # and asserts that all has been given back
"""

from __future__ import annotations

import gc
import socket
import sys
from types import TracebackType
from typing import Any

from shardproxy.config.load import parse
from shardproxy.config.schema import Config
from shardproxy.http1.faults import NAMES
from shardproxy.proxy.downstream import Downstream
from shardproxy.proxy.process import Process
from shardproxy.proxy.streams import adopt
from shardproxy.proxy.upstream import Upstream
from shardproxy.proxy.watching import Watch
from shardproxy.shm import names
from shardproxy.shm.addresses import Addresses
from shardproxy.shm.debug import live_objects
from shardproxy.shm.gauges import Gauges
from shardproxy.shm.metrics import Metrics
from shardproxy.shm.rows import Kind
from shardproxy.shm.slots import SlotKind, Slots
from shardproxy.shm.waiters import Waiters
from shardproxy.supervisor import catalog
from shardproxy.supervisor.memory import Memory
from shardproxy.worker.build import build
from shardproxy.worker.snapshot import Worksite
from tests.inprocess.scripted_loop import ScriptedLoop

TICK_S = 0.05
LONG_S = 200.0  # longer than any timeout of the configurations here
ROW = 1
SOCKET_BYTES = 4096  # of the kernel's buffers, so that back-pressure is near
OURS = ("Exchange", "Downstream", "Upstream", "Stream", "Waiter", "Hedge", "Retries", "Upload", "Download")


def pair() -> tuple[socket.socket, socket.socket]:
    ours, theirs = socket.socketpair()
    for end in (ours, theirs):
        end.setblocking(False)
        end.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, SOCKET_BYTES)
    return ours, theirs


def objects() -> list[object]:
    """What of a data path lives in this process."""
    gc.collect()
    return [each for each in gc.get_objects() if type(each).__name__ in OURS]


class Peer:
    """The test's end of a connection: a client, or an origin."""

    def __init__(self, world: World, sock: socket.socket) -> None:
        self._world, self._sock = world, sock
        self._unsent = b""
        self.data = b""  # all that has come
        self.is_ended = False  # the proxy sends no more
        world.peers.append(self)

    def __repr__(self) -> str:
        return f"<Peer received={len(self.data)} ended={self.is_ended}>"

    @property
    def is_closed(self) -> bool:
        return self._sock.fileno() < 0

    def send(self, data: bytes) -> None:
        """All of it, as far as the proxy reads; the rest follows whenever the world settles."""
        self._unsent += data
        self._world.settle()

    def push(self) -> bool:
        """Some of what is to be sent, if the kernel takes it."""
        if not self._unsent or self.is_closed:
            return False
        try:
            sent = self._sock.send(self._unsent)
        except BlockingIOError:
            return False
        except OSError:
            self._unsent = b""
            return False
        self._unsent = self._unsent[sent:]
        return True

    def read(self) -> None:
        """What has come, without making room for more than the kernel's buffer holds."""
        while not self.is_closed and not self.is_ended:
            try:
                data = self._sock.recv(65536)
            except BlockingIOError:
                return
            except OSError:
                data = b""
            self.data += data
            self.is_ended = not data
            self._world.settle_proxy()

    def read_some(self, most: int) -> None:
        """No more than that; the proxy notices."""
        while most > 0 and not self.is_ended:
            try:
                data = self._sock.recv(min(most, 65536))
            except BlockingIOError:
                break
            most -= len(data)
            self.data += data
            self.is_ended = not data
            self._world.settle_proxy()

    def received(self) -> bytes:
        self._world.settle()
        self.read()
        self._world.settle()
        return self.data

    def half_close(self) -> None:
        if not self.is_closed and not self.is_ended:
            self._sock.shutdown(socket.SHUT_WR)
        self._world.settle()

    def close(self) -> None:
        self._sock.close()
        self._unsent = b""
        self._world.settle()


class Connecting:
    """A connection to an endpoint that the proxy waits for: `Connector` of the pools, played by the test."""

    def __init__(self, world: World, watcher: Watch, address: object, upstream: Upstream) -> None:
        self._world, self._watcher = world, watcher
        self._upstream: Upstream | None = upstream
        self.address = str(address)
        world.connecting.append(self)

    def __repr__(self) -> str:
        return f"<Connecting {self.address}>"

    def _take_upstream(self) -> Upstream:
        """The connection is made, or not: from here on it is nothing of ours."""
        upstream, self._upstream = self._upstream, None
        assert upstream is not None, "a connection is made once"
        self._world.connecting.remove(self)
        return upstream

    def cancel(self) -> None:
        """Does nothing when it is over."""
        if self._upstream is not None:
            self._take_upstream()

    def accept(self) -> Peer:
        ours, theirs = pair()
        adopt(self._watcher, ours.detach(), self._take_upstream())
        peer = Peer(self._world, theirs)
        self._world.settle()
        return peer

    def fail(self, fault: str = "connect_failed") -> None:
        self._take_upstream().connect_failed(NAMES.index(fault))
        self._world.settle()


class World:
    """A worker's data path.  `listener` is the only one of the configuration."""

    def __init__(self, configuration: str) -> None:
        self._objects = len(objects())  # that another world has left, whose test has failed
        self.config: Config = parse(configuration, "world.yaml", {})
        self.memory = Memory.create(catalog.capacities(self.config, 1))
        self.memory.rows.claim(ROW, 1, 1, Kind.WORKER)
        self.slots = Slots(self.memory.segment.capacities)
        catalog.assign(self.config, self.slots)
        self.memory.segment.rows_used = ROW + 1
        self.loop = ScriptedLoop()
        self.peers: list[Peer] = []
        self.connecting: list[Connecting] = []
        self.raised: list[object] = []
        self._hook = sys.unraisablehook
        sys.unraisablehook = self._note_unraisable
        self._build()

    def _build(self) -> None:
        segment = self.memory.segment
        gauges, metrics = Gauges(segment, ROW), Metrics(segment, ROW)
        loop: Any = self.loop
        counter, histogram = self.slots.counter, self.slots.histogram
        self.process = Process(loop, gauges, Addresses(segment, ROW), metrics, counter, histogram)
        waiters = Waiters(segment, ROW, self.memory.bells)
        site = Worksite(self.process, segment, gauges, metrics, waiters, connector=self._connect)
        self.snapshot = build(site, self.config, self.slots)
        self.gauges, self.metrics = gauges, metrics
        self._idle_gauges = self.gauges_in_use  # what the configuration alone holds

    def _connect(self, watcher: Watch, address: object, upstream: Upstream) -> Connecting:
        return Connecting(self, watcher, address, upstream)

    def _note_unraisable(self, raised: Any) -> None:
        self.raised.append(raised.exc_value)

    def __enter__(self) -> World:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        if kind is None:
            self.close()
        else:
            self._forget()

    def client(self) -> Peer:
        [listener] = self.snapshot.listeners.values()
        ours, theirs = pair()
        adopt(self.process.watcher, ours.detach(), Downstream(self.process, listener))
        peer = Peer(self, theirs)
        self.settle()
        return peer

    # Time ----------------------------------------------------------------------------------------------------------

    def settle_proxy(self) -> None:
        self.loop.settle()

    def settle(self) -> None:
        """Until the proxy has done all that it can, and the peers have sent all that they may."""
        self.loop.settle()
        while sum(peer.push() for peer in self.peers):
            self.loop.settle()

    def advance(self, seconds: float) -> None:
        self.loop.advance(seconds, self.process.tick, TICK_S)
        self.settle()

    # What the worker says ------------------------------------------------------------------------------------------

    def counter(self, name: str) -> int:
        return self.metrics.counter_total(self.slots.counter(name))

    def gauge(self, name: str) -> int:
        return self.gauges.total(self.slots.gauge(name))

    @property
    def gauges_in_use(self) -> dict[str, int]:
        found = {name: self.gauges.total(slot) for name, slot in self.slots.names(SlotKind.GAUGE).items()}
        return {name: total for name, total in found.items() if total}

    # The end -------------------------------------------------------------------------------------------------------

    def close(self) -> None:
        """All peers go, all timeouts pass: then nothing may be held, set or alive."""
        try:
            for peer in self.peers:
                peer.close()
            while self.connecting:
                self.connecting[0].fail()
            self.advance(LONG_S)
            assert not self.raised, f"Python has raised where that ends nowhere: {self.raised!r}"
            assert self.gauges_in_use == self._idle_gauges
            assert self.counter(names.STRAY_CALLBACKS) == 0
            assert not self.process.clients
            assert self.loop.pending == []
            assert repr(self.process.watcher) == "<Watch members=0>"
            assert live_objects() == {}
            assert len(objects()) <= self._objects, objects()
        finally:
            self._forget()

    def _forget(self) -> None:
        sys.unraisablehook = self._hook
        self.loop.close()
        for peer in self.peers:
            if not peer.is_closed:
                peer._sock.close()
        self.memory.close()

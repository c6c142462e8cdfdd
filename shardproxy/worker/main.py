"""The life of a worker: take the seat, serve, drain, leave.

    starting ──> ready ── Drain, or the supervisor is gone ──> draining ──> left
                   └───────────────── Stop ─────────────────────────────────┘
"""

from __future__ import annotations

import asyncio
import contextlib
import gc
import logging
import resource
import time

import uvloop

from shardproxy.control.channel import ChannelError, PeerGone
from shardproxy.control.messages import Drain, Drained, Message, Ready, Stop
from shardproxy.control.seat import Seat
from shardproxy.proxy.process import Process
from shardproxy.shm.gauges import Gauges
from shardproxy.shm.metrics import Metrics
from shardproxy.shm.rows import Rows, State
from shardproxy.worker.accept import Acceptor
from shardproxy.worker.snapshot import build

logger = logging.getLogger(__name__)

TICK_S = 0.05
# Connections leave no garbage that only the collector finds, so it may look rarely.
GC_THRESHOLDS = (50_000, 20, 50)


def serve(seat: Seat) -> int:
    """The entry of a worker process; returns its exit code."""
    gc.set_threshold(*GC_THRESHOLDS)
    raise_descriptor_limit()
    loop = uvloop.new_event_loop()
    try:
        loop.run_until_complete(Worker(seat, loop).run())
    finally:
        loop.close()
    return 0


def raise_descriptor_limit() -> None:
    """As many descriptors as the system lets us have: each exchange needs two."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    with contextlib.suppress(OSError, ValueError):
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


class Worker:
    """One worker process.  `run` ends when it has been told to leave and has done what it owed."""

    def __init__(self, seat: Seat, loop: asyncio.AbstractEventLoop) -> None:
        self.seat = seat
        self.loop = loop
        self.rows = Rows(seat.segment)
        gauges = Gauges(seat.segment, seat.row)
        metrics = Metrics(seat.segment, seat.row)
        self.process = Process(loop, gauges, metrics, seat.slots.counter, seat.slots.histogram)
        self.snapshot = build(seat, self.process, gauges, metrics)
        self.acceptor = Acceptor(self.process, seat.listeners)
        self.deadline_ns = 0
        self.told: asyncio.Event = asyncio.Event()
        self.stopped = False

    async def run(self) -> None:
        self.loop.add_reader(self.seat.channel.fileno(), self.read_messages)
        self.tick()
        await self.acceptor.start(self.snapshot.listeners)
        self.rows.set_state(self.seat.row, State.READY)
        self.tell(Ready())
        logger.debug("%s serves", self.seat.name)
        await self.told.wait()
        if not self.stopped:
            self.tell(Drained(await self.drain()))

    def tick(self) -> None:
        """Timeouts, the date, and the sign of life that the supervisor's watchdog looks for."""
        self.loop.call_later(TICK_S, self.tick)
        self.process.tick()
        self.rows.beat(self.seat.row, time.monotonic_ns())

    # Messages ------------------------------------------------------------------------------------------------------

    def read_messages(self) -> None:
        try:
            while (message := self.seat.channel.receive()) is not None:
                self.obey(message)
        except PeerGone:
            self.loop.remove_reader(self.seat.channel.fileno())
            logger.warning("%s: the supervisor is gone; draining", self.seat.name)
            self.obey(Drain(deadline_ns=time.monotonic_ns() + self.seat.config.drain_timeout))

    def obey(self, message: Message) -> None:
        if isinstance(message, Stop):
            self.stopped = True
            self.told.set()
        elif isinstance(message, Drain):
            self.deadline_ns = message.deadline_ns
            self.told.set()

    def tell(self, message: Message) -> None:
        try:
            self.seat.channel.send(message)
        except ChannelError as error:
            logger.debug("%s: %s", self.seat.name, error)

    # Drain ---------------------------------------------------------------------------------------------------------

    async def drain(self) -> int:
        """Stop accepting, finish what runs, close what idles; how many requests the deadline has cut."""
        self.rows.set_state(self.seat.row, State.DRAINING)
        await self.acceptor.stop()
        self.process.is_draining = True
        for pool in self.snapshot.pools:
            pool.close_idle()
        while self.process.clients and not self.stopped and time.monotonic_ns() < self.deadline_ns:
            for client in list(self.process.clients):
                client.close_idle()
            await asyncio.sleep(TICK_S)
        cut = sum(client.cut() for client in list(self.process.clients))
        await asyncio.sleep(0)  # one turn, in which the closed connections leave their counts
        return cut

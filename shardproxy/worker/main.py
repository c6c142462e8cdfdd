"""The life of a worker: take the seat, serve, drain, leave.

    starting ──> ready ── Drain, or the supervisor is gone ──> draining ──> left
                   └───────────────── Stop ─────────────────────────────────┘
"""

from __future__ import annotations

import asyncio
import gc
import logging
import time

import uvloop

from shardproxy.control.channel import ChannelError
from shardproxy.control.messages import Drained, Message, Ready
from shardproxy.control.periodic import PeriodicTimer
from shardproxy.control.seat import Seat
from shardproxy.observe import unraisable
from shardproxy.proxy.process import Process
from shardproxy.proxy.watching import Reader
from shardproxy.shm.addresses import Addresses
from shardproxy.shm.gauges import Gauges
from shardproxy.shm.metrics import Metrics
from shardproxy.shm.rows import Rows, State
from shardproxy.shm.waiters import Waiters
from shardproxy.worker.bells import bell_reader
from shardproxy.worker.drain import drain
from shardproxy.worker.orders import Orders
from shardproxy.worker.service import Service
from shardproxy.worker.snapshot import Worksite

logger = logging.getLogger(__name__)

TICK_S = 0.05
# Connections leave no garbage that only the collector finds, so it may look rarely.
GC_THRESHOLDS = (50_000, 20, 50)


def serve(seat: Seat) -> int:
    """The entry of a worker process; returns its exit code."""
    gc.set_threshold(*GC_THRESHOLDS)
    loop = uvloop.new_event_loop()
    loop.set_exception_handler(unraisable.of_loop)
    try:
        loop.run_until_complete(Worker(seat, loop).run())
    finally:
        loop.close()
    return 0


class Worker:
    """One worker process.  `run` ends when it has been told to leave and has done what it owed."""

    def __init__(self, seat: Seat, loop: asyncio.AbstractEventLoop) -> None:
        self._seat = seat
        self._loop = loop
        self._rows = Rows(seat.segment)
        gauges = Gauges(seat.segment, seat.row)
        metrics = Metrics(seat.segment, seat.row)
        addresses = Addresses(seat.segment, seat.row)
        self._process = Process(loop, gauges, addresses, metrics, seat.slots.counter, seat.slots.histogram)
        self._waiters = Waiters(seat.segment, seat.row, seat.bells)
        self._site = Worksite(self._process, seat.segment, gauges, metrics, self._waiters)
        self._service = Service(self._site, seat.config, seat.slots, seat.version)
        self._orders = Orders(seat, self._process, self._service, self._tell)

    async def run(self) -> None:
        PeriodicTimer(self._loop, TICK_S, self._tick)
        self._tick()
        if self._waiters.bell >= 0:
            Reader(self._process.watcher, self._waiters.bell, bell_reader(self._waiters, self._site.queues))
        self._service.start(self._seat.listeners)
        self._orders.listen()
        self._rows.set_state(self._seat.row, State.READY)
        self._tell(Ready())
        logger.debug("%s serves", self._seat.name)
        await self._orders.to_leave.wait()
        self._service.stop_caring()
        if not self._orders.is_stopped:
            self._tell(Drained(await self._drain()))
        self._service.close_logs()

    def _tick(self) -> None:
        """Timeouts, the date, and the sign of life that the supervisor's watchdog looks for.

        The heartbeat comes last: a worker whose timeouts are not served is one that the watchdog should find.
        """
        self._process.tick()
        self._rows.beat(self._seat.row, time.monotonic_ns())
        self._service.tick()

    def _tell(self, message: Message) -> None:
        try:
            self._seat.channel.send(message)
        except ChannelError as error:
            logger.debug("%s: %s", self._seat.name, error)

    async def _drain(self) -> int:
        self._rows.set_state(self._seat.row, State.DRAINING)
        return await drain(self._process, self._service, self._orders)

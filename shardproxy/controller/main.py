"""The life of the controller: take the seat, answer the admin interface, leave.

    starting ──> ready ──── Drain, Stop, or the supervisor is gone ────> left

The supervisor drains it after the last worker has gone, so that a drain can be watched to its end.
"""

from __future__ import annotations

import asyncio
import logging
import os
import time
from typing import Protocol

import uvloop

from shardproxy.config.schema import Config
from shardproxy.control.messages import Answer, Drain, Drained, Ready, Stop
from shardproxy.control.periodic import PeriodicTimer
from shardproxy.control.seat import ADMIN, Seat
from shardproxy.controller.adaptive import AdaptiveLimits
from shardproxy.controller.adaptive_rates import AdaptiveRates
from shardproxy.controller.admin.server import AdminServer
from shardproxy.controller.discovery.changes import Changes
from shardproxy.controller.discovery.watching import Discovery
from shardproxy.controller.dry_runs import DryRuns
from shardproxy.controller.failures import Failures
from shardproxy.controller.health import Health
from shardproxy.controller.orders import Orders
from shardproxy.controller.outliers import Outliers
from shardproxy.controller.slowness import Delays
from shardproxy.controller.sync import SharedLimits
from shardproxy.controller.view import View
from shardproxy.controller.wishes import Wishes
from shardproxy.observe import unraisable
from shardproxy.shm import names
from shardproxy.shm.metrics import Metrics
from shardproxy.shm.rows import Kind, Rows, State
from shardproxy.shm.slots import Slots

logger = logging.getLogger(__name__)

BEAT_S = 0.1  # the supervisor wants a sign of life at least every 0.2 s
# How long it answers on without a supervisor while workers drain: shorter than the second for which a new supervisor
# tries to get the admin port.
ORPHAN_S = 0.5
ORPHAN_LOOK_S = 0.05


def serve(seat: Seat) -> int:
    """The entry of the controller process; returns its exit code."""
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(_live(seat))
    return 0


async def _live(seat: Seat) -> None:
    await Controller(seat).run()


class Manager(Protocol):
    """What follows the configuration that is served, until it is stopped."""

    def follow(self, config: Config, slots: Slots) -> None: ...

    def stop(self) -> None: ...


class Controller:
    """One controller process.  `run` ends when it has been told to leave; only inside a running loop."""

    def __init__(self, seat: Seat) -> None:
        self._seat = seat
        self._loop = asyncio.get_running_loop()
        self._loop.set_exception_handler(unraisable.of_loop)
        self._rows = Rows(seat.segment)
        segment, failures = seat.segment, failures_of(seat)
        self._view = view = View.of(seat, failures)
        self._orders = Orders(seat, view)
        changes = changes_of(view, self._orders.wishes)
        view.dry_runs, view.discovery = DryRuns(segment, failures), Discovery(changes, failures)
        self._managers: dict[str, Manager] = {
            "health checks": Health(segment, failures),
            "outlier detection": Outliers(segment, failures),
            "adaptive concurrency": AdaptiveLimits(segment, failures),
            "discovery": view.discovery,
            "adaptive rates": AdaptiveRates(segment, failures),
            "hedging": Delays(segment, failures),
            "dry runs": view.dry_runs,
            "shared limits": SharedLimits(segment, failures),
        }
        view.followers = {name: manager.follow for name, manager in self._managers.items()}
        self._admin = AdminServer(view, self._orders.wishes, changes)

    async def run(self) -> None:
        self._orders.listen()
        PeriodicTimer(self._loop, BEAT_S, self._beat)
        self._beat()
        await self._admin.start(self._seat.listeners[ADMIN])
        self._view.lead()
        self._rows.set_state(self._seat.row, State.READY)
        self._orders.tell(Ready())
        logger.debug("%s serves", self._seat.name)
        await self._leave(await self._orders.last_word)

    async def _leave(self, word: Drain | Stop) -> None:
        for manager in self._managers.values():
            manager.stop()
        if self._orders.is_orphan:
            await self._see_the_workers_off()
        self._rows.set_state(self._seat.row, State.DRAINING)
        self._admin.stop_accepting()  # at once: in a hot restart another controller accepts on the same socket
        await self._orders.wishes.settled()
        await self._admin.close()
        if isinstance(word, Drain) and not self._orders.is_orphan:
            self._orders.tell(Drained(cut=0))

    def _beat(self) -> None:
        self._rows.beat(self._seat.row, time.monotonic_ns())

    async def _see_the_workers_off(self) -> None:
        """Without a supervisor nobody clears the rows of workers that have left, so their processes are asked for."""
        give_up = self._loop.time() + ORPHAN_S
        while self._loop.time() < give_up and any(_is_alive(pid) for pid in self._worker_pids()):
            await asyncio.sleep(ORPHAN_LOOK_S)

    def _worker_pids(self) -> list[int]:
        rows = self._rows
        used = [row for row in range(self._seat.segment.rows_used) if rows.state(row) is not State.GONE]
        return [rows.pid(row) for row in used if rows.kind(row) is Kind.WORKER]


def failures_of(seat: Seat) -> Failures:
    """Counted in the controller's own row."""
    metrics, slot = Metrics(seat.segment, seat.row), seat.slots.counter(names.CONTROLLER_FAILURES)
    return Failures(lambda: metrics.count(slot))


def changes_of(view: View, wishes: Wishes) -> Changes:
    """The one path by which endpoints change."""

    async def ask(found: bytes, version: int) -> Answer:
        return await wishes.ask("endpoints", found=found, version=version)

    return Changes(lambda: (view.config, view.version), ask)


def _is_alive(pid: int) -> bool:
    """Whether there is such a process; one that has ended and that nobody has waited for counts as well."""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True

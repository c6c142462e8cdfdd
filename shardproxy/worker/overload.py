"""A worker's care for itself: it measures its pressures, and does less before it is full.

What it measures and does stands in its row of the shared memory, where `/stats` finds it.
"""

from __future__ import annotations

import asyncio
import ctypes
import logging
import os
import resource
import time
from collections.abc import Awaitable, Callable
from pathlib import Path

from shardproxy.config.overload import ACTIONS, Overload
from shardproxy.limits.overload import Pressures, Trigger
from shardproxy.proxy.priority import CLASSES
from shardproxy.proxy.process import Process
from shardproxy.shm import names
from shardproxy.shm.slots import Slots

TICK_S = 0.05
COUNT_EVERY_S = 1.0  # descriptors: counting takes a step for each
TRIM_EVERY_S = 10.0  # as Envoy's shrink_heap
QUIET_NS = 1_000_000_000  # an idle connection that was used later may have a request on its way
PAGE = os.sysconf("SC_PAGE_SIZE")
NOBODY = len(CLASSES)  # no class is as low as that

logger = logging.getLogger(__name__)


class OverloadCare:
    """One for each worker.  `pause` and `resume` close and open its doors."""

    def __init__(self, process: Process, pause: Callable[[], None], resume: Callable[[], Awaitable[None]]) -> None:
        self._process, self._pause, self._resume = process, pause, resume
        self._task: asyncio.Task[None] | None = None

    async def follow(self, rules: Overload | None, slots: Slots) -> None:
        """Go by `rules` from now on; without any, what was begun ends."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.wait([self._task])
        self._task = None if rules is None else asyncio.create_task(self._care(rules, slots))

    async def _care(self, rules: Overload, slots: Slots) -> None:
        shown = Shown(self._process, slots)
        meter = Meter(self._process)
        triggers = triggers_of(rules)
        pressures = Pressures(fullness(rules))
        try:
            while True:
                await meter.wait(rules.interval / 1e9)
                found = pressures.percent(meter.read())
                highest = max(found.values())
                on = {name for name, trigger in triggers.items() if trigger.look(highest)}
                shown.show(found, on)
                if on and found.get("memory", 0) == highest:
                    meter.trim()
                await self._act(on)
        finally:
            shown.show({}, set())
            await self._act(set())

    async def _act(self, on: set[str]) -> None:
        """Cost, while keep-alive is stopped: a step for each connection."""
        self._process.refused_from = 1 if "refuse_normal" in on else 2 if "refuse_low" in on else NOBODY
        self._process.stops_keep_alive = "stop_keep_alive" in on
        if self._process.stops_keep_alive:
            for client in list(self._process.clients):
                client.close_idle(QUIET_NS)
        if "pause_accept" in on:
            self._pause()
        else:
            await self._resume()


class Meter:
    """What a worker measures of itself."""

    def __init__(self, process: Process) -> None:
        self._process = process
        self._lag_s = 0.0
        self._descriptors = 0
        self._counted_at = self._trimmed_at = 0.0
        self._trim = getattr(ctypes.CDLL(None), "malloc_trim", None)  # not every C library has it

    async def wait(self, seconds: float) -> None:
        """Until the next look, and see how late the loop is meanwhile."""
        end = time.monotonic() + seconds
        while (begun := time.monotonic()) < end:
            await asyncio.sleep(TICK_S)
            self._lag_s = max(self._lag_s, time.monotonic() - begun - TICK_S)

    def read(self) -> dict[str, float]:
        """Bytes, seconds, and counts; the lag is the longest since the last time."""
        lag_s, self._lag_s = self._lag_s, 0.0
        if time.monotonic() - self._counted_at >= COUNT_EVERY_S:
            self._descriptors, self._counted_at = sum(1 for _ in Path("/proc/self/fd").iterdir()), time.monotonic()
        return {
            "memory": resident_bytes(),
            "loop_lag": lag_s,
            "connections": len(self._process.clients),
            "descriptors": self._descriptors,
        }

    def trim(self) -> None:
        """Give back to the system what is free: otherwise a pressure that memory makes might never end."""
        if self._trim is not None and time.monotonic() - self._trimmed_at >= TRIM_EVERY_S:
            self._trimmed_at = time.monotonic()
            self._trim(0)


class Shown:
    """The worker's cells: its pressures in percent, and 1 for each action that is on."""

    def __init__(self, process: Process, slots: Slots) -> None:
        self._process, self._slots = process, slots
        self._values: dict[str, int] = {}

    def show(self, pressures: dict[str, int], on: set[str]) -> None:
        wanted = {names.overload_pressure(name): percent for name, percent in pressures.items()}
        wanted |= {names.overload_action(name): 1 for name in on}
        for name in wanted.keys() | self._values.keys():
            self._process.gauges.add(self._slots.gauge(name), wanted.get(name, 0) - self._values.get(name, 0))
        for name in ACTIONS:
            self._tell(name, is_on=names.overload_action(name) in wanted)
        self._values = wanted

    def _tell(self, action: str, *, is_on: bool) -> None:
        was_on = names.overload_action(action) in self._values
        if is_on != was_on:
            logger.warning("overload: %s %s", action, "begins" if is_on else "ends")


def resident_bytes() -> int:
    return int(Path("/proc/self/statm").read_bytes().split()[1]) * PAGE


def fullness(rules: Overload) -> dict[str, float]:
    """What counts as full, in the units of `Meter.read`; what is not written is not measured, but for descriptors."""
    written = {
        "memory": rules.memory,
        "loop_lag": None if rules.loop_lag is None else rules.loop_lag / 1e9,
        "connections": rules.connections,
        "descriptors": rules.descriptors or resource.getrlimit(resource.RLIMIT_NOFILE)[0],
    }
    return {name: float(full) for name, full in written.items() if full is not None}


def triggers_of(rules: Overload) -> dict[str, Trigger]:
    written = {name: getattr(rules, name) for name in ACTIONS}
    return {name: Trigger(one.at, one.end) for name, one in written.items() if one is not None}

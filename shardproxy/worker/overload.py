"""A worker's care for itself: it measures its pressures, and does less before it is full.

What it measures and does stands in its row of the shared memory, where `/stats` finds it.
"""

from __future__ import annotations

import ctypes
import logging
import os
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from shardproxy.config.overload import ACTIONS, Overload
from shardproxy.limits.overload import Pressures, Trigger
from shardproxy.observe.rate_limit import LogRateLimit
from shardproxy.observe.shortages import descriptor_limit
from shardproxy.proxy.priority import CLASSES
from shardproxy.proxy.process import Process
from shardproxy.shm import names
from shardproxy.shm.slots import Slots

TICK_S = 0.05  # of the worker
COUNT_EVERY_S = 1.0  # descriptors: counting takes a step for each, with an older kernel
FAILURES_S = 60.0  # between two lines of the log
TRIM_EVERY_S = 10.0  # as Envoy's shrink_heap
QUIET_NS = 1_000_000_000  # an idle connection that was used later may have a request on its way
PAGE = os.sysconf("SC_PAGE_SIZE")
STATM_BYTES = 256
DESCRIPTORS = Path("/proc/self/fd")
NOBODY = len(CLASSES)  # no class is as low as that

logger = logging.getLogger(__name__)


class OverloadCare:
    """One for each worker.  `pause` and `resume` close and open its doors."""

    def __init__(self, process: Process, pause: Callable[[], None], resume: Callable[[], None]) -> None:
        self._process, self._pause, self._resume = process, pause, resume
        self._watch: PressureWatch | None = None
        self._failures = LogRateLimit(FAILURES_S)
        self._is_paused = False

    def follow(self, rules: Overload | None, slots: Slots) -> None:
        """Go by `rules` from now on; without any, what was begun ends."""
        if self._watch is not None:
            self._watch.close()
            self._act(set())
        self._watch = None if rules is None else PressureWatch(self._process, rules, slots)

    def tick(self) -> None:
        """To be called every `TICK_S`.  Never raises: what fails (no memory, no descriptor) is tried again at the next
        look, since it is for such moments that a worker looks."""
        if self._watch is None:
            return
        try:
            if self._watch.is_due():
                self._act(self._watch.look())
        except Exception as error:
            self._tell_of(error)

    def _act(self, on: set[str]) -> None:
        """Cost, while keep-alive is stopped: a step for each connection."""
        self._process.refused_from = 1 if "refuse_normal" in on else 2 if "refuse_low" in on else NOBODY
        self._process.stops_keep_alive = "stop_keep_alive" in on
        if self._process.stops_keep_alive:
            for client in list(self._process.clients):
                client.close_idle(QUIET_NS)
        was_paused, self._is_paused = self._is_paused, "pause_accept" in on
        if self._is_paused:
            self._pause()  # again, since a reload may have opened doors
        elif was_paused:
            self._resume()

    def _tell_of(self, error: Exception) -> None:
        with suppress(MemoryError):
            if times := self._failures.note():
                what = "overload: measuring failed %d times, the last time with %r; the worker measures again"
                logger.error(what, times, error)


class PressureWatch:
    """What is measured, and which actions follow, as one set of rules has it."""

    def __init__(self, process: Process, rules: Overload, slots: Slots) -> None:
        self._shown = Shown(process, slots)
        self._meter = Meter(process)
        self._triggers = triggers_of(rules)
        self._pressures = Pressures(fullness(rules))
        self._interval_s = rules.interval / 1e9
        self._due_s = time.monotonic() + self._interval_s

    def is_due(self) -> bool:
        """Whether to look now; to be asked every `TICK_S`, so that it is seen how late the loop is."""
        now_s = time.monotonic()
        self._meter.note_lag(now_s)
        if now_s < self._due_s:
            return False
        self._due_s = now_s + self._interval_s
        return True

    def look(self) -> set[str]:
        """The actions that are on now."""
        found = self._pressures.percent(self._meter.read())
        highest = max(found.values())
        on = {name for name, trigger in self._triggers.items() if trigger.look(highest)}
        self._shown.show(found, on)
        if on and found.get("memory", 0) == highest:
            self._meter.trim()
        return on

    def close(self) -> None:
        self._meter.close()
        self._shown.show({}, set())


class Meter:
    """What a worker measures of itself, also when it has no descriptor left."""

    def __init__(self, process: Process) -> None:
        self._process = process
        self._lag_s, self._noted_s = 0.0, time.monotonic()
        self._resident = ResidentMemory()
        self._descriptors = 0
        self._counted_at = self._trimmed_at = 0.0
        self._trim = getattr(ctypes.CDLL(None), "malloc_trim", None)  # not every C library has it

    def note_lag(self, now_s: float) -> None:
        """How much later than `TICK_S` this comes after the last one."""
        self._lag_s = max(self._lag_s, now_s - self._noted_s - TICK_S)
        self._noted_s = now_s

    def read(self) -> dict[str, float]:
        """Bytes, seconds, and counts; the lag is the longest since the last time."""
        lag_s, self._lag_s = self._lag_s, 0.0
        if time.monotonic() - self._counted_at >= COUNT_EVERY_S:
            self._descriptors, self._counted_at = open_descriptors(), time.monotonic()
        return {
            "memory": self._resident.read(),
            "loop_lag": lag_s,
            "connections": len(self._process.clients),
            "descriptors": self._descriptors,
        }

    def trim(self) -> None:
        """Give back to the system what is free: otherwise a pressure that memory makes might never end."""
        if self._trim is not None and time.monotonic() - self._trimmed_at >= TRIM_EVERY_S:
            self._trimmed_at = time.monotonic()
            self._trim(0)

    def close(self) -> None:
        self._resident.close()


class ResidentMemory:
    """The bytes of this process that are in memory.  Their file stays open, for when none can be opened."""

    def __init__(self) -> None:
        self._fd = -1
        self._bytes = 0

    def read(self) -> int:
        """What was read last, when the file cannot be opened."""
        if self._fd < 0:
            with suppress(OSError):
                self._fd = os.open("/proc/self/statm", os.O_RDONLY | os.O_CLOEXEC)
        if self._fd >= 0:
            self._bytes = int(os.pread(self._fd, STATM_BYTES, 0).split()[1]) * PAGE
        return self._bytes

    def close(self) -> None:
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1


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


def open_descriptors() -> int:
    """Of this process.  Cost: nothing with Linux 6.2 and later, which tells their number; before, a step for each.

    When the list cannot be opened for want of a descriptor, all that are allowed are in use."""
    if told := DESCRIPTORS.stat().st_size:
        return told
    try:
        return sum(1 for _ in DESCRIPTORS.iterdir())
    except OSError:
        return descriptor_limit()


def fullness(rules: Overload) -> dict[str, float]:
    """What counts as full, in the units of `Meter.read`; what is not written is not measured, but for descriptors."""
    written = {
        "memory": rules.memory,
        "loop_lag": None if rules.loop_lag is None else rules.loop_lag / 1e9,
        "connections": rules.connections,
        "descriptors": rules.descriptors or descriptor_limit(),
    }
    return {name: float(full) for name, full in written.items() if full is not None}


def triggers_of(rules: Overload) -> dict[str, Trigger]:
    written = {name: getattr(rules, name) for name in ACTIONS}
    return {name: Trigger(one.at, one.end) for name, one in written.items() if one is not None}

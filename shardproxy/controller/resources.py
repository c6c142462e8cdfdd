"""Memory and CPU time of the processes, asked for once a second at most: each costs a few reads in /proc."""

from __future__ import annotations

import time
from typing import NamedTuple

import psutil

FRESH_S = 1.0


class Usage(NamedTuple):
    """Of one process; zeros when it is gone."""

    rss_bytes: int
    cpu_s: float


class Resources:
    """Keeps what it has found for a second; forgets those that were not asked for in the meantime."""

    def __init__(self) -> None:
        self._found: dict[int, tuple[float, Usage]] = {}

    def of(self, pid: int) -> Usage:
        now = time.monotonic()
        found_at, usage = self._found.get(pid, (-FRESH_S, Usage(0, 0.0)))
        if now - found_at < FRESH_S:
            return usage
        self._found = {each: found for each, found in self._found.items() if now - found[0] < 60 * FRESH_S}
        self._found[pid] = now, _ask(pid)
        return self._found[pid][1]


def _ask(pid: int) -> Usage:
    try:
        process = psutil.Process(pid)
        with process.oneshot():
            times = process.cpu_times()
            return Usage(process.memory_info().rss, round(times.user + times.system, 2))
    except psutil.Error:
        return Usage(0, 0.0)

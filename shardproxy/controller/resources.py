"""Memory, CPU time and age of the processes; each costs a few reads in /proc."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import psutil

FRESH_S = 1.0
KEPT_S = 60.0
_START_FIELD = 19  # of /proc/PID/stat (proc(5) has it as the 22nd), counted from the one behind the name in brackets


class Usage(NamedTuple):
    """Of one process; zeros when it is gone."""

    rss_bytes: int
    cpu_s: float


class Resources:
    """Memory and CPU time, asked for once a second at most; forgets what nobody has asked for in a minute."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._found: dict[int, tuple[float, Usage]] = {}

    def of(self, pid: int) -> Usage:
        now = self._clock()
        known = self._found.get(pid)
        if known is not None and now - known[0] < FRESH_S:
            return known[1]
        self._found = {each: found for each, found in self._found.items() if now - found[0] < KEPT_S}
        self._found[pid] = now, _ask(pid)
        return self._found[pid][1]


def _ask(pid: int) -> Usage:
    try:
        process = psutil.Process(pid)
        with process.oneshot():
            times = process.cpu_times()
            return Usage(process.memory_info().rss, round(times.user + times.system, 2))
    except (psutil.Error, OSError):  # gone; or no descriptor is left to look with
        return Usage(0, 0.0)


def age_s(pid: int) -> float:
    """How long a process has been there, by the clock that runs from the system's start on; 0.0 when it is gone.

    The system's date has no part in it: a supervisor does not get younger when somebody sets the date back.
    """
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return 0.0
    started_s = int(fields[_START_FIELD]) / os.sysconf("SC_CLK_TCK")
    return max(0.0, time.clock_gettime(time.CLOCK_BOOTTIME) - started_s)

"""CPU time of process trees, as the kernel accounts it.

The source is `/proc/PID/stat` (proc_pid_stat(5), fields 14 to 17) in clock ticks, usually 10 ms. A measurement
of 3 s at one busy core is thus exact to about 0.3 %. The kernel scales user and system time so that their sum
is the time really run; the split between the two is sampled at each timer tick.
"""

from __future__ import annotations

import os
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import psutil

US_PER_TICK = 1_000_000 // os.sysconf("SC_CLK_TCK")


@dataclass(frozen=True)
class CpuTime:
    """Time on a CPU in microseconds, in user space and in the kernel."""

    user_us: int = 0
    system_us: int = 0

    @property
    def total_us(self) -> int:
        return self.user_us + self.system_us

    def __add__(self, other: CpuTime) -> CpuTime:
        return CpuTime(self.user_us + other.user_us, self.system_us + other.system_us)

    def __sub__(self, other: CpuTime) -> CpuTime:
        return CpuTime(self.user_us - other.user_us, self.system_us - other.system_us)


def parse_stat(stat: str) -> CpuTime:
    """The CPU time in one line of `/proc/PID/stat`: all threads, and the children that were waited for."""
    after_name = stat[stat.rindex(")") + 2 :].split()  # a name may hold blanks and parentheses
    user, system, waited_user, waited_system = (int(ticks) for ticks in after_name[11:15])
    return CpuTime((user + waited_user) * US_PER_TICK, (system + waited_system) * US_PER_TICK)


def process_cpu(pid: int) -> CpuTime:
    """The CPU time of one process so far; zero when it is gone (its parent's time then holds it)."""
    try:
        return parse_stat(Path(f"/proc/{pid}/stat").read_text())
    except (FileNotFoundError, ProcessLookupError):
        return CpuTime()


def tree(root: int) -> list[int]:
    """The process `root` and all its living descendants, the root first; empty when it is gone."""
    try:
        return [root, *(child.pid for child in psutil.Process(root).children(recursive=True))]
    except psutil.NoSuchProcess:
        return []


def total(pids: Iterable[int]) -> CpuTime:
    """The CPU time of several processes together."""
    return sum((process_cpu(pid) for pid in pids), CpuTime())


def tree_cpu(root: int) -> CpuTime:
    """The CPU time of a process tree. Time of a child that ended and was reaped is not lost: its parent has it."""
    return total(tree(root))

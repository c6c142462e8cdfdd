"""CPU accounting, against real processes that know themselves how long they were busy."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from loadtests import cpu
from loadtests.cpu import US_PER_TICK, CpuTime

BUSY_S = 0.3
TOLERANCE_US = 3 * US_PER_TICK

# Burns BUSY_S in user space, says what it used, and stays until its input is closed.
BURN = f"""
import sys, time
while time.process_time() < {BUSY_S}: sum(range(20_000))  # asking for the time is itself a system call
print(int(time.process_time() * 1e6), flush=True)
"""
STAY = "sys.stdin.read()\n"
IN_A_CHILD = f"import subprocess, sys\nsubprocess.run([sys.executable, '-c', {BURN + STAY!r}])\n"
# Passes its child's line on only after the child was waited for.
IN_A_REAPED_CHILD = f"""
import subprocess, sys
print(subprocess.run([sys.executable, '-c', {BURN!r}], capture_output=True, text=True).stdout, end='', flush=True)
{STAY}"""


@contextmanager
def burning(program: str) -> Iterator[tuple[int, int]]:
    """A process that runs `program` in Python: its pid, and the CPU microseconds it says were used."""
    command = [sys.executable, "-c", program]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        try:
            yield process.pid, int(process.stdout.readline())
        finally:
            process.kill()


def test_a_busy_process_is_charged_what_it_says_it_used() -> None:
    with burning(BURN + STAY) as (pid, said_us):
        assert cpu.process_cpu(pid).total_us == pytest.approx(said_us, abs=TOLERANCE_US)


def test_a_loop_in_python_is_user_time() -> None:
    with burning(BURN + STAY) as (pid, _):
        time = cpu.process_cpu(pid)
        assert time.user_us > 4 * time.system_us


def test_a_tree_contains_its_children() -> None:
    with burning(IN_A_CHILD) as (pid, said_us):
        assert len(cpu.tree(pid)) == 2
        assert cpu.process_cpu(pid).total_us < BUSY_S * 1e6 / 2
        # The parent's own start (it imports subprocess) is in the tree as well.
        assert said_us - TOLERANCE_US <= cpu.tree_cpu(pid).total_us <= said_us + BUSY_S * 1e6


def test_the_time_of_a_child_that_ended_is_not_lost() -> None:
    with burning(IN_A_REAPED_CHILD) as (pid, said_us):
        assert cpu.tree(pid) == [pid]
        assert cpu.tree_cpu(pid).total_us >= said_us - TOLERANCE_US


def test_a_process_that_is_gone_costs_nothing() -> None:
    with subprocess.Popen([sys.executable, "-c", ""]) as process:
        process.wait(timeout=10)
    assert cpu.process_cpu(process.pid) == CpuTime()
    assert cpu.tree(process.pid) == []
    assert cpu.tree_cpu(process.pid) == CpuTime()


def test_a_name_with_blanks_and_parentheses_does_not_shift_the_fields() -> None:
    numbers = " ".join(str(field) for field in range(4, 53))  # field n of proc_pid_stat(5) holds the number n
    time = cpu.parse_stat(f"17 (a ) (b) S {numbers}")
    assert time == CpuTime((14 + 16) * US_PER_TICK, (15 + 17) * US_PER_TICK)


def test_times_add_and_subtract_by_part() -> None:
    assert CpuTime(5, 7) + CpuTime(1, 2) == CpuTime(6, 9)
    assert CpuTime(5, 7) - CpuTime(1, 2) == CpuTime(4, 5)
    assert CpuTime(5, 7).total_us == 12


def test_a_tick_is_what_the_kernel_says() -> None:
    assert os.sysconf("SC_CLK_TCK") * US_PER_TICK == 1_000_000

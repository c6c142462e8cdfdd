"""Samples of a running process by Linux's `perf`: where the processor is, some thousand times a second of its time.

The clock is the kernel's own (`cpu-clock`), which virtual machines have, too; counters of the processor are not needed.
Stacks are followed by their DWARF tables, because nothing here is compiled with frame pointers.
"""

from __future__ import annotations

import shutil
import signal
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from loadtests.stages import Taken, plain

HZ = 1999  # not a divisor of anything that ticks
STACK_BYTES = 16384  # copied with each sample; what lies deeper can't be followed
END_S = 30.0
READ_S = 300.0
KERNEL = "[kernel"


class CannotSample(Exception):
    """Why there are no samples; a plain sentence."""


def perf() -> str:
    """The program's path. Raises `CannotSample`, saying how to get it."""
    found = shutil.which("perf")
    if found is None:
        raise CannotSample("perf is not installed: apt-get install linux-perf (Ubuntu: linux-tools-generic)")
    return found


@contextmanager
def sampled(pid: int, into: Path) -> Iterator[None]:
    """Sample the process, all its threads, while the body runs. Raises `CannotSample` when that is not allowed."""
    call_graph = f"dwarf,{STACK_BYTES}"
    command = [perf(), "record", "-e", "cpu-clock", "-F", str(HZ), "--call-graph", call_graph, "-p", str(pid)]
    log = into.with_suffix(".log")
    with log.open("wb") as out:
        process = subprocess.Popen([*command, "-o", str(into)], stdout=out, stderr=out, stdin=subprocess.DEVNULL)
    try:
        yield
    finally:
        process.send_signal(signal.SIGINT)
        try:
            process.wait(timeout=END_S)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait(timeout=END_S)
    if not into.exists() or into.stat().st_size == 0:
        lines = log.read_text(errors="replace").strip().splitlines()
        raise CannotSample(f"perf took no samples: {lines[-1] if lines else 'it gave no reason'}")


def read(samples: Path) -> list[Taken]:
    """All samples of a recording."""
    command = [perf(), "script", "-i", str(samples), "--no-inline", "-F", "ip,sym,dso"]
    done = subprocess.run(command, capture_output=True, text=True, errors="replace", timeout=READ_S)
    found = parse(done.stdout)
    if not found:
        raise CannotSample(f"perf could not read its samples: {done.stderr.strip() or 'there are none'}")
    return found


def parse(script: str) -> list[Taken]:
    """The output of `perf script -F ip,sym,dso`: a line `address symbol (file)` for each frame, samples parted by an
    empty line."""
    found = []
    for block in script.split("\n\n"):
        frames = [frame for line in block.splitlines() if (frame := _frame(line)) is not None]
        if frames:
            found.append(Taken(tuple(plain(symbol) for symbol, _ in frames), frames[0][1].startswith(KERNEL)))
    return found


def _frame(line: str) -> tuple[str, str] | None:
    parts = line.strip().split(" ", 1)
    if len(parts) < 2 or not parts[1].endswith(")"):
        return None
    symbol, _, file = parts[1][:-1].rpartition(" (")
    return symbol, file

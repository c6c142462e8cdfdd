"""Compiles the drivers, runs them under valgrind's callgrind, and reads what it counted.

Callgrind counts the instructions that the program executes on a processor of its own making, so that neither the
machine's speed nor its load matters. What could differ from machine to machine is kept the same: the C library's string
functions (the ones for any x86-64, whatever the processor could do), hash seeds, secrets, and addresses.
"""

from __future__ import annotations

import os
import platform
import shutil
import subprocess
import sys
import tempfile
from importlib.metadata import version
from pathlib import Path

from loadtests.micro.run import REPEATS, RUNS

ROOT = Path(__file__).resolve().parents[2]
REPEAT = "*9Operation_repeat"  # how the symbol of Operation.repeat ends
TIMEOUT_S = 600
BASELINE = "-AVX512VL,-AVX512BW,-AVX512F,-AVX2,-AVX,-BMI2,-ERMS,-FSRM,-SSE4_2,-SSE4_1,-SSSE3"


class CannotCount(Exception):
    """What is missing, or went wrong; a plain sentence."""


def instructions() -> dict[str, float]:
    """Instructions of one operation each, by name, in the order of the catalog. Raises `CannotCount`."""
    valgrind = shutil.which("valgrind")
    if valgrind is None:
        raise CannotCount("valgrind is not installed: apt-get install valgrind")
    _compile()
    with tempfile.TemporaryDirectory(prefix="shardproxy-micro-") as directory:
        names = _run(valgrind, Path(directory))
        totals = [_total(Path(directory) / f"counts.{number + 1}") for number in range(len(names) * len(RUNS))]
    return per_operation(names, totals)


def per_operation(names: list[str], totals: list[int]) -> dict[str, float]:
    """`totals` are of each run, in order; the first name is of the empty operation, which is taken off the others."""
    runs = len(RUNS)
    costs = [(totals[at + runs - 1] - totals[at + runs - 2]) / REPEATS for at in range(0, len(totals), runs)]
    empty, *counted = costs
    return {name: round(cost - empty, 1) for name, cost in zip(names[1:], counted, strict=True)}


def tools() -> dict[str, str]:
    """What the counts depend on: they are comparable where these are the same."""
    compiler = _first_line([os.environ.get("CC", "gcc"), "--version"])
    return {
        "machine": platform.machine(),
        "compiler": compiler,
        "cython": version("Cython"),
        "libc": " ".join(platform.libc_ver()),
        "valgrind": _first_line(["valgrind", "--version"]),
    }


def _first_line(command: list[str]) -> str:
    try:
        return subprocess.run(command, capture_output=True, text=True, timeout=10).stdout.partition("\n")[0]
    except OSError:
        return ""


def _compile() -> None:
    """Nothing, when the drivers are newer than their source and all that it takes from the package."""
    command = [sys.executable, "setup.py", "--quiet", "build_ext", "--inplace"]
    environment = os.environ | {"SP_BENCH": "1", "SP_ONLY": ""}
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=TIMEOUT_S)
    if done.returncode:
        raise CannotCount(f"the drivers could not be compiled:\n{done.stdout}{done.stderr}")


def _run(valgrind: str, directory: Path) -> list[str]:
    """The names of the operations that ran, with a dump for each run in `directory`."""
    command = [
        valgrind,
        "--quiet",
        "--tool=callgrind",
        f"--callgrind-out-file={directory / 'counts'}",
        f"--toggle-collect={REPEAT}",
        f"--dump-after={REPEAT}",
        sys.executable,
        "-m",
        "loadtests.micro.run",
    ]
    environment = {
        "PATH": os.defpath,  # the environment stands in memory, and its size moves what comes after it
        "PYTHONHASHSEED": "0",
        "LD_BIND_NOW": "1",
        "GLIBC_TUNABLES": f"glibc.cpu.hwcaps={BASELINE}",
    }
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=TIMEOUT_S)
    if done.returncode:
        raise CannotCount(f"the operations did not run:\n{done.stderr}")
    return done.stdout.splitlines()


def _total(dump: Path) -> int:
    """The instructions in one dump of callgrind."""
    try:
        lines = dump.read_text().splitlines()
    except FileNotFoundError:
        raise CannotCount("callgrind has not found the drivers' loop: were they compiled without symbols?") from None
    return next(int(line.split()[1]) for line in lines if line.startswith("totals:"))

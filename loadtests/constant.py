"""How long requests take at half of what nginx can do, asked for by h2load at a constant rate.

    .venv/bin/python -m loadtests.constant                  # needs h2load: apt-get install nghttp2-client
    .venv/bin/python -m loadtests.constant --rate 20000 --rounds 9

h2load is fast enough for rates at which a load in Python is itself late; but one of its connections sends its next only
when the last one is answered, so that a stall delays what it would have sent meanwhile.  `steady.py` counts from when a
request was due, at lower rates.  Proxies are on one CPU, the load and the origin on another; rounds are
interleaved, each figure is the median of the rounds, and `x nginx` the median of the ratios within a round.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import tempfile
from contextlib import ExitStack
from pathlib import Path
from statistics import median
from typing import NamedTuple

from loadtests.compare import available, cores, required
from loadtests.proxies import NGINX, USUAL, start_all
from loadtests.steady import half_of_what_nginx_can_do

CONNECTIONS = 64


class Round(NamedTuple):
    """Answers with 200 a second; milliseconds."""

    rate: float
    p50_ms: float
    p99_ms: float
    p999_ms: float


def command(binary: str, port: int, rate: float, options: argparse.Namespace, core: int, log: Path) -> list[str]:
    pull = ["--h1", "-t1", f"-c{CONNECTIONS}", f"--rps={rate / CONNECTIONS:.0f}", "-D", str(options.seconds)]
    told = ["--warm-up-time=1", f"--log-file={log}", f"http://127.0.0.1:{port}/1k"]
    return ["taskset", "-c", str(core), binary, *pull, *told]


def read(log: Path, seconds: int) -> Round:
    """From lines of start, status and microseconds."""
    lines = [line.split() for line in log.read_text().splitlines()]
    took_ms = sorted(int(took) / 1000 for _, status, took in lines if status == "200")
    return Round(len(took_ms) / seconds, *(took_ms[int(len(took_ms) * share)] for share in (0.5, 0.99, 0.999)))


def main(options: argparse.Namespace) -> None:
    core, load_core = cores()
    h2load = required("h2load", "apt-get install nghttp2-client")
    os.sched_setaffinity(0, {load_core})
    with tempfile.TemporaryDirectory() as folder, ExitStack() as stack:
        ports = start_all(stack, available(USUAL, []), (core, load_core), Path(folder))
        rate = options.rate or half_of_what_nginx_can_do(ports[NGINX.name][0], load_core, Path(folder))
        print(f"{rate:.0f} requests/s; medians of {options.rounds} rounds of {options.seconds} s")
        rounds: dict[str, list[Round]] = {name: [] for name in ports}
        for number in range(options.rounds):
            for name, (port, _) in ports.items():
                log = Path(folder, f"{name}-{number}.log")
                subprocess.run(command(h2load, port, rate, options, load_core, log), capture_output=True, check=True)
                rounds[name].append(read(log, options.seconds))
    _print(rounds)


def _print(rounds: dict[str, list[Round]]) -> None:
    print(f"{'':11} {'requests/s':>10} {'p50 ms':>8} {'p99 ms':>8} {'p99.9 ms':>9}  p99 x nginx")
    for name, own in rounds.items():
        rate, p50, p99, p999 = (median(column) for column in zip(*own, strict=True))
        ratio = median(a.p99_ms / b.p99_ms for a, b in zip(own, rounds[NGINX.name], strict=True))
        print(f"{name:11} {rate:10.0f} {p50:8.2f} {p99:8.2f} {p999:9.2f}  {ratio:.2f}")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rate", type=float)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=int, default=4)
    main(parser.parse_args())

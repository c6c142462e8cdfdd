"""How long requests take at a rate that every proxy can bear, and while it reloads or restarts.

    .venv/bin/python -m loadtests.steady                     # at half of what nginx can do here
    .venv/bin/python -m loadtests.steady --rate 5000 --rounds 5 --seconds 6 --signal reload

Requests are due at random times (Poisson), whatever became of those before them, and a latency counts from when the
request was due: nothing is omitted while a proxy stalls.  With `--signal reload` all but Envoy are told to reload every
second, in their makers' ways, with `--signal restart` shardproxy is told to run its new code (SIGUSR2).  Proxies are on
one CPU, the load and the origin on another; rounds are interleaved, and each figure is the median of the rounds.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import random
import shutil
import signal
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path
from statistics import median, quantiles

import uvloop

from loadtests import cpu, work
from loadtests.compare import cores
from loadtests.pipelined import Batch, Load
from loadtests.processes import Running
from loadtests.proxies import HAPROXY, NGINX, USUAL, start_all

CONNECTIONS = 64
SIGNALS = {
    "reload": {"nginx": signal.SIGHUP, "haproxy": signal.SIGUSR2, "shardproxy": signal.SIGHUP},
    "restart": {"shardproxy": signal.SIGUSR2},
}
# As systemd runs it: only its master can reload.
MASTER = replace(HAPROXY, arguments=("-W", "-f", "{file}"))
SIGNAL_EVERY_S = 1.0


@dataclass(frozen=True)
class Round:
    """Milliseconds, and CPU time in microseconds a request."""

    p50_ms: float
    p99_ms: float
    p999_ms: float
    lost: int
    cpu_us: float


def due(rate: float, seconds: float, seed: int) -> Iterator[tuple[float, int]]:
    dice, at = random.Random(seed), 0.0
    while (at := at + dice.expovariate(rate)) < seconds:
        yield at, 1


async def offer(port: int, rate: float, seconds: float, seed: int, told: tuple[int, int] | None) -> list[Batch]:
    """`told` is a pid and a signal that it gets every second."""
    load = Load(port)
    telling = asyncio.ensure_future(_tell(*told)) if told is not None else None
    await load.run(due(rate, seconds, seed), CONNECTIONS)
    if telling is not None:
        telling.cancel()
    return load.batches


async def _tell(pid: int, number: int) -> None:
    while True:
        await asyncio.sleep(SIGNAL_EVERY_S)
        os.kill(pid, number)


def result(batches: list[Batch], cpu_us: float) -> Round:
    cuts = quantiles([1000 * (one.answered_s - one.due_s) for one in batches if not one.lost], n=1000)
    lost = sum(one.lost for one in batches)
    return Round(cuts[499], cuts[989], cuts[998], lost, cpu_us / len(batches))


def half_of_what_nginx_can_do(port: int, core: int, directory: Path) -> float:
    binary = shutil.which("wrk")
    if binary is None:
        raise SystemExit("wrk is not installed: apt-get install wrk; or say --rate")
    run = work.wrk_runner(binary, directory)
    outcome = run(work.WORKS[0], port, work.Load(3, CONNECTIONS, core))
    return outcome.requests / outcome.seconds / 2


def measure(running: Running, port: int, options: argparse.Namespace, seed: int) -> Round:
    told = (running.pid, SIGNALS[options.signal][running.name]) if options.signal else None
    before = sum((cpu.process_cpu(pid) for pid in cpu.tree(running.pid)), cpu.CpuTime())
    batches = uvloop.run(offer(port, options.rate, options.seconds, seed, told))
    after = sum((cpu.process_cpu(pid) for pid in cpu.tree(running.pid)), cpu.CpuTime())
    return result(batches, (after - before).total_us)


def main(options: argparse.Namespace) -> None:
    core, load_core = cores()
    able = [one for one in USUAL if options.signal is None or one.name in SIGNALS[options.signal]]
    chosen = [one for one in able if not options.proxy or one.name in options.proxy]
    with tempfile.TemporaryDirectory() as folder, ExitStack() as stack:
        os.sched_setaffinity(0, {load_core})
        wanted = {one.name: MASTER if one == HAPROXY else one for one in (NGINX, *chosen)}
        ports = start_all(stack, wanted.values(), (core, load_core), Path(folder))
        if options.rate is None:
            options.rate = half_of_what_nginx_can_do(ports["nginx"][0], load_core, Path(folder))
        print(f"{options.rate:.0f} requests/s; medians of {options.rounds} rounds of {options.seconds:g} s")
        rounds: dict[str, list[Round]] = {one.name: [] for one in chosen}
        for number in range(options.rounds):
            for name, own in rounds.items():
                own.append(measure(ports[name][1], ports[name][0], options, number))
    _print(rounds)


def _print(rounds: dict[str, list[Round]]) -> None:
    print(f"{'':11} {'p50 ms':>8} {'p99 ms':>8} {'p99.9 ms':>9} {'CPU us':>7} {'lost':>5}  p99 x nginx")
    for name, own in rounds.items():
        figures = [median(getattr(one, key) for one in own) for key in ("p50_ms", "p99_ms", "p999_ms", "cpu_us")]
        beside = rounds.get("nginx", [])
        ratio = f"{median(a.p99_ms / b.p99_ms for a, b in zip(own, beside, strict=True)):.2f}" if beside else "-"
        p50, p99, p999, cpu_us = figures
        print(f"{name:11} {p50:8.2f} {p99:8.2f} {p999:9.2f} {cpu_us:7.1f} {sum(one.lost for one in own):5}  {ratio}")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rate", type=float)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seconds", type=float, default=5)
    parser.add_argument("--proxy", action="append", choices=[one.name for one in USUAL])
    parser.add_argument("--signal", choices=list(SIGNALS))
    main(parser.parse_args())

"""Whether a limit holds: what four workers admit of steady and bursty arrivals, against one ideal bucket.

    .venv/bin/python -m loadtests.limits                          # 2 s each; --seconds 10 for the whole table
    .venv/bin/python -m loadtests.limits --proxy nginx --rate 500

The ideal is a token bucket simulated on the same arrivals; one that is sent and answered counts as arrived halfway in
between, and how far the ideal would move if it had arrived at either end is told, too (`+-`).  A worker is killed each
second where it says so: what was under way on its connections is lost to the client, so there the proxy's own count,
which outlives its workers, is held against the ideal.

More than about 150 000 requests a second cannot be offered here: `offered` is what really was.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import math
import os
import random
import signal
import tempfile
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import uvloop

from loadtests.configurations import Site
from loadtests.ideal import admitted
from loadtests.limit_sites import PROXIES, LimitSite
from loadtests.pipelined import Batch, Load
from loadtests.processes import free_ports
from loadtests.proxies import start

RATES = (10, 500, 20_000)
FACTORS = (0.5, 1, 2, 5, 20)
MOST = 120_000  # a second that are tried
CONNECTIONS = 32
STEP_S = 0.002
BURST_SHARE = 0.1  # of each second, in which all of its requests come
SHAPES = ("steady", "bursts")
WAVE_S = 5.0  # from one trough to the next, for the picture


@dataclass(frozen=True)
class Case:
    """One line of the table."""

    proxy: str
    rate: int
    factor: float
    shape: str
    kills: bool

    @property
    def burst(self) -> int:
        return max(10, self.rate // 10)

    @property
    def offered(self) -> float:
        return min(self.factor * self.rate, MOST)


@dataclass(frozen=True)
class Result:
    """Requests. `least` and `most` are the ideal if all had arrived when they were sent, or answered."""

    case: Case
    offered: int
    admitted: int
    lost: int
    ideal: int
    least: int
    most: int

    @property
    def percent(self) -> float:
        return 100 * (self.admitted - self.ideal) / max(self.ideal, 1)

    @property
    def is_right(self) -> bool:
        """Within 0.5 % or one request of the ideal, wherever the arrivals were."""
        slack = max(1.0, 0.005 * self.ideal)
        return min(self.least, self.ideal) - slack <= self.admitted <= max(self.most, self.ideal) + slack


def due(case: Case, seconds: float) -> Iterator[tuple[float, int]]:
    """Times and sizes of batches: Poisson arrivals, taken together in steps; in bursts, a second's worth in a tenth."""
    dice, at = random.Random(case.rate), 0.0
    step: tuple[int, int] = (0, 0)
    while (at := at + dice.expovariate(case.offered)) < seconds:
        if case.shape == "waves" and dice.random() > (1 - math.cos(2 * math.pi * at / WAVE_S)) / 2:
            continue
        when = int(at) + (at - int(at)) * (BURST_SHARE if case.shape == "bursts" else 1)
        number = int(when / STEP_S)
        if number != step[0]:
            yield from _split(step)
            step = (number, 0)
        step = (number, step[1] + 1)
    yield from _split(step)


def _split(step: tuple[int, int], most: int = 32) -> Iterator[tuple[float, int]]:
    number, count = step
    for first in range(0, count, most):
        yield number * STEP_S, min(most, count - first)


async def offer(case: Case, port: int, seconds: float, workers: Callable[[], list[int]]) -> Load:
    load = Load(port)
    killing = asyncio.ensure_future(_kill(workers)) if case.kills else None
    await load.run(due(case, seconds), CONNECTIONS)
    if killing is not None:
        killing.cancel()
    return load


async def _kill(workers: Callable[[], list[int]]) -> None:
    while True:
        await asyncio.sleep(1)
        found = await asyncio.to_thread(workers)
        if found:
            os.kill(random.Random(len(found)).choice(found), signal.SIGKILL)


def measure(case: Case, seconds: float, directory: Path) -> tuple[Result, list[Batch]]:
    port, admin_port = free_ports(2)
    site = LimitSite(Site(port, admin_port, (), ("/",), directory / f"{port}", workers=4), case.rate, case.burst)
    with ExitStack() as stack:
        stack.enter_context(start(PROXIES[case.proxy](site), site.site, None, "/ready"))
        load = uvloop.run(offer(case, port, seconds, lambda: worker_pids(admin_port)))
        count = load.total("admitted")
        if case.kills:
            count = int(stats(admin_port)["rate_limits"]["all"]["admitted"])
    return result(case, load, count), load.batches


def result(case: Case, load: Load, count: int) -> Result:
    def ideal(when: Callable[[Batch], float]) -> int:
        return admitted(sorted((when(batch), batch.size) for batch in load.batches), case.rate, case.burst)

    ideals = [ideal(lambda one: one.sent_s), ideal(lambda one: one.answered_s)]
    middle = ideal(lambda one: one.middle_s)
    return Result(case, load.total("size"), count, load.total("lost"), middle, min(ideals), max(ideals))


def stats(admin_port: int) -> dict[str, Any]:
    with urllib.request.urlopen(f"http://127.0.0.1:{admin_port}/stats", timeout=10) as answer:
        found: dict[str, Any] = json.loads(answer.read())
        return found


def worker_pids(admin_port: int) -> list[int]:
    return [int(worker["pid"]) for worker in stats(admin_port)["workers"] if worker["state"] == "ready"]


def line(one: Result) -> str:
    case = one.case
    what = f"{case.proxy:11} {case.rate:6}/s {case.factor:4g}x {case.shape:7}{' killed' if case.kills else '':7}"
    far = max(one.most - one.ideal, one.ideal - one.least)
    return (
        f"{what} {one.offered:9} {one.ideal:8} {one.admitted:8} {one.percent:+8.2f} % +-{far:<5}"
        f"{'' if one.is_right else ' !'}"
    )


def cases(options: argparse.Namespace) -> Iterator[Case]:
    for proxy in options.proxy or PROXIES:
        for rate in options.rate or RATES:
            for factor in options.factor or FACTORS:
                for shape in SHAPES:
                    yield Case(proxy, rate, factor, shape, kills=False)
            if proxy == "shardproxy":
                yield Case(proxy, rate, 5, "steady", kills=True)


def main(options: argparse.Namespace) -> None:
    results: list[Result] = []
    timeline: list[tuple[float, int, int]] = []
    print(f"{'':38} {'offered':>9} {'ideal':>8} {'admitted':>8} {'difference':>10}")
    with tempfile.TemporaryDirectory() as directory:
        for case in cases(options):
            found, _ = measure(case, options.seconds, Path(directory))
            results.append(found)
            print(line(found), flush=True)
        if options.json is not None:
            _, batches = measure(Case("shardproxy", 500, 4, "waves", kills=False), 10, Path(directory))
            timeline = [(one.middle_s, one.size, one.admitted) for one in batches]
    if options.json is not None:
        document = {"seconds": options.seconds, "results": [asdict(one) for one in results], "timeline": timeline}
        options.json.write_text(json.dumps(document))
        print(f"written: {options.json}")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=2)
    parser.add_argument("--proxy", action="append", choices=list(PROXIES))
    parser.add_argument("--rate", type=int, action="append")
    parser.add_argument("--factor", type=float, action="append")
    parser.add_argument("--json", type=Path)
    main(parser.parse_args())

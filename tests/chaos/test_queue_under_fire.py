"""Workers are killed, or stand still, while others wait for the places that they hold."""

from __future__ import annotations

import asyncio
import os
import random
import signal
from itertools import pairwise
from pathlib import Path

import pytest

from tests.arrivals import Arrivals
from tests.capacity import Report, capacity_origin
from tests.chaos.test_killed_workers import until_replaced
from tests.proxykit import Proxy, proxy

CONFIGURATION = """
workers: 4
log: {level: warning}
listeners:
  - {bind: "127.0.0.1:PORT", timeouts: {idle: 20m}, routes: [{match: {prefix: /}, cluster: app, timeout: 60s}]}
clusters:
  - {name: app, queue: {max: 2000, timeout: 60s}, endpoints: [{address: "ORIGIN", max_requests: CAP}]}
"""
CLIENTS = 32
STALL_S = 1.0
STOPPED_S = 2.0


def longest_pause_s(report: Report) -> float:
    """In which the origin had nothing to do."""
    spans = sorted(report.spans, key=lambda span: span.start_ns)
    return max(after.start_ns - before.end_ns for before, after in pairwise(spans)) / 1e9


async def kill_every_second(running: Proxy, kills: int) -> int:
    loop = asyncio.get_running_loop()
    chance = random.Random(11)
    for _ in range(kills):
        victim = chance.choice(await loop.run_in_executor(None, running.worker_pids))
        os.kill(victim, signal.SIGKILL)
        await asyncio.gather(until_replaced(running, victim), asyncio.sleep(1))
    return kills


async def load_and_kill(running: Proxy, arrivals: Arrivals, requests: int, kills: int) -> None:
    load = asyncio.create_task(arrivals.at_once(requests, CLIENTS))
    await asyncio.wait_for(kill_every_second(running, kills), 60 + 5 * kills)
    await load


def killed(tmp_path: Path, requests: int, kills: int) -> None:
    with capacity_origin(2) as origin:
        text = CONFIGURATION.replace("ORIGIN", origin.address).replace("CAP", "1")
        with proxy(tmp_path, text) as running:
            arrivals = Arrivals(running.port)
            asyncio.run(load_and_kill(running, arrivals, requests, kills))
            report = origin.report()
            running.await_idle()
            assert running.stats()["clusters"]["app"]["queue"]["waiting"] == 0
    assert report.most == 1
    assert set(arrivals.statuses) == {200}
    assert arrivals.statuses[200] + arrivals.lost == requests
    assert 0 < arrivals.lost <= kills * CLIENTS
    assert longest_pause_s(report) < STALL_S


def test_killed_workers_neither_stall_the_line_nor_let_two_through(tmp_path: Path) -> None:
    killed(tmp_path, 3_000, kills=3)


@pytest.mark.long
@pytest.mark.timeout(1200)
def test_a_worker_killed_each_second_for_a_hundred_thousand_requests_neither_stalls_nor_lets_two_through(
    tmp_path: Path,
) -> None:
    killed(tmp_path, 100_000, kills=120)


async def load_and_stop(running: Proxy, arrivals: Arrivals, requests: int) -> None:
    load = asyncio.create_task(arrivals.at_once(requests, CLIENTS))
    loop = asyncio.get_running_loop()
    victim = (await loop.run_in_executor(None, running.worker_pids))[0]
    while arrivals.statuses[200] < requests // 5:
        await asyncio.sleep(0.01)
    os.kill(victim, signal.SIGSTOP)
    try:
        await asyncio.sleep(STOPPED_S)
    finally:
        os.kill(victim, signal.SIGCONT)
    await load


def test_a_worker_that_stands_still_holds_up_its_own_clients_only(tmp_path: Path) -> None:
    """Its own waiters are first in line all the while, and it is not there to take their turn."""
    with capacity_origin(5) as origin:
        text = CONFIGURATION.replace("ORIGIN", origin.address).replace("CAP", "16")
        with proxy(tmp_path, text) as running:
            arrivals = Arrivals(running.port)
            asyncio.run(load_and_stop(running, arrivals, 8_000))
            report = origin.report()
            running.await_idle()
    assert arrivals.statuses == {200: 8_000}
    assert report.most == 16
    assert longest_pause_s(report) < STOPPED_S / 2

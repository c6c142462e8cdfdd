"""Workers are killed under load: what is lost is what they had in hand, and nothing else."""

from __future__ import annotations

import asyncio
import os
import random
import signal
from pathlib import Path

from tests.load import Tally, client
from tests.proxykit import Proxy, origins, proxy

KILLS = 20
CLIENTS = 24

CONFIGURATION = """
workers: 4
log: {level: warning}
listeners:
  - bind: 127.0.0.1:PORT
    routes: [{match: {prefix: /}, cluster: app}]
clusters:
  - {name: app, endpoints: [ORIGINS]}
"""


async def kill_one_after_the_other(running: Proxy, tally: Tally) -> None:
    loop = asyncio.get_running_loop()
    chance = random.Random(5)
    for _ in range(KILLS):
        before = await loop.run_in_executor(None, running.worker_pids)
        seen = tally.total
        victim = chance.choice(before)
        os.kill(victim, signal.SIGKILL)
        await until_replaced(running, victim)
        while tally.total < seen + CLIENTS:  # traffic flows again before the next one goes
            await asyncio.sleep(0.01)
    tally.stopped = True


async def until_replaced(running: Proxy, victim: int) -> None:
    loop = asyncio.get_running_loop()
    while victim in await loop.run_in_executor(None, running.worker_pids):
        await asyncio.sleep(0.02)
    while not await loop.run_in_executor(None, running.is_ready):
        await asyncio.sleep(0.02)


async def load_and_kill(running: Proxy) -> Tally:
    tally = Tally()
    clients = [asyncio.create_task(client(running.port, "/", tally)) for _ in range(CLIENTS)]
    await asyncio.wait_for(kill_one_after_the_other(running, tally), 100)
    await asyncio.wait_for(asyncio.gather(*clients), 30)
    return tally


def test_twenty_killed_workers_cost_only_the_requests_they_had_in_hand_and_leave_exact_counts(tmp_path: Path) -> None:
    with origins(2, 2, 20) as addresses:
        configuration = CONFIGURATION.replace("ORIGINS", ", ".join(addresses))
        with proxy(tmp_path, configuration) as running:
            tally = asyncio.run(load_and_kill(running))
            assert tally.refused == 0
            assert tally.with_status(200) == tally.total > KILLS * CLIENTS
            assert 0 < tally.broken <= KILLS * CLIENTS
            running.await_idle()
            stats = running.stats()
            assert sum(worker["active"] for worker in stats["workers"]) == 0
            assert running.log.count("killed by SIGKILL") == KILLS
            # A worker's counters outlive it: every answer that a client saw was counted.
            assert stats["responses"]["2xx"] >= tally.total

"""The end of a worker: accept no more, finish what runs, close what idles, and keep the deadline."""

from __future__ import annotations

import asyncio
import time

from shardproxy.control.messages import Released
from shardproxy.proxy.process import Process
from shardproxy.worker.orders import Orders
from shardproxy.worker.service import Service

LOOK_S = 0.05
# Of the loop: uvloop tells of a connection one turn after it has accepted it.
ARRIVAL_TURNS = 3
# How long a connection must have been idle before we close it: the request of a busy one may be on its way.
QUIET_NS = 1_000_000_000
# When a successor serves already, nothing is waiting for this worker to end; so it can be more patient.
SUCCEEDED_QUIET_NS = 5_000_000_000


async def drain(process: Process, service: Service, orders: Orders) -> int:
    """Returns how many requests the deadline has cut.  `orders` may bring the deadline forward, or stop it all."""
    await service.stop_accepting(is_succeeded=orders.is_succeeded)
    orders.tell(Released())
    for _ in range(ARRIVAL_TURNS):
        await asyncio.sleep(0)
    service.begin_to_leave()
    quiet_ns = SUCCEEDED_QUIET_NS if orders.is_succeeded else QUIET_NS
    while process.clients and not orders.is_stopped and time.monotonic_ns() < orders.deadline_ns:
        for client in list(process.clients):
            client.close_idle(quiet_ns)
        await asyncio.sleep(LOOK_S)
    cut = sum(client.cut() for client in list(process.clients))
    await asyncio.sleep(0)  # one turn, in which the closed connections leave their counts
    return cut

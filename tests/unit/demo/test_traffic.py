"""The demo's visitors against one of its origins, without a proxy between."""

from __future__ import annotations

import asyncio

import uvloop

from shardproxy.demo import origins
from shardproxy.demo.origins import Origin
from shardproxy.demo.traffic import Traffic

PATIENCE_S = 10


async def visited(wanted: int) -> Traffic:
    """What has been seen once `wanted` requests were made."""
    server = await origins.start(Origin("here", 0.001))
    traffic = Traffic(f"http://{origins.address(server)}")
    async with traffic.running():
        while traffic.requests < wanted:
            await asyncio.sleep(0.01)
    server.close()
    return traffic


async def turned_away() -> Traffic:
    """What has been seen where nobody listens."""
    server = await origins.start(Origin("gone", 0))
    traffic = Traffic(f"http://{origins.address(server)}")
    server.close()
    await server.wait_closed()
    async with traffic.running():
        while not traffic.errors:
            await asyncio.sleep(0.01)
    return traffic


def test_visitors_make_requests_of_every_kind_and_finish_what_they_have_begun() -> None:
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        traffic = runner.run(asyncio.wait_for(visited(100), PATIENCE_S))
    assert traffic.requests >= 100
    assert (traffic.errors, traffic.refused) == (0, 0)


def test_visitors_count_what_fails() -> None:
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        traffic = runner.run(asyncio.wait_for(turned_away(), PATIENCE_S))
    assert traffic.errors == traffic.requests > 0

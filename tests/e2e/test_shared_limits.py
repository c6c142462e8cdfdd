"""Limits that hold over all workers together, counted by who must not get more."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.e2e.peers import Client
from tests.load import press
from tests.proxykit import Proxy, eventually, origins, proxy, scripted_origin

CONFIGURATION = """
workers: WORKERS
log: {level: warning}
listeners:
  - {bind: "127.0.0.1:PORT", LISTENER routes: [{match: {prefix: /}, cluster: app}]}
clusters:
  - {name: app, CLUSTER endpoints: [{address: "ORIGIN" ENDPOINT}]}
"""
CAP = 6


def configured(origin: str, *, workers: int, listener: str = "", cluster: str = "", endpoint: str = "") -> str:
    text = CONFIGURATION.replace("ORIGIN", origin).replace("WORKERS", str(workers))
    return text.replace("LISTENER", listener).replace("CLUSTER", cluster).replace("ENDPOINT", endpoint)


@pytest.fixture
def origin() -> Iterator[str]:
    with origins(0) as addresses:
        yield addresses[0]


def statuses(running: Proxy, clients: list[Client]) -> list[int]:
    """One request on each; who was refused at the door has its answer already."""
    found = []
    for client in clients:
        with suppress(ConnectionError):
            client.send("GET / HTTP/1.1")
        found.append(client.read().status)
    return found


def test_a_listener_lets_exactly_as_many_in_as_it_may_whoever_accepts_them(tmp_path: Path, origin: str) -> None:
    text = configured(origin, workers=2, listener=f"max_connections: {CAP},")
    with proxy(tmp_path, text) as running, ExitStack() as stack:
        clients = [stack.enter_context(Client(running.port)) for _ in range(5 * CAP)]
        found = statuses(running, clients)
        assert sorted(found) == [200] * CAP + [503] * (4 * CAP)
        admitted = [client for client, status in zip(clients, found, strict=True) if status == 200]
        for client in admitted[:2]:
            client.close()
        eventually(lambda: connections(running) == CAP - 2, "the places to be free again")
        more = [stack.enter_context(Client(running.port)) for _ in range(4)]
        assert sorted(statuses(running, more)) == [200, 200, 503, 503]


def connections(running: Proxy) -> int:
    return sum(listener["connections"] for listener in running.stats()["listeners"].values())


@dataclass
class Concurrency:
    """An origin's own count of the requests it works on."""

    now: int = 0
    most: int = 0

    async def handle(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while True:
            await reader.readuntil(b"\r\n\r\n")
            self.now += 1
            self.most = max(self.most, self.now)
            await asyncio.sleep(0.005)  # this is the work
            self.now -= 1
            writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")


@pytest.mark.parametrize("place", ["cluster", "endpoint"])
def test_no_more_requests_reach_an_origin_than_it_may_have_from_four_workers(tmp_path: Path, place: str) -> None:
    counted = Concurrency()
    limit = {"cluster": f"max_requests: {CAP},"} if place == "cluster" else {"endpoint": f", max_requests: {CAP}"}
    with (
        scripted_origin(counted.handle) as address,
        proxy(tmp_path, configured(address, workers=4, **limit)) as running,
    ):
        tally = asyncio.run(press(running.port, clients=32, seconds=1.5, pause_s=0.002))
        running.await_idle()
    assert counted.most == CAP
    assert tally.with_status(200) > 200
    assert tally.with_status(200) + tally.with_status(503) == tally.total
    assert (tally.broken, tally.refused) == (0, 0)

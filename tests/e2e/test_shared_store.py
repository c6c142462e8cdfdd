"""One rate limit over two machines: two proxies of four and two workers, each with its own memory, and a real Redis."""

from __future__ import annotations

import asyncio
import os
import signal
import time
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from tests.load import press
from tests.proxykit import ROOT, Proxy, eventually, origins, proxy
from tests.redis_server import RedisServer, needs_redis, redis_server

pytestmark = needs_redis

CONFIGURATION = """
workers: 2
log: {level: info}
listeners:
  - bind: 127.0.0.1:PORT
    routes: [{match: {prefix: /}, cluster: app, rate_limits: [all]}]
clusters:
  - {name: app, endpoints: [ORIGIN]}
rate_limits:
  - {name: all, rate: 500/s, burst: 250, store: "STORE", on_store_failure: FAILURE}
"""
RATE, BURST = 500, 250
CLIENTS, PAUSE_S = 50, 0.02  # at each proxy: 2 500/s are offered, together ten times the limit
WAIT_S = 1  # the store is away for longer, so who waited for it would take longer; else this machine is just slow


@pytest.fixture
def server(tmp_path: Path) -> Iterator[RedisServer]:
    (folder := tmp_path / "redis").mkdir()
    with redis_server(folder) as running:
        yield running


@pytest.fixture
def origin() -> Iterator[str]:
    with origins(0) as addresses:
        yield addresses[0]


def machines(stack: ExitStack, folder: Path, origin: str, server: RedisServer, failure: str, count: int) -> list[Proxy]:
    """So many proxies, once each of them shares the limit."""
    text = CONFIGURATION.replace("ORIGIN", origin).replace("STORE", server.url).replace("FAILURE", failure)
    running = [stack.enter_context(proxy(folder, text)) for _ in range(count)]
    for each in running:
        eventually(lambda each=each: store(each)["machines"] == count, "all machines to know of each other")  # type: ignore[misc]
    return running


def store(running: Proxy) -> dict[str, Any]:
    return dict(running.stats()["rate_limits"]["all"]["store"])


def test_two_machines_hold_one_limit_within_two_percent_at_ten_times_the_demand(
    tmp_path: Path, server: RedisServer, origin: str
) -> None:
    with ExitStack() as stack:
        running = machines(stack, tmp_path, origin, server, "local", 2)

        async def both() -> tuple[int, float, int]:
            started = time.monotonic()
            presses = [press(each.port, clients=CLIENTS, seconds=8, pause_s=PAUSE_S) for each in running]
            tallies = await asyncio.gather(*presses)
            return sum(t.with_status(200) for t in tallies), time.monotonic() - started, sum(t.total for t in tallies)

        admitted, took, offered = asyncio.run(both())
        ideal = RATE * took + BURST
        print(f"offered {offered}, admitted {admitted}, ideal {ideal:.0f}: {100 * (admitted / ideal - 1):+.2f} %")
        assert offered > 4 * ideal, "too little was offered to say anything"
        assert admitted == pytest.approx(ideal, rel=0.02)
        assert sum(each.stats()["rate_limits"]["all"]["admitted"] for each in running) == admitted
        assert {store(each)["state"] for each in running} == {"shared"}


@pytest.mark.parametrize("failure", ["local", "open", "closed"])
@pytest.mark.parametrize("how", ["paused", "killed"])
def test_without_the_store_no_request_waits_and_the_configuration_says_what_holds(
    tmp_path: Path, server: RedisServer, origin: str, failure: str, how: str
) -> None:
    with ExitStack() as stack:
        (running,) = machines(stack, tmp_path, origin, server, failure, 1)
        (server.pause if how == "paused" else server.kill)()
        eventually(lambda: store(running)["state"] == failure, "the store to be missed", 2)
        before = running.stats()["rate_limits"]["all"]
        started = time.monotonic()
        tally = asyncio.run(press(running.port, clients=CLIENTS, seconds=2, pause_s=PAUSE_S))
        took = time.monotonic() - started
        admitted = tally.with_status(200)
        expected = {"local": RATE * took + before["tokens"], "open": tally.total, "closed": 0}[failure]
        print(f"{failure}, {how}: admitted {admitted} of {tally.total}, slowest {1000 * tally.slowest_s:.0f} ms")
        assert admitted == pytest.approx(expected, rel=0.1)
        assert tally.slowest_s < WAIT_S
        (server.resume if how == "paused" else server.start)()
        eventually(lambda: store(running)["state"] == "shared", "the store to be back", 3)
        assert running.log.count("does not answer") == 1


def test_the_example_shares_its_limit(tmp_path: Path, server: RedisServer) -> None:
    text = (ROOT / "configs" / "redis.yaml").read_text().replace("127.0.0.1:8080", "127.0.0.1:PORT")
    with proxy(tmp_path, text.replace("127.0.0.1:6379", server.url.removeprefix("redis://"))) as running:
        limit = eventually(lambda: running.stats()["rate_limits"]["whole-api"], "the limit")
        eventually(lambda: running.stats()["rate_limits"]["whole-api"]["store"]["state"] == "shared", "the store")
        assert (limit["rate"], limit["burst"], limit["store"]["address"]) == (1000, 500, server.url)


def test_a_reload_and_a_hot_restart_keep_what_is_leased(tmp_path: Path, server: RedisServer, origin: str) -> None:
    with ExitStack() as stack:
        (running,) = machines(stack, tmp_path, origin, server, "closed", 1)
        file = tmp_path / f"proxy-{running.port}.yaml"
        file.write_text(file.read_text().replace(f"rate: {RATE}/s", f"rate: {2 * RATE}/s"))
        for number, word in enumerate((signal.SIGHUP, signal.SIGUSR2), 2):
            running.process.send_signal(word)
            eventually(lambda number=number: running.stats()["version"] == number, "the new configuration")  # type: ignore[misc]
            running.await_idle()
            started = time.monotonic()
            tally = asyncio.run(press(running.port, clients=CLIENTS, seconds=2, pause_s=PAUSE_S))
            took = time.monotonic() - started
            admitted = tally.with_status(200)
            print(f"{word.name}: admitted {admitted} of {tally.total}")
            assert 0.95 * 2 * RATE * took <= admitted <= 1.05 * 2 * RATE * took + BURST
            assert store(running)["machines"] == 1


def test_while_the_store_is_lost_and_found_again_no_request_waits(
    tmp_path: Path, server: RedisServer, origin: str
) -> None:
    """Also in the half second in which nobody knows yet, and with a controller that is killed on top."""
    with ExitStack() as stack:
        (running,) = machines(stack, tmp_path, origin, server, "local", 1)

        async def misfortunes() -> None:
            for act in (server.pause, server.resume, server.kill, server.start):
                await asyncio.sleep(1.5)
                await asyncio.to_thread(act)
            os.kill(running.stats()["controller"]["pid"], signal.SIGKILL)
            await asyncio.sleep(1)

        async def both() -> float:
            tally, _ = await asyncio.gather(
                press(running.port, clients=CLIENTS, seconds=8, pause_s=PAUSE_S), misfortunes()
            )
            assert tally.total == tally.with_status(200) + tally.with_status(429)
            return tally.slowest_s

        slowest_s = asyncio.run(both())
        print(f"slowest {1000 * slowest_s:.0f} ms")
        assert slowest_s < WAIT_S
        eventually(lambda: running.is_ready() and store(running)["state"] == "shared", "the limit to be shared")

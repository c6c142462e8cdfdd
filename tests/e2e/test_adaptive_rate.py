"""A rate that follows how the origin fares: found by the controller, kept by all workers, kept over its end."""

from __future__ import annotations

import asyncio
import os
import signal
from pathlib import Path
from typing import Any

from loadtests.adaptive import bounded_origin
from loadtests.paced import offer
from tests.proxykit import Proxy, eventually, exchange, free_port, proxy

CONFIGURATION = """
workers: 4
log: {level: warning}
listeners:
  - {bind: 127.0.0.1:PORT, routes: [{match: {prefix: /}, cluster: app, rate_limits: [app]}]}
clusters:
  - {name: app, endpoints: ["127.0.0.1:ORIGIN"]}
rate_limits:
  - name: app
    rate: 2000/s
    burst: 20
    adaptive: {cluster: app, min: 20/s, max: 2000/s, LATENCY interval: 200ms, step: 2}
"""
PLACES, WORK_S = 8, 0.02
CAPACITY = PLACES / WORK_S


def limit(running: Proxy) -> dict[str, Any]:
    found: dict[str, Any] = running.stats()["rate_limits"]["app"]
    return found


def controller_pid(running: Proxy) -> int:
    return int(running.stats()["controller"]["pid"])


def configuration(origin: int, latency: str = "latency: 100ms,") -> str:
    return CONFIGURATION.replace("ORIGIN", str(origin)).replace("LATENCY", latency)


def is_up(running: Proxy) -> bool:
    return exchange(running.port, b"GET / HTTP/1.0\r\n\r\n").startswith(b"HTTP/1.1 200")


def test_an_origin_that_gets_slow_is_asked_for_as_much_as_it_can_do(tmp_path: Path) -> None:
    """It begins at five times what the origin can do, which would have requests wait for ever longer."""
    origin = free_port()
    with bounded_origin(origin, PLACES, WORK_S), proxy(tmp_path, configuration(origin)) as running:
        eventually(lambda: is_up(running), "the origin")
        seen = asyncio.run(offer(running.port, 2.5 * CAPACITY, 10))
        found = limit(running)
        assert 0.3 * CAPACITY <= found["rate"] <= 1.6 * CAPACITY
        assert 1 <= found["burst"] <= 20
        assert seen.rate(200, 5, 10) >= 0.6 * CAPACITY
        assert seen.quantile(0.5, 5, 10) <= 0.3
        assert {answer.status for answer in seen.all} <= {200, 429}
        running.await_idle()


def test_an_origin_that_is_gone_brings_the_rate_down_to_its_least_and_back_when_it_returns(tmp_path: Path) -> None:
    origin = free_port()
    with proxy(tmp_path, configuration(origin, latency="")) as running:
        asyncio.run(offer(running.port, 300, 5))
        assert limit(running)["rate"] < 60
        controller = controller_pid(running)
        os.kill(controller, signal.SIGKILL)
        eventually(lambda: running.is_ready() and controller_pid(running) != controller, "a new controller")
        assert limit(running)["rate"] < 60
        with bounded_origin(origin, 100, 0.001):
            eventually(lambda: is_up(running), "the origin")
            asyncio.run(offer(running.port, 400, 4))
            assert limit(running)["rate"] > 200

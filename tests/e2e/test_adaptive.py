"""An adaptive limit in the real proxy: one for all workers, found by the controller, kept over restarts of it."""

from __future__ import annotations

import asyncio
import os
import signal
from pathlib import Path

from loadtests.adaptive import bounded_origin
from loadtests.paced import offer
from tests.proxykit import Proxy, eventually, exchange, free_port, proxy

CONFIGURATION = """
workers: 4
log: {level: warning}
listeners:
  - bind: 127.0.0.1:PORT
    routes:
      - {match: {prefix: /low}, cluster: app, priority: low}
      - {match: {prefix: /high}, cluster: app, priority: high}
      - {match: {prefix: /}, cluster: app}
clusters:
  - {name: app, endpoints: ["127.0.0.1:ORIGIN"], ADAPTIVE}
"""
PLACES, WORK_S = 8, 0.02
CAPACITY = PLACES / WORK_S


def limit(running: Proxy) -> int:
    return int(running.stats()["clusters"]["app"]["adaptive_limit"])


def controller_pid(running: Proxy) -> int:
    return int(running.stats()["controller"]["pid"])


def configuration(origin: int, adaptive: str = "adaptive: {start: 40}") -> str:
    return CONFIGURATION.replace("ORIGIN", str(origin)).replace("ADAPTIVE", adaptive)


def test_four_workers_find_one_limit_and_the_origin_stays_quick(tmp_path: Path) -> None:
    """The limit begins at 40 for 8 places; without one, every request would wait for all before it."""
    origin = free_port()
    with bounded_origin(origin, PLACES, WORK_S), proxy(tmp_path, configuration(origin)) as running:
        eventually(lambda: exchange(running.port, b"GET / HTTP/1.0\r\n\r\n").startswith(b"HTTP/1.1 200"), "the origin")
        seen = asyncio.run(offer(running.port, 2.5 * CAPACITY, 9))
        assert 4 <= limit(running) <= 4 * PLACES
        assert seen.rate(200, 5, 9) >= 0.7 * CAPACITY
        assert seen.quantile(0.5, 5, 9) <= 5 * WORK_S
        assert {answer.status for answer in seen.all} <= {200, 503}
        running.await_idle()


def test_low_classes_are_refused_first(tmp_path: Path) -> None:
    origin = free_port()
    text = configuration(origin, "adaptive: {policy: aimd, latency: 10s, min: 8, start: 8, max: 8}")
    with bounded_origin(origin, 8, 0.05), proxy(tmp_path, text) as running:

        async def both() -> tuple[float, float]:
            offers = [offer(running.port, 160, 4, path=path, clients=60) for path in ("/low", "/high")]
            low, high = await asyncio.gather(*offers)
            return low.rate(200, 1, 4), high.rate(200, 1, 4)

        low, high = asyncio.run(both())
        assert high > 2 * low
        assert running.stats()["faults"]["shed"] > 0


def test_a_new_controller_goes_on_from_the_limit_that_was_found(tmp_path: Path) -> None:
    origin = free_port()
    text = configuration(origin, "adaptive: {policy: aimd, latency: 1ms, start: 100}")
    with bounded_origin(origin, PLACES, WORK_S), proxy(tmp_path, text) as running:
        asyncio.run(offer(running.port, CAPACITY / 2, 3))
        found = limit(running)
        assert found < 50
        controller = controller_pid(running)
        os.kill(controller, signal.SIGKILL)
        eventually(lambda: running.is_ready() and controller_pid(running) != controller, "a new controller")
        assert limit(running) <= found

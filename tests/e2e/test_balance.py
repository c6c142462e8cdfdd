"""Least connection over shared counts: N workers choose as one would."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from tests.load import press
from tests.proxykit import origins, proxy

CONFIGURATION = """
workers: WORKERS
log: {level: warning}
listeners:
  - bind: 127.0.0.1:PORT
    routes: [{match: {prefix: /}, cluster: app}]
clusters:
  - {name: app, endpoints: [ORIGINS]}
"""
CLIENTS = 48
FAST_MS, SLOW_MS = 20, 200


def slow_share(tmp_path: Path, addresses: list[str], workers: int) -> float:
    text = CONFIGURATION.replace("WORKERS", str(workers)).replace("ORIGINS", ", ".join(addresses))
    with proxy(tmp_path, text) as running:
        tally = asyncio.run(press(running.port, clients=CLIENTS, seconds=4))
        assert tally.with_status(200) == tally.total
        assert (tally.broken, tally.refused) == (0, 0)
        running.await_idle()
        requests = [endpoint["requests"] for endpoint in running.endpoints().values()]
    assert sum(requests) == tally.total
    return float(requests[-1] / sum(requests))


def test_a_slow_origin_gets_the_same_share_from_one_two_and_four_workers(tmp_path: Path) -> None:
    with origins(FAST_MS, FAST_MS, SLOW_MS) as addresses:
        shares = {workers: slow_share(tmp_path, addresses, workers) for workers in (1, 2, 4)}
    # As many requests are under way at each endpoint, so each answers in proportion to 1 / its time.
    ideal = (1 / SLOW_MS) / (2 / FAST_MS + 1 / SLOW_MS)
    assert shares[1] == pytest.approx(ideal, rel=0.25)
    assert shares[2] == pytest.approx(shares[1], rel=0.08)
    assert shares[4] == pytest.approx(shares[1], rel=0.08)

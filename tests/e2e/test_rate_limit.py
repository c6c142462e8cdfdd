"""One bucket for all workers."""

from __future__ import annotations

import asyncio
import time
from pathlib import Path

from tests.load import Tally, press
from tests.proxykit import origins, proxy

CONFIGURATION = """
workers: 4
log: {level: warning}
listeners:
  - bind: 127.0.0.1:PORT
    routes: [{match: {prefix: /}, cluster: app, rate_limits: [all]}]
clusters:
  - {name: app, endpoints: [ORIGINS]}
rate_limits:
  - {name: all, rate: 500/s, burst: 250}
"""
RATE, BURST, SECONDS = 500, 250, 10  # half a second of stall on a busy machine loses no token
CLIENTS, PAUSE_S = 100, 0.02  # 100 clients, each 50 times a second: 5 000/s are offered


def test_four_workers_admit_what_one_bucket_holds_within_one_percent(tmp_path: Path) -> None:
    with origins(0) as addresses, proxy(tmp_path, CONFIGURATION.replace("ORIGINS", addresses[0])) as running:
        started = time.monotonic()
        tally: Tally = asyncio.run(press(running.port, clients=CLIENTS, seconds=SECONDS, pause_s=PAUSE_S))
        took = time.monotonic() - started
        limit = running.stats()["rate_limits"]["all"]
    admitted = tally.with_status(200)
    assert tally.with_status(429) == tally.total - admitted
    assert tally.total > 2 * RATE * SECONDS, "too little was offered to say anything"
    assert admitted <= RATE * took + BURST
    assert admitted >= 0.99 * (RATE * SECONDS + BURST)
    assert (limit["admitted"], limit["refused"]) == (admitted, tally.with_status(429))

"""Limits that refuse nothing, and tell what they would have refused and what would have been enough."""

from __future__ import annotations

import asyncio
from pathlib import Path

from loadtests.adaptive import bounded_origin
from loadtests.paced import offer
from tests.proxykit import eventually, exchange, free_port, origins, proxy

CONFIGURATION = """
workers: 2
log: {level: warning}
listeners:
  - {bind: 127.0.0.1:PORT, routes: [{match: {prefix: /}, cluster: app, rate_limits: [trial]}]}
clusters:
  - {name: app, endpoints: [ORIGIN], ADAPTIVE}
rate_limits:
  - {name: trial, rate: 10/s, dry_run: true}
"""


def test_a_dry_rate_limit_counts_and_suggests(tmp_path: Path) -> None:
    with origins(0) as addresses:
        text = CONFIGURATION.replace("ORIGIN", addresses[0]).replace(", ADAPTIVE", "")
        with proxy(tmp_path, text) as running:
            answers = asyncio.run(offer(running.port, 100, 11, clients=20)).all
            assert {answer.status for answer in answers} == {200}
            limit = running.stats()["rate_limits"]["trial"]
            assert limit["refused"] >= 0.7 * len(answers)
            assert 80 <= limit["suggestion"]["rate"] <= 150
            assert 1 <= limit["suggestion"]["burst"] <= 120


def test_a_dry_adaptive_limit_counts_what_it_would_refuse(tmp_path: Path) -> None:
    origin = free_port()
    text = CONFIGURATION.replace("ORIGIN", f"127.0.0.1:{origin}")
    text = text.replace("ADAPTIVE", "adaptive: {policy: aimd, latency: 10s, min: 2, max: 2, start: 2, dry_run: true}")
    with bounded_origin(origin, 8, 0.05), proxy(tmp_path, text) as running:
        eventually(lambda: exchange(running.port, b"GET / HTTP/1.0\r\n\r\n").startswith(b"HTTP/1.1 200"), "the origin")
        answers = asyncio.run(offer(running.port, 120, 3, clients=40)).all
        assert {answer.status for answer in answers} == {200}
        cluster = running.stats()["clusters"]["app"]
        assert cluster["adaptive_limit"] == 2
        assert cluster["adaptive_would_refuse"] > 0.3 * len(answers)
        running.await_idle()

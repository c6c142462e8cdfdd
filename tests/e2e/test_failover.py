"""Failover of the real proxy: requests move to the next level as far as the first falls ill, and come back."""

from __future__ import annotations

from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from tests.patient import Patient, patient
from tests.proxykit import Proxy, eventually, exchange, proxy

ROOT = Path(__file__).parents[2]
REQUESTS = 600
TOLERANCE = 75  # 4 standard deviations of a binomial count of 600 at 30 % are 45


def example(origins: list[Patient]) -> str:
    """configs/failover.yaml with these origins, checked more often."""
    text = (ROOT / "configs" / "failover.yaml").read_text()
    text = text.replace("127.0.0.1:8080", "127.0.0.1:PORT").replace("interval: 1s", "interval: 100ms")
    for number, origin in enumerate(origins, 1):
        text = text.replace(f"127.0.0.1:900{number}", origin.address)
    return "workers: 2\n" + text


def levels(running: Proxy) -> list[dict[str, Any]]:
    return list(running.stats()["clusters"]["app"]["levels"])


def await_shares(running: Proxy, *wanted: int) -> None:
    eventually(lambda: [level["share"] for level in levels(running)] == list(wanted), f"shares {wanted}")


def served(running: Proxy, origins: list[Patient]) -> list[int]:
    before = [one.served for one in origins]
    for _ in range(REQUESTS):
        answer = exchange(running.port, b"GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n")
        assert answer.startswith(b"HTTP/1.1 200 ")
    return [one.served - had for one, had in zip(origins, before, strict=True)]


def test_requests_move_to_the_next_priority_as_far_as_the_first_is_ill_and_come_back(tmp_path: Path) -> None:
    with ExitStack() as stack:
        origins = [stack.enter_context(patient()) for _ in range(4)]
        running = stack.enter_context(proxy(tmp_path, example(origins)))
        await_shares(running, 100, 0)
        assert sum(served(running, origins)[2:]) == 0

        origins[0].status = 503
        await_shares(running, 70, 30)
        counts = served(running, origins)
        assert counts[0] == 0
        assert counts[1] == pytest.approx(0.7 * REQUESTS, abs=TOLERANCE)

        origins[1].status = 503
        await_shares(running, 0, 100)
        assert sum(served(running, origins)[:2]) == 0

        origins[0].status = origins[1].status = 200
        await_shares(running, 100, 0)
        assert sum(served(running, origins)[2:]) == 0


def test_the_own_zone_is_used_first_and_another_takes_what_it_cannot(tmp_path: Path) -> None:
    with ExitStack() as stack:
        origins = [stack.enter_context(patient()) for _ in range(4)]
        text = example(origins).replace("zone: a, priority: 1", "zone: b")
        running = stack.enter_context(proxy(tmp_path, text.replace("${ZONE:-a}", "b")))
        await_shares(running, 100, 0)
        assert sum(served(running, origins)[:2]) == 0
        origins[2].status = origins[3].status = 503
        await_shares(running, 0, 100)
        assert sum(served(running, origins)[2:]) == 0

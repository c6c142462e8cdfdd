"""Rate limits by key, with delays and costs, through the real proxy and over all its workers."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Iterator

import pytest

from tests.proxykit import Proxy, exchange, origins, proxy

CONFIGURATION = """
workers: 4
log: {level: warning}
listeners:
  - bind: 127.0.0.1:PORT
    trusted_proxies: [127.0.0.0/8]
    routes:
      - {match: {prefix: /client}, cluster: app, rate_limits: [per-client]}
      - {match: {prefix: /api}, cluster: app, rate_limits: [per-key]}
      - {match: {prefix: /slow}, cluster: app, rate_limits: [smooth]}
      - {match: {prefix: /dry}, cluster: app, rate_limits: [dry]}
      - {match: {prefix: /bytes}, cluster: app, rate_limits: [by-bytes]}
clusters:
  - {name: app, endpoints: [ORIGINS]}
rate_limits:
  - {name: per-client, rate: 1/h, burst: 5, key: client_ip, x_ratelimit: true}
  - {name: per-key, rate: 1/h, burst: 3, key: {header: X-Api-Key}, overrides: [{key: gold, rate: 1/h, burst: 9}]}
  - {name: smooth, rate: 20/s, burst: 1, delay: 2s}
  - {name: dry, rate: 1/h, burst: 2, dry_run: true}
  - {name: by-bytes, rate: 1/h, burst: 4, cost: {response: 3B}}
"""


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Proxy]:
    with origins(0) as addresses:
        text = CONFIGURATION.replace("ORIGINS", addresses[0])
        with proxy(tmp_path_factory.mktemp("limits"), text) as started:
            yield started


def answer(running: Proxy, path: str, *fields: str) -> bytes:
    """On a connection of its own, so that any worker may get it."""
    lines = [f"GET {path} HTTP/1.1", "Host: a.test", "Connection: close", *fields, "", ""]
    return exchange(running.port, "\r\n".join(lines).encode())


def statuses(running: Proxy, times: int, path: str, *fields: str) -> Counter[int]:
    return Counter(int(answer(running, path, *fields)[9:12]) for _ in range(times))


def test_each_client_behind_a_trusted_proxy_has_its_own_limit_over_all_workers(running: Proxy) -> None:
    for client in ("203.0.113.1", "203.0.113.2", "2001:db8::1"):
        assert statuses(running, 12, "/client", f"X-Forwarded-For: {client}") == {200: 5, 429: 7}
    assert statuses(running, 2, "/client", "X-Forwarded-For: 2001:db8::2") == {429: 2}, "of the same /64"
    keys = running.stats()["rate_limits"]["per-client"]["keys"]
    assert (keys["capacity"], keys["occupied"], keys["evictions"]) == (65536, 3, 0)


def test_a_refused_client_is_told_the_policy_and_when_to_come_back(running: Proxy) -> None:
    statuses(running, 5, "/client", "X-Forwarded-For: 203.0.113.9")
    head = answer(running, "/client", "X-Forwarded-For: 203.0.113.9").split(b"\r\n\r\n")[0].lower().split(b"\r\n")
    fields = dict(line.split(b": ", 1) for line in head[1:])
    assert fields[b"ratelimit-policy"] == b'"per-client";q=5;w=18000'
    name, left, seconds = fields[b"ratelimit"].split(b";")
    assert (name, left) == (b'"per-client"', b"r=0")
    assert 3500 < int(seconds.removeprefix(b"t=")) <= 3604
    assert abs(int(fields[b"retry-after"]) - int(seconds.removeprefix(b"t="))) <= 1
    assert fields[b"x-ratelimit-limit"] == b"5"
    assert fields[b"x-ratelimit-remaining"] == b"0"


def test_an_api_key_may_have_a_rate_of_its_own_and_requests_without_one_are_not_limited(running: Proxy) -> None:
    assert statuses(running, 12, "/api", "X-Api-Key: bronze") == {200: 3, 429: 9}
    assert statuses(running, 12, "/api", "X-Api-Key: gold") == {200: 9, 429: 3}
    assert statuses(running, 12, "/api") == {200: 12}


def test_requests_that_come_too_early_wait_for_their_turn(running: Proxy) -> None:
    started = time.monotonic()
    assert statuses(running, 11, "/slow") == {200: 11}
    assert 0.49 <= time.monotonic() - started < 5
    assert running.stats()["rate_limits"]["smooth"]["delayed"] == 10


def test_a_body_that_comes_while_its_request_waits_arrives_whole(running: Proxy) -> None:
    statuses(running, 1, "/slow")
    body = b"x" * 200_000
    head = b"POST /slow HTTP/1.1\r\nHost: a\r\nConnection: close\r\nContent-Length: %d\r\n\r\n" % len(body)
    assert exchange(running.port, head + body).startswith(b"HTTP/1.1 200 ")


def test_a_dry_limit_only_counts(running: Proxy) -> None:
    assert statuses(running, 10, "/dry") == {200: 10}
    limit = running.stats()["rate_limits"]["dry"]
    assert (limit["admitted"], limit["refused"], limit["dry_run"]) == (10, 8, True)


def test_large_responses_use_up_a_limit_faster(running: Proxy) -> None:
    """Four tokens; each response's 6 bytes cost two beyond the one that its request takes."""
    assert statuses(running, 6, "/bytes") == {200: 2, 429: 4}

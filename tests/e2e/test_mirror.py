"""Copies of requests for another cluster: whole, bounded, and without any effect on the requests themselves."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.proxykit import Proxy, eventually, exchange, origins, proxy, scripted_origin

CONFIGURATION = """
workers: 2
log: {level: warning}
listeners:
  - bind: 127.0.0.1:PORT
    routes:
      - {match: {prefix: /dead}, cluster: app, mirror: dead}
      - {match: {prefix: /some}, cluster: app, mirror: {cluster: shadow, of: 20%}}
      - {match: {prefix: /}, cluster: app, mirror: {cluster: shadow, max_body: 100KiB}}
clusters:
  - {name: app, endpoints: [APP]}
  - {name: shadow, endpoints: [SHADOW], max_requests: 300}
  - {name: dead, endpoints: ["127.0.0.1:1"]}
"""


class Shadow:
    """Notes heads and bodies; answers late, or never."""

    def __init__(self) -> None:
        self.heads: list[bytes] = []
        self.bodies: list[bytes] = []
        self.is_silent = False

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while True:
            head = await reader.readuntil(b"\r\n\r\n")
            lines = head.lower().split(b"\r\n")
            sizes = [int(line.partition(b":")[2]) for line in lines if line.startswith(b"content-length:")]
            body = await reader.readexactly(sizes[0]) if sizes else b""
            self.heads.append(head)
            self.bodies.append(body)
            if self.is_silent:
                await asyncio.sleep(60)
            writer.write(b"HTTP/1.1 500 Broken\r\nContent-Length: 5\r\n\r\nnever")


@contextmanager
def mirrored(tmp_path: Path) -> Iterator[tuple[Proxy, Shadow]]:
    shadow = Shadow()
    with (
        origins(0) as (app,),
        scripted_origin(shadow.serve) as at,
        proxy(tmp_path, CONFIGURATION.replace("APP", app).replace("SHADOW", at)) as running,
    ):
        yield running, shadow


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Proxy, Shadow]]:
    with mirrored(Path(tmp_path_factory.mktemp("mirror"))) as made:
        yield made


def request(running: Proxy, path: str, body: bytes = b"", *fields: str) -> bytes:
    lines = ["POST" if body else "GET", f"{path} HTTP/1.1\r\nHost: a.test:80\r\nConnection: close"]
    length = [f"Content-Length: {len(body)}"] if body else []
    head = "\r\n".join([" ".join(lines), *length, *fields, "", ""])
    return exchange(running.port, head.encode() + body)


def shadow_stats(running: Proxy, name: str = "shadow") -> dict[str, int]:
    cluster = running.stats()["clusters"][name]
    return {key: cluster[key] for key in ("mirrored", "mirror_dropped", "active")}


def test_the_copy_is_the_request_but_for_its_host(site: tuple[Proxy, Shadow]) -> None:
    running, shadow = site
    shadow.heads.clear()
    assert request(running, "/x?q=1", b"", "X-Mine: 1").startswith(b"HTTP/1.1 200 ")
    (head,) = eventually(lambda: shadow.heads, "the copy")
    assert head.startswith(b"GET /x?q=1 HTTP/1.1\r\nHost: a.test-shadow:80\r\n")
    assert b"\r\nX-Mine: 1\r\n" in head


@pytest.mark.parametrize("size", [1, 70_000, 100 * 1024])
def test_a_body_is_copied_whole(site: tuple[Proxy, Shadow], size: int) -> None:
    running, shadow = site
    shadow.bodies.clear()
    body = bytes(number % 251 for number in range(size))
    assert request(running, "/x", body).startswith(b"HTTP/1.1 200 ")
    assert eventually(lambda: shadow.bodies, "the copy") == [body]


def test_a_request_with_too_long_a_body_is_not_copied_and_counted(site: tuple[Proxy, Shadow]) -> None:
    running, _ = site
    before = shadow_stats(running)
    assert request(running, "/x", b"x" * 200_000).startswith(b"HTTP/1.1 200 ")
    after = shadow_stats(running)
    assert (after["mirrored"], after["mirror_dropped"]) == (before["mirrored"], before["mirror_dropped"] + 1)


def test_only_the_share_that_was_asked_for_is_copied(site: tuple[Proxy, Shadow]) -> None:
    running, _ = site
    before = shadow_stats(running)["mirrored"]
    for _ in range(200):
        request(running, "/some")
    assert 15 <= shadow_stats(running)["mirrored"] - before <= 65, "20 % of 200, within four standard deviations"


def test_copies_are_no_requests_of_clients(site: tuple[Proxy, Shadow]) -> None:
    running, _ = site
    before = running.stats()
    for _ in range(20):
        request(running, "/x")
    running.await_idle()
    after = running.stats()
    assert after["requests"] - before["requests"] == 20
    assert after["responses"]["2xx"] - before["responses"]["2xx"] == 20
    assert after["responses"]["5xx"] == before["responses"]["5xx"]


def test_a_cluster_that_is_not_there_hurts_nobody(site: tuple[Proxy, Shadow]) -> None:
    running, _ = site
    before = running.stats()["faults"]
    assert all(request(running, "/dead").startswith(b"HTTP/1.1 200 ") for _ in range(50))
    assert running.stats()["faults"] == before
    assert shadow_stats(running, "dead")["active"] == 0


def test_one_that_stands_still_hurts_nobody_and_what_is_under_way_is_bounded(tmp_path: Path) -> None:
    with mirrored(tmp_path) as (running, shadow):
        shadow.is_silent = True
        begun = time.monotonic()
        assert all(request(running, "/x").startswith(b"HTTP/1.1 200 ") for _ in range(400))
        assert time.monotonic() - begun < 20
        assert shadow_stats(running)["active"] <= 300

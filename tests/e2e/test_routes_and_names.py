"""Which cluster a request goes to, and the name the proxy gives itself."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.e2e.peers import Client, Origin, recording_origin
from tests.proxykit import Proxy, proxy

CONFIGURATION = """
workers: 1
log: {level: warning}
listeners:
  - bind: 127.0.0.1:PORT
    via: edge
    routes:
      - {match: {hosts: [a.test], path: /exact}, cluster: first}
      - {match: {hosts: [a.test], prefix: /pre}, cluster: second}
      - {match: {hosts: ["*.wild.test"], prefix: /}, cluster: first}
      - {match: {prefix: /any}, cluster: second}
clusters:
  - {name: first, endpoints: [FIRST]}
  - {name: second, endpoints: [SECOND]}
"""
Two = tuple[Origin, Origin]


@pytest.fixture(scope="module")
def pair() -> Iterator[Two]:
    with recording_origin() as first, recording_origin() as second:
        yield first, second


@pytest.fixture(scope="module")
def running(pair: Two, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Proxy]:
    text = CONFIGURATION.replace("FIRST", pair[0].address).replace("SECOND", pair[1].address)
    with proxy(tmp_path_factory.mktemp("routes"), text) as started:
        yield started


@pytest.mark.parametrize(
    ("host", "target", "goes_to"),
    [
        ("a.test", "/exact", 0),
        ("A.Test:8080", "/exact?query=1", 0),
        ("a.test", "/exact/more", None),
        ("a.test", "/pre", 1),
        ("a.test", "/prefix/below", 1),
        ("x.wild.test", "/whatever", 0),
        ("wild.test", "/whatever", None),
        ("b.test", "/any/thing", 1),
        ("b.test", "/exact", None),
    ],
)
def test_host_and_path_decide_the_cluster(
    host: str, target: str, goes_to: int | None, running: Proxy, pair: Two
) -> None:
    before = [len(origin.seen) for origin in pair]
    with Client(running.port) as client:
        client.socket.sendall(f"GET {target} HTTP/1.1\r\nHost: {host}\r\n\r\n".encode())
        status = client.read().status
    gained = [len(origin.seen) - count for origin, count in zip(pair, before, strict=True)]
    assert gained == [int(goes_to == 0), int(goes_to == 1)]
    assert status == (404 if goes_to is None else 200)


def test_via_names_the_proxy_both_ways_when_it_is_configured(running: Proxy, pair: Two) -> None:
    with Client(running.port) as client:
        answer = client.get("/any/via", "Via: 1.0 before")
    assert ", ".join(pair[1].only("/any/via").values("via")) == "1.0 before, 1.1 edge"
    assert answer.values("via") == ["1.1 edge"]

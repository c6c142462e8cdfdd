"""What endpoints are told of the client when proxies stand in front of us."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.e2e.peers import Client, Origin, Seen, recording_origin
from tests.proxykit import Proxy, free_port, proxy

CONFIGURATION = """
workers: 1
log: {level: warning}
listeners:
  - bind: 127.0.0.1:PORT
    trusted_proxies: [127.0.0.0/8]
    forwarded: true
    client_address_field: X-Real-IP
    routes: [{match: {prefix: /}, cluster: app}]
  - bind: 127.0.0.1:STRANGERS
    trusted_proxies: [192.0.2.0/24]
    client_address_field: X-Real-IP
    routes: [{match: {prefix: /}, cluster: app}]
  - bind: 127.0.0.1:HOPS
    trusted_proxies: 2
    client_address_field: X-Real-IP
    routes: [{match: {prefix: /}, cluster: app}]
clusters:
  - {name: app, endpoints: [ORIGIN]}
"""
SAID = (
    "X-Forwarded-For: 1.1.1.1, 203.0.113.9",
    "X-Forwarded-For: 127.0.0.7",
    "X-Forwarded-Proto: https",
    "X-Forwarded-Host: b.test",
    "X-Request-Id: from-the-edge",
    "Forwarded: for=1.1.1.1",
    "x-real-ip: 6.6.6.6",
)


@pytest.fixture(scope="module")
def origin() -> Iterator[Origin]:
    with recording_origin() as recording:
        yield recording


Ports = dict[str, int]


@pytest.fixture(scope="module")
def ports(origin: Origin, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Ports]:
    found = {name: free_port() for name in ("STRANGERS", "HOPS")}
    text = CONFIGURATION.replace("ORIGIN", origin.address)
    for name, port in found.items():
        text = text.replace(name, str(port))
    started: Proxy
    with proxy(tmp_path_factory.mktemp("forwarded"), text) as started:
        yield {**found, "TRUSTED": started.port}


def ask(port: int, origin: Origin, path: str, *fields: str) -> Seen:
    with Client(port) as client:
        assert client.get(path, *fields).status == 200
    return origin.only(path)


def test_a_trusted_proxy_is_believed(ports: Ports, origin: Origin) -> None:
    seen = ask(ports["TRUSTED"], origin, "/trusted", *SAID)
    assert seen.values("x-forwarded-for") == ["1.1.1.1, 203.0.113.9, 127.0.0.7, 127.0.0.1"]
    assert seen.values("x-forwarded-proto") == ["https"]
    assert seen.values("x-forwarded-host") == ["b.test"]
    assert seen.values("x-request-id") == ["from-the-edge"]
    assert seen.values("x-real-ip") == ["203.0.113.9"]
    assert seen.values("forwarded") == ['for=1.1.1.1, for=127.0.0.1;host="app.test";proto=http']


def test_a_stranger_is_not(ports: Ports, origin: Origin) -> None:
    seen = ask(ports["STRANGERS"], origin, "/stranger", *SAID)
    assert seen.values("x-forwarded-for") == ["127.0.0.1"]
    assert seen.values("x-forwarded-proto") == ["http"]
    assert seen.values("x-forwarded-host") == ["app.test"]
    assert seen.values("x-request-id") != ["from-the-edge"]
    assert seen.values("x-real-ip") == ["127.0.0.1"]
    assert seen.values("forwarded") == []


def test_a_number_of_hops_counts_from_the_right(ports: Ports, origin: Origin) -> None:
    seen = ask(ports["HOPS"], origin, "/hops", *SAID)
    assert seen.values("x-real-ip") == ["203.0.113.9"]
    assert seen.values("x-forwarded-for") == ["1.1.1.1, 203.0.113.9, 127.0.0.7, 127.0.0.1"]


def test_a_very_long_request_id_is_replaced_even_from_a_trusted_proxy(ports: Ports, origin: Origin) -> None:
    (sent,) = ask(ports["TRUSTED"], origin, "/long-id", f"X-Request-Id: {'x' * 300}").values("x-request-id")
    assert len(sent) == 36

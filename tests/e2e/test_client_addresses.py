"""The PROXY protocol on both sides, and the cap on connections of one client address over all workers."""

from __future__ import annotations

import asyncio
import shutil
import signal
import socket
import subprocess
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest

from shardproxy.http1.proxy_protocol import header, scan
from tests.e2e.peers import Client, Origin, recording_origin
from tests.proxykit import Proxy, eventually, exchange, free_port, proxy, scripted_origin

CONFIGURATION = """
workers: 2
log: {level: warning}
listeners:
  - bind: 127.0.0.1:PORT
    proxy_protocol: true
    max_connections_per_client: 3
    routes: [{match: {prefix: /}, cluster: app}]
clusters:
  - {name: app, endpoints: [ORIGIN]}
"""
GET = b"GET /%s HTTP/1.1\r\nHost: a.test\r\nConnection: close\r\n\r\n"


@pytest.fixture(scope="module")
def origin() -> Iterator[Origin]:
    with recording_origin() as recording:
        yield recording


@pytest.fixture(scope="module")
def running(origin: Origin, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Proxy]:
    with proxy(tmp_path_factory.mktemp("addresses"), CONFIGURATION.replace("ORIGIN", origin.address)) as started:
        yield started


@pytest.mark.parametrize("version", [1, 2])
def test_the_client_is_whom_the_header_names(version: int, running: Proxy, origin: Origin) -> None:
    announced = header(version, b"203.0.113.9", 4711, b"198.51.100.1", 80)
    answer = exchange(running.port, announced + GET % b"v%d" % version)
    assert answer.startswith(b"HTTP/1.1 200 ")
    assert origin.only(f"/v{version}").values("x-forwarded-for") == ["203.0.113.9"]


def test_a_header_that_comes_byte_by_byte_is_read_as_well(running: Proxy, origin: Origin) -> None:
    with socket.create_connection(("127.0.0.1", running.port)) as client:
        client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        for byte in header(2, b"2001:db8::9", 1, b"::1", 2) + GET % b"bytes":
            client.sendall(bytes([byte]))
        client.settimeout(10)
        assert client.recv(100).startswith(b"HTTP/1.1 200 ")
    assert origin.only("/bytes").values("x-forwarded-for") == ["2001:db8::9"]


def test_a_header_that_names_nobody_leaves_the_address_of_the_connection(running: Proxy, origin: Origin) -> None:
    assert exchange(running.port, b"PROXY UNKNOWN\r\n" + GET % b"nobody").startswith(b"HTTP/1.1 200 ")
    assert origin.only("/nobody").values("x-forwarded-for") == ["127.0.0.1"]


def test_a_connection_without_a_header_is_refused_with_the_reason(running: Proxy) -> None:
    answer = exchange(running.port, GET % b"bare")
    assert answer.startswith(b"HTTP/1.1 400 ")
    assert b"X-Shardproxy-Reason: bad_proxy_header\r\n" in answer


@contextmanager
def kept(running: Proxy, address: bytes, count: int) -> Iterator[list[bytes]]:
    """That many connections of a client, and how each was answered."""
    with ExitStack() as stack:
        answers = []
        for _ in range(count):
            client = stack.enter_context(socket.create_connection(("127.0.0.1", running.port), timeout=10))
            client.sendall(header(1, address, 1, b"127.0.0.1", 2) + b"GET /kept HTTP/1.1\r\nHost: a.test\r\n\r\n")
            answers.append(client.recv(4096).split(b"\r\n")[0])
        yield answers


def are_three_admitted(running: Proxy, address: bytes) -> bool:
    with kept(running, address, 3) as answers:
        return answers == [b"HTTP/1.1 200 OK"] * 3


def test_an_address_has_as_many_connections_as_allowed_over_all_workers(running: Proxy) -> None:
    with kept(running, b"192.0.2.7", 8) as answers:
        assert answers[:3] == [b"HTTP/1.1 200 OK"] * 3
        assert answers[3:] == [b"HTTP/1.1 429 Too Many Requests"] * 5
        with kept(running, b"192.0.2.8", 1) as others:
            assert others == [b"HTTP/1.1 200 OK"]
    eventually(lambda: are_three_admitted(running, b"192.0.2.7"), "the places to be free again")


def test_the_addresses_of_one_ipv6_network_count_as_one_client(running: Proxy) -> None:
    with kept(running, b"2001:db8:1:2::1", 2) as first, kept(running, b"2001:db8:1:2::2", 2) as second:
        assert [*first, *second] == [b"HTTP/1.1 200 OK"] * 3 + [b"HTTP/1.1 429 Too Many Requests"]
        with kept(running, b"2001:db8:1:3::1", 1) as others:
            assert others == [b"HTTP/1.1 200 OK"]


def test_the_places_of_a_killed_worker_are_free_again(running: Proxy) -> None:
    with kept(running, b"192.0.2.99", 3):
        victims = running.worker_pids()
        for victim in victims:
            subprocess.run(["kill", f"-{signal.SIGKILL.value}", str(victim)], check=True)
        eventually(lambda: not set(victims) & set(running.worker_pids()), "the killed workers to be replaced")
        eventually(running.is_ready, "the proxy to be ready")
        assert are_three_admitted(running, b"192.0.2.99")


# To endpoints ---------------------------------------------------------------------------------------------------------

OUTWARD = """
workers: 1
log: {level: warning}
listeners:
  - bind: 127.0.0.1:PORT
    routes: [{match: {prefix: /}, cluster: app}]
clusters:
  - {name: app, endpoints: [ORIGIN], proxy_protocol: VERSION}
"""


@pytest.mark.parametrize("version", ["v1", "v2"])
def test_an_endpoint_is_told_of_the_client_on_each_connection_anew(version: str, tmp_path: Path) -> None:
    seen: list[bytes] = []

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        seen.append(await reader.readuntil(b"\r\n\r\n" if version == "v1" else b"GET /"))
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")

    with scripted_origin(answer) as address:
        text = OUTWARD.replace("ORIGIN", address).replace("VERSION", version)
        with proxy(tmp_path, text) as started, Client(started.port) as client:
            ports = client.socket.getsockname()[1], started.port
            assert [client.get("/").status for _ in range(3)] == [200] * 3
    assert len(seen) == 3
    for data in seen:
        found = scan(data)
        assert not isinstance(found, str)
        assert found[1:] == (b"127.0.0.1", ports[0], b"127.0.0.1", ports[1])
        assert data[found.size :].startswith(b"GET /")


HAPROXY = """
global
    maxconn 100
defaults
    mode http
    timeout connect 5s
    timeout client 5s
    timeout server 5s
frontend plain
    bind 127.0.0.1:FRONT
    default_backend us
frontend announced
    bind 127.0.0.1:BACK accept-proxy
    http-request return status 200 content-type text/plain lf-string %[src]
backend us
    server us 127.0.0.1:PORT SENDS
"""


@pytest.mark.skipif(shutil.which("haproxy") is None, reason="haproxy is not installed")
@pytest.mark.parametrize(("sends", "version"), [("send-proxy", "v1"), ("send-proxy-v2", "v2")])
def test_haproxy_understands_us_and_we_understand_haproxy(sends: str, version: str, tmp_path: Path) -> None:
    front, back = free_port(), free_port()
    text = OUTWARD.replace("ORIGIN", f"127.0.0.1:{back}").replace("VERSION", version)
    text = text.replace("    routes", "    proxy_protocol: true\n    routes")
    with proxy(tmp_path, text) as started:
        file = tmp_path / "haproxy.cfg"
        lines = HAPROXY.replace("FRONT", str(front)).replace("BACK", str(back)).replace("SENDS", sends)
        file.write_text(lines.replace("PORT", str(started.port)))
        peer = subprocess.Popen(["haproxy", "-db", "-f", str(file)], stderr=subprocess.DEVNULL)
        try:
            answer = eventually(lambda: ask(front), "haproxy to answer")
        finally:
            peer.kill()
            peer.wait()
    assert answer.endswith(b"127.0.0.1")


def ask(port: int) -> bytes:
    try:
        return exchange(port, GET % b"")
    except ConnectionError:
        return b""

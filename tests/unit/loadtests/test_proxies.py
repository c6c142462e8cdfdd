"""Each program accepts the configuration we write for it, and does with a request what the others do."""

from __future__ import annotations

import http.client
import json
import subprocess
import threading
from collections.abc import Iterator
from dataclasses import replace
from email.message import Message
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from ipaddress import ip_address
from pathlib import Path
from typing import Any

import psutil
import pytest

from loadtests import proxies
from loadtests.configurations import Site
from loadtests.processes import DidNotStart, Running, fetch, free_ports
from loadtests.proxies import PROXIES, SHARDPROXY, USUAL, Proxy
from loadtests.work import EVERYTHING, random_routes
from tests.proxykit import eventually

REQUESTS = 40


class Witness(ThreadingHTTPServer):
    """An origin that remembers each request: path, fields of the head, bytes of the body; and how many connections."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Remember)
        self.connections = 0
        self.seen: list[tuple[str, Message, int]] = []


class _Remember(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: Witness

    def setup(self) -> None:
        super().setup()
        self.server.connections += 1

    def do_GET(self) -> None:
        length = int(self.headers.get("Content-Length", 0))
        body = self.rfile.read(length)
        self.server.seen.append((self.path, self.headers, len(body)))
        self.send_response(200)
        self.send_header("Content-Length", "2")
        self.end_headers()
        self.wfile.write(b"ok")

    do_POST = do_GET

    def log_message(self, format: str, *args: object) -> None:
        pass


@pytest.fixture
def origins() -> Iterator[list[Witness]]:
    servers = [Witness(), Witness()]
    threads = [threading.Thread(target=server.serve_forever, args=(0.05,)) for server in servers]
    for thread in threads:
        thread.start()
    yield servers
    for server, thread in zip(servers, threads, strict=True):
        server.shutdown()
        server.server_close()
        thread.join(timeout=5)


def site_for(directory: Path, origin_ports: tuple[int, ...], routes: tuple[str, ...] = EVERYTHING) -> Site:
    port, admin_port = free_ports(2)
    return Site(port, admin_port, origin_ports, routes, directory)


def installed(proxy: Proxy) -> Proxy:
    try:
        proxy.binary()
    except LookupError as error:
        pytest.skip(str(error))
    return proxy


@pytest.fixture(params=PROXIES, ids=lambda proxy: proxy.name)
def proxy(request: pytest.FixtureRequest) -> Proxy:
    return installed(request.param)


@pytest.fixture
def through(proxy: Proxy, origins: list[Witness], tmp_path: Path) -> Iterator[tuple[Site, list[Witness]]]:
    site = site_for(tmp_path / proxy.name, tuple(origin.server_address[1] for origin in origins))
    with proxies.start(proxy, site, 0, "/"):
        for origin in origins:
            origin.seen.clear()
        yield site, origins


@pytest.mark.parametrize("routes", [EVERYTHING, random_routes(1000)], ids=["one route", "1000 routes"])
def test_the_program_accepts_its_configuration(proxy: Proxy, routes: tuple[str, ...], tmp_path: Path) -> None:
    site = site_for(tmp_path, tuple(free_ports(2)), routes)
    proxy.write(site)
    verdict = subprocess.run(proxy.check_command(site), capture_output=True, text=True, timeout=30)
    assert verdict.returncode == 0, verdict.stdout + verdict.stderr


def test_every_proxy_says_where_a_request_came_from(through: tuple[Site, list[Witness]]) -> None:
    site, origins = through
    assert fetch(site.port, "/x") == (200, 2)
    ((path, head, _),) = origins[0].seen + origins[1].seen
    # Envoy names the machine instead of the loopback, which it takes for a client without an address.
    assert path == "/x" and ip_address(head["X-Forwarded-For"])


def test_every_proxy_keeps_its_connections_to_the_origin(through: tuple[Site, list[Witness]]) -> None:
    site, origins = through
    client = http.client.HTTPConnection("127.0.0.1", site.port, timeout=5)
    for _ in range(REQUESTS):
        client.request("GET", "/")
        client.getresponse().read()
    client.close()
    assert sum(len(origin.seen) for origin in origins) == REQUESTS
    assert sum(origin.connections for origin in origins) <= 6


def test_every_proxy_hands_on_a_whole_body(through: tuple[Site, list[Witness]]) -> None:
    site, origins = through
    assert fetch(site.port, "/post", "POST", b"x" * 16384) == (200, 2)
    assert [length for origin in origins for *_, length in origin.seen] == [16384]


def test_every_proxy_uses_both_endpoints(through: tuple[Site, list[Witness]]) -> None:
    site, origins = through
    for _ in range(REQUESTS):
        fetch(site.port, "/")
    assert all(origin.seen for origin in origins)


def test_every_proxy_finds_one_route_of_a_thousand(proxy: Proxy, origins: list[Witness], tmp_path: Path) -> None:
    routes = random_routes(1000)
    site = site_for(tmp_path / proxy.name, tuple(origin.server_address[1] for origin in origins), routes)
    with proxies.start(proxy, site, 0, f"{routes[0]}item"):
        assert fetch(site.port, f"{routes[500]}item")[0] == 200
        assert fetch(site.port, "/elsewhere")[0] in (404, 503)  # nobody may have a route for everything


def test_every_proxy_does_all_of_the_full_service(proxy: Proxy, origins: list[Witness], tmp_path: Path) -> None:
    if proxy not in USUAL:
        pytest.skip("only of those that are compared at it")
    site = site_for(tmp_path / proxy.name, tuple(origin.server_address[1] for origin in origins))
    with proxies.start(proxy, replace(site, kind="full"), 0, "/"):
        for number in range(REQUESTS):
            assert fetch(site.port, f"/logged/{number}")[0] == 200
        eventually(lambda: len(logged(site.directory)) >= REQUESTS, "a line for each request")
    ids = {head["X-Request-Id"] for origin in origins for path, head, _ in origin.seen if "logged" in path}
    assert len(ids - {None}) == REQUESTS
    lines = logged(site.directory)
    assert {line["target"] for line in lines} == {f"/logged/{number}" for number in range(REQUESTS)}
    assert {line["status"] for line in lines} == {200}
    assert {line["request_id"] for line in lines} == ids


def logged(directory: Path) -> list[dict[str, Any]]:
    """The lines about requests of ours; HAProxy's are among what else it says."""
    log = directory / "access.log"
    text = (log if log.exists() else directory / "output.log").read_text()
    lines = [json.loads(line) for line in text.splitlines() if line.startswith("{") and line.endswith("}")]
    return [line for line in lines if "/logged/" in line["target"]]


def test_ending_a_proxy_leaves_none_of_its_processes(proxy: Proxy, origins: list[Witness], tmp_path: Path) -> None:
    site = site_for(tmp_path / proxy.name, tuple(origin.server_address[1] for origin in origins))
    with proxies.start(proxy, site, 0, "/") as running:
        root = psutil.Process(running.pid)
        members = [root, *root.children(recursive=True)]
        assert all(member.cpu_affinity() == [0] for member in members)
    _, alive = psutil.wait_procs(members, timeout=5)
    assert alive == []


def test_shardproxy_is_told_apart_by_role(origins: list[Witness], tmp_path: Path) -> None:
    proxy = installed(SHARDPROXY)
    site = site_for(tmp_path, tuple(origin.server_address[1] for origin in origins))
    with proxies.start(proxy, site, 0, "/") as running:
        found = proxies.roles(running.pid, site.admin_port)
    assert {role: len(pids) for role, pids in found.items()} == {"supervisor": 1, "controller": 1, "worker": 1}


def test_a_program_that_ends_at_start_is_reported_with_its_last_line(tmp_path: Path) -> None:
    with Running("sh", ["sh", "-c", "echo no such file; exit 3"], 0, tmp_path / "log") as running:
        with pytest.raises(DidNotStart, match="sh ended at start with 3: no such file"):
            running.wait_until(lambda: False)
        assert "ended with 3" in repr(running)


def test_a_missing_program_says_how_to_get_it() -> None:
    missing = Proxy("other", lambda: None, "apt-get install other", {"c": lambda site: ""}, (), (), ())
    with pytest.raises(LookupError, match="other is not installed: apt-get install other"):
        missing.binary()

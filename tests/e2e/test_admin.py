"""The admin interface of a proxy that a user has started, under real requests."""

from __future__ import annotations

import http.client
import json
import os
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from shardproxy.controller.admin.ask import NoAnswer, ask, ask_stats
from shardproxy.controller.stats import EndpointStats, Stats
from tests.e2e.supervised import PATIENCE_S, ROOT, eventually, free_ports, wait_for_exit

CONFIGURATION = """\
workers: 2
admin: {{bind: 127.0.0.1:{admin_port}}}
log: {{level: warning}}
listeners:
  - name: web
    bind: 127.0.0.1:{port}
    routes:
      - {{match: {{prefix: /limited}}, cluster: app, rate_limits: [few]}}
      - {{match: {{prefix: /}}, cluster: app}}
clusters:
  - {{name: app, endpoints: [{endpoint}]}}
rate_limits:
  - {{name: few, rate: 1/h, burst: 3}}
"""


class Origin:
    """A server that answers at once, but `/held` only once `release` is set."""

    def __init__(self) -> None:
        self.release = threading.Event()
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), self._handler())
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.02})
        self._thread.start()

    @property
    def address(self) -> str:
        return f"127.0.0.1:{self._server.server_port}"

    def close(self) -> None:
        self.release.set()
        self._server.shutdown()
        self._thread.join(PATIENCE_S)
        self._server.socket.close()

    def _handler(self) -> type[BaseHTTPRequestHandler]:
        release = self.release

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_GET(self) -> None:
                if self.path == "/held":
                    release.wait(PATIENCE_S)
                self.send_response(200)
                self.send_header("Content-Length", "2")
                self.end_headers()
                self.wfile.write(b"ok")

            def log_message(self, *_: object) -> None:
                pass

        return Handler


class Proxy:
    """`shardproxy run FILE` with two workers in front of one origin."""

    def __init__(self, directory: Path, origin: Origin) -> None:
        self.origin = origin
        self.port, admin_port = free_ports(2)
        self.admin = f"http://127.0.0.1:{admin_port}"
        file = directory / "proxy.yaml"
        file.write_text(CONFIGURATION.format(port=self.port, admin_port=admin_port, endpoint=origin.address))
        command = [sys.executable, "-m", "shardproxy", "run", str(file)]
        self.process = subprocess.Popen(command, cwd=ROOT, stdin=subprocess.DEVNULL)

    def ready(self) -> tuple[int, Any]:
        """Status and content of `/ready`; 0 when nobody answers."""
        try:
            status, body = ask(self.admin, "/ready")
        except NoAnswer:
            return 0, None
        return status, json.loads(body)

    def stats(self) -> Stats:
        return ask_stats(self.admin)

    def endpoint(self) -> EndpointStats:
        return self.stats().clusters["app"].endpoints[self.origin.address]

    def get(self, path: str) -> int:
        """The status of one request on a connection of its own."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=PATIENCE_S)
        try:
            connection.request("GET", path)
            response = connection.getresponse()
            response.read()
            return response.status
        finally:
            connection.close()

    @contextmanager
    def held(self) -> Iterator[None]:
        """While a request waits for its answer."""
        with socket.create_connection(("127.0.0.1", self.port), timeout=PATIENCE_S) as connection:
            connection.sendall(b"GET /held HTTP/1.1\r\nHost: a\r\n\r\n")
            eventually(1, lambda: self.endpoint().active)
            try:
                yield
            finally:
                self.origin.release.set()
            assert connection.recv(12) == b"HTTP/1.1 200"

    def close(self) -> None:
        self.process.send_signal(signal.SIGINT)
        assert self.process.wait(PATIENCE_S) == 0


@pytest.fixture
def origin() -> Iterator[Origin]:
    server = Origin()
    yield server
    server.close()


@pytest.fixture
def proxy(tmp_path: Path, origin: Origin) -> Iterator[Proxy]:
    running = Proxy(tmp_path, origin)
    eventually(200, lambda: running.ready()[0])
    yield running
    running.close()


def test_every_request_is_counted_and_all_gauges_return_to_zero(proxy: Proxy) -> None:
    assert [proxy.get("/x") for _ in range(20)] == [200] * 20
    eventually((0, 0), lambda: (proxy.stats().active, proxy.stats().listeners["web"].connections))
    stats = proxy.stats()
    endpoint = proxy.endpoint()
    assert (stats.requests, stats.responses["2xx"], stats.listeners["web"].accepted) == (20, 20, 20)
    assert (endpoint.requests, endpoint.failures, endpoint.active, endpoint.time.count) == (20, 0, 0, 20)
    assert sum(worker.requests for worker in stats.workers) == 20
    assert 0 < stats.request_time.p50_ms <= stats.request_time.p99_ms < 1000
    assert stats.bytes_in > 0 < stats.bytes_out
    assert set(stats.faults.values()) == {0}


def test_a_request_under_way_is_seen_at_its_endpoint_and_its_worker(proxy: Proxy) -> None:
    with proxy.held():
        stats = proxy.stats()
        endpoint = proxy.endpoint()
        assert sorted(endpoint.active_by_worker.values()) == [0, 1]
        assert endpoint.active_by_worker == {worker.pid: worker.active for worker in stats.workers}
        assert (stats.active, stats.clusters["app"].active, endpoint.connections) == (1, 1, 1)
    eventually(0, lambda: proxy.endpoint().active)


def test_a_rate_limit_is_counted_over_all_workers(proxy: Proxy) -> None:
    statuses = [proxy.get("/limited") for _ in range(10)]
    assert statuses == [200] * 3 + [429] * 7
    stats = proxy.stats()
    limit = stats.rate_limits["few"]
    assert (limit.admitted, limit.refused, limit.burst) == (3, 7, 3)
    assert limit.tokens is not None
    assert limit.tokens < 1
    assert (stats.responses["4xx"], stats.faults["rate_limited"]) == (7, 7)


def test_what_a_killed_worker_has_counted_is_not_lost(proxy: Proxy) -> None:
    assert {proxy.get("/x") for _ in range(10)} == {200}
    before = {worker.pid for worker in proxy.stats().workers}
    killed = min(before)
    os.kill(killed, signal.SIGKILL)
    assert wait_for_exit(killed)
    eventually(True, lambda: {worker.pid for worker in proxy.stats().workers} != before and proxy.ready()[0] == 200)
    stats = proxy.stats()
    assert (stats.requests, proxy.endpoint().requests) == (10, 10)
    assert killed not in {worker.pid for worker in stats.workers}
    assert proxy.get("/x") == 200


def test_a_controller_that_is_killed_is_followed_by_another_and_traffic_goes_on(proxy: Proxy) -> None:
    assert proxy.get("/x") == 200
    controller = proxy.stats().controller
    assert controller is not None
    os.kill(controller.pid, signal.SIGKILL)
    assert proxy.get("/x") == 200
    assert wait_for_exit(controller.pid)
    eventually(200, lambda: proxy.ready()[0])
    stats = proxy.stats()
    assert stats.controller is not None
    assert (stats.requests, stats.controller.pid != controller.pid) == (2, True)


def test_while_it_drains_it_says_that_it_is_not_ready(proxy: Proxy) -> None:
    with proxy.held():
        proxy.process.send_signal(signal.SIGTERM)
        eventually(503, lambda: proxy.ready()[0])
        assert "draining" in proxy.ready()[1]["message"]
        assert proxy.endpoint().active == 1
    assert proxy.process.wait(PATIENCE_S) == 0


def test_the_configuration_it_runs_is_told(proxy: Proxy) -> None:
    status, body = ask(proxy.admin, "/config")
    config = json.loads(body)
    assert (status, config["workers"], config["listeners"][0]["name"]) == (200, 2, "web")
    assert config["drain_timeout"] == "30s"


def test_status_shows_it_as_tables(proxy: Proxy) -> None:
    assert proxy.get("/x") == 200
    command = [sys.executable, "-m", "shardproxy", "status", "--admin", proxy.admin]
    shown = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=PATIENCE_S)
    assert (shown.returncode, shown.stderr) == (0, "")
    assert "1 requests (1 2xx)" in shown.stdout
    assert proxy.origin.address in shown.stdout
    assert "1/h" in shown.stdout

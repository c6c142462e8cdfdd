"""The simulated users against a small server: what they take for a failure and what not."""

from __future__ import annotations

import json
import subprocess
import sys
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

FILE = Path(__file__).resolve().parents[3] / "loadtests" / "locustfile.py"


class Shop(ThreadingHTTPServer):
    """The server; it remembers the orders."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Moody)
        self.orders: list[dict[str, Any]] = []


class Moody(BaseHTTPRequestHandler):
    """Pages are fine, orders break, and the limited path refuses: politely, or not when asked for `/rude`."""

    protocol_version = "HTTP/1.1"
    server: Shop

    def do_GET(self) -> None:
        if self.path in ("/limited", "/rude"):
            self._answer(429, {"Retry-After": "1"} if self.path == "/limited" else {})
        else:
            self._answer(200, {})

    def do_POST(self) -> None:
        self.server.orders.append(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))
        self._answer(500, {})

    def _answer(self, status: int, fields: dict[str, str]) -> None:
        self.send_response(status)
        for name, value in {"Content-Length": "0", **fields}.items():
            self.send_header(name, value)
        self.end_headers()

    def log_message(self, format: str, *args: object) -> None:
        pass


@pytest.fixture
def shop() -> Iterator[Shop]:
    server = Shop()
    thread = threading.Thread(target=server.serve_forever, args=(0.05,))
    thread.start()
    yield server
    server.shutdown()
    server.server_close()
    thread.join(timeout=5)


def run(server: Shop, *extra: str) -> dict[str, dict[str, Any]]:
    """The users for three seconds in a process of their own (gevent patches the one it is in): figures by name."""
    host = f"http://127.0.0.1:{server.server_address[1]}"
    options = ["--headless", "--json", "--skip-log", "--host", host, "--users", "20", "--run-time", "3s", *extra]
    done = subprocess.run(
        [sys.executable, "-m", "locust", "-f", str(FILE), *options], capture_output=True, text=True, timeout=60
    )
    assert "Traceback" not in done.stderr, done.stderr
    return {entry["name"]: entry for entry in json.loads(done.stdout)}


def test_a_polite_429_is_expected_and_a_500_is_a_failure(shop: Shop) -> None:
    figures = run(shop)
    assert figures["limited"]["num_requests"] > 5
    assert figures["limited"]["num_failures"] == 0
    assert figures["/pages/N"]["num_failures"] == 0
    assert figures["/api/orders"]["num_failures"] == figures["/api/orders"]["num_requests"] > 0
    assert len(shop.orders[0]["lines"]) == 20


def test_a_429_that_does_not_say_when_to_come_back_is_a_failure(shop: Shop) -> None:
    limited = run(shop, "--limited-path", "/rude")["limited"]
    assert limited["num_failures"] == limited["num_requests"] > 0

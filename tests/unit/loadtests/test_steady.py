"""Latencies at a constant rate count from when a request was due."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from loadtests.pipelined import Batch, Load
from loadtests.steady import due, result


class Slow(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    stall = threading.Event()

    def do_GET(self) -> None:
        self.stall.wait(0.3)
        self.send_response(200)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, *_arguments: object) -> None:
        pass


@pytest.fixture
def slow_port() -> Iterator[int]:
    server = ThreadingHTTPServer(("127.0.0.1", 0), Slow)
    serving = threading.Thread(target=server.serve_forever, daemon=True)
    serving.start()
    yield server.server_address[1]
    server.shutdown()
    server.server_close()
    serving.join()


def test_a_request_that_has_to_wait_for_a_connection_is_late_from_when_it_was_due(slow_port: int) -> None:
    load = Load(slow_port)
    asyncio.run(load.run([(0.0, 1), (0.01, 1)], connections=1))
    first, second = load.batches
    assert first.admitted == second.admitted == 1
    assert second.answered_s - second.due_s >= 0.55


def test_poisson_arrivals_have_the_rate_that_was_asked_for() -> None:
    times = [when for when, _ in due(1000, 5, seed=1)]
    assert len(times) == pytest.approx(5000, rel=0.1)
    assert times == sorted(times)


def test_figures_leave_out_what_was_lost() -> None:
    answered = [Batch(0.0, 0.0, 1, answered_s=0.001 * number, admitted=1) for number in range(1, 101)]
    found = result([*answered, Batch(0.0, 0.0, 1, answered_s=9.0)], cpu_us=1010)
    assert found.lost == 1
    assert found.cpu_us == pytest.approx(10)
    assert found.p50_ms == pytest.approx(50.5, abs=1)
    assert found.p99_ms == pytest.approx(99.99, abs=1)

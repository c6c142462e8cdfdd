"""Simulated users against `shardproxy demo`: everything they do is answered, and limits refuse politely."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest

from loadtests.processes import answers, free_ports

ROOT = Path(__file__).resolve().parents[2]
DEMO_S = 30  # at most; the test ends it when it is done
START_TIMEOUT_S = 15
POLL_INTERVAL_S = 0.05
USERS_S = 4


def ended(process: subprocess.Popen[bytes]) -> None:
    """Stop the demo as Ctrl-C does, and make sure that none of its processes is left."""
    members = [psutil.Process(process.pid), *psutil.Process(process.pid).children(recursive=True)]
    process.send_signal(signal.SIGINT)
    _, left = psutil.wait_procs(members, timeout=10)
    for each in left:
        each.kill()
    process.wait(timeout=10)
    assert left == [], f"left after SIGINT: {left}"


@pytest.fixture
def demo(tmp_path: Path) -> Iterator[int]:
    """The port of a running demo that makes no traffic of its own."""
    port, admin_port = free_ports(2)
    options = ["--port", str(port), "--admin-port", str(admin_port), "--seconds", str(DEMO_S), "--no-traffic"]
    with (tmp_path / "demo.log").open("wb") as log:
        process = subprocess.Popen(
            [sys.executable, "-m", "shardproxy", "demo", *options],
            stdout=log,
            stderr=subprocess.STDOUT,
            env=os.environ | {"PYTHONUNBUFFERED": "1"},
        )
    deadline = time.monotonic() + START_TIMEOUT_S
    try:
        while not answers(port, "/"):
            said = (tmp_path / "demo.log").read_text()
            assert process.poll() is None, f"the demo ended with {process.returncode}:\n{said}"
            assert time.monotonic() < deadline, f"the demo did not serve in {START_TIMEOUT_S} s:\n{said}"
            time.sleep(POLL_INTERVAL_S)
        yield port
    finally:
        if process.poll() is None:
            ended(process)


def visit(port: int) -> list[dict[str, Any]]:
    """Figures by kind of request. In a process of its own, for gevent patches the one it runs in."""
    options = ["--headless", "--json", "--skip-log", "--users", "20", "--run-time", f"{USERS_S}s"]
    host = ["--host", f"http://127.0.0.1:{port}"]
    command = [sys.executable, "-m", "locust", "-f", str(ROOT / "loadtests" / "locustfile.py"), *options, *host]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60)
    assert "Traceback" not in done.stderr, done.stderr
    figures: list[dict[str, Any]] = json.loads(done.stdout)
    return figures


def test_simulated_users_are_all_served_by_the_demo(demo: int) -> None:
    figures = {entry["name"]: entry for entry in visit(demo)}
    assert {"/", "/pages/N", "/api/orders", "limited"} <= figures.keys()
    assert sum(entry["num_requests"] for entry in figures.values()) > 50
    assert {name: entry["num_failures"] for name, entry in figures.items() if entry["num_failures"]} == {}

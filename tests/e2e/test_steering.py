"""New connections go to the worker that has the fewest."""

from __future__ import annotations

import socket
import time
from contextlib import ExitStack
from pathlib import Path

import pytest

from tests.proxykit import Proxy, eventually, proxy

CONFIGURATION = """
workers: 4
listeners:
  - bind: 127.0.0.1:PORT
    routes: [{match: {prefix: /}, cluster: app}]
clusters:
  - {name: app, endpoints: [127.0.0.1:9]}
"""
CONNECTIONS = 200


def connections(running: Proxy) -> list[int]:
    return [worker["connections"] for worker in running.stats()["workers"]]


@pytest.mark.parametrize("pause_s", [0, 0.002], ids=["as fast as they can", "500 a second"])
def test_long_lived_connections_are_spread_evenly_over_the_workers(pause_s: float, tmp_path: Path) -> None:
    with proxy(tmp_path, CONFIGURATION) as running, ExitStack() as stack:
        for _ in range(CONNECTIONS):
            stack.enter_context(socket.create_connection(("127.0.0.1", running.port)))
            time.sleep(pause_s)
        eventually(lambda: sum(connections(running)) == CONNECTIONS, "all connections to be accepted")
        found = connections(running)
        assert max(found) <= 1.1 * min(found), found
        assert "does not steer" not in running.log


def test_without_steering_the_kernel_chooses(tmp_path: Path) -> None:
    with proxy(tmp_path, "steering: false\n" + CONFIGURATION) as running, ExitStack() as stack:
        for _ in range(CONNECTIONS):
            stack.enter_context(socket.create_connection(("127.0.0.1", running.port)))
        eventually(lambda: sum(connections(running)) == CONNECTIONS, "all connections to be accepted")
        assert min(connections(running)) > 0

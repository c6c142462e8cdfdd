"""Overload of real workers: each action is seen to begin and to end, and nobody gets anything but an answer or 503."""

from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from tests.e2e.peers import OK, Client, Origin, recording_origin, says_when
from tests.proxykit import Proxy, eventually, proxy

CONFIGURATION = """
workers: 1
listeners:
  - bind: 127.0.0.1:PORT
    routes:
      - {match: {prefix: /low}, cluster: app, priority: low}
      - {match: {prefix: /high}, cluster: app, priority: high}
      - {match: {prefix: /}, cluster: app}
clusters:
  - {name: app, endpoints: [ORIGIN]}
overload: {interval: 50ms, RULES}
"""
NO_MORE = "refuse_normal: ~, pause_accept: ~"
ACTIONS = "stop_keep_alive: 40, refuse_low: 60, refuse_normal: 80, pause_accept: 100"


@pytest.fixture
def origin() -> Iterator[Origin]:
    with recording_origin() as recording:
        yield recording


def configuration(origin: Origin, rules: str) -> str:
    return CONFIGURATION.replace("ORIGIN", origin.address).replace("RULES", rules)


def overload(running: Proxy) -> dict[str, Any]:
    found: dict[str, Any] = running.stats()["workers"][0]["overload"]
    return found


def actions(running: Proxy) -> list[str]:
    return list(overload(running)["actions"])


class Held:
    """Requests that the origin holds until `release`, each on a connection of its own."""

    def __init__(self, running: Proxy, origin: Origin, stack: ExitStack) -> None:
        self.running, self.origin, self.stack = running, origin, stack
        self.gate = threading.Event()
        self.clients: list[Client] = []
        origin.plays["/high/held"] = says_when(self.gate, OK)

    def hold(self, count: int) -> None:
        """So many more."""
        for _ in range(count):
            client = self.stack.enter_context(Client(self.running.port))
            client.send("GET /high/held HTTP/1.1")
            self.clients.append(client)
        eventually(lambda: len(self.origin.of("/high/held")) == len(self.clients), "the requests")

    def release(self) -> list[int]:
        self.gate.set()
        return [client.read().status for client in self.clients]


def status(running: Proxy, target: str) -> tuple[int, list[str], list[str]]:
    with Client(running.port) as client:
        answer = client.get(target)
        return answer.status, answer.values("x-shardproxy-reason"), answer.values("connection")


def test_by_connections_each_action_begins_in_turn_and_ends_again(tmp_path: Path, origin: Origin) -> None:
    with ExitStack() as stack:
        running = stack.enter_context(proxy(tmp_path, configuration(origin, f"connections: 10, {ACTIONS}")))
        held = Held(running, origin, stack)
        assert status(running, "/")[::2] == (200, [])
        held.hold(4)
        eventually(lambda: actions(running) == ["stop_keep_alive"], "the first action")
        assert status(running, "/") == (200, [], ["close"])
        held.hold(2)
        eventually(lambda: actions(running) == ["stop_keep_alive", "refuse_low"], "the second")
        assert status(running, "/low")[:2] == (503, ["shed"])
        assert status(running, "/")[0] == 200
        held.hold(2)
        eventually(lambda: "refuse_normal" in actions(running), "the third")
        assert status(running, "/")[:2] == (503, ["shed"])
        assert status(running, "/high")[0] == 200
        held.hold(2)
        eventually(lambda: "pause_accept" in actions(running), "the last")
        waiting = stack.enter_context(Client(running.port))
        waiting.send("GET /high/late HTTP/1.1")
        assert overload(running)["pressures"]["connections"] == 100
        assert held.release() == [200] * 10
        assert waiting.read().status == 200
        eventually(lambda: actions(running) == [], "the end")
        assert status(running, "/low")[::2] == (200, [])


def test_a_worker_that_is_late_refuses_and_is_itself_again(tmp_path: Path, origin: Origin) -> None:
    with proxy(tmp_path, configuration(origin, "loop_lag: 100ms, refuse_normal: {at: 100, until: 99}")) as running:
        eventually(lambda: actions(running) == [], "a start without a stumble")
        worker = running.worker_pids()[0]
        os.kill(worker, signal.SIGSTOP)
        time.sleep(0.4)  # what is tested is how long it stands still
        os.kill(worker, signal.SIGCONT)
        eventually(lambda: "overload: refuse_normal begins" in running.log, "the action")
        eventually(lambda: actions(running) == [] and "overload: refuse_normal ends" in running.log, "its end")
        assert status(running, "/")[0] == 200


@pytest.mark.parametrize("full", ["memory: 1MiB", "descriptors: 4"])
def test_memory_and_descriptors_are_pressures(full: str, tmp_path: Path, origin: Origin) -> None:
    with proxy(tmp_path, configuration(origin, f"{full}, refuse_low: 100, {NO_MORE}")) as running:
        eventually(lambda: "refuse_low" in actions(running), "the action")
        assert overload(running)["pressures"][full.partition(":")[0]] >= 100
        assert status(running, "/low")[0] == 503
        assert status(running, "/high")[0] == 200


def test_a_reload_changes_what_counts_as_full(tmp_path: Path, origin: Origin) -> None:
    with proxy(tmp_path, configuration(origin, "memory: 1MiB, stop_keep_alive: 100, " + NO_MORE)) as running:
        eventually(lambda: actions(running), "an action")
        file = next(tmp_path.glob("*.yaml"))
        file.write_text(file.read_text().replace("memory: 1MiB", "memory: 100GiB"))
        running.process.send_signal(signal.SIGHUP)
        eventually(lambda: running.stats()["version"] == 2 and actions(running) == [], "no action any more")
        file.write_text(file.read_text().replace("overload:", "#"))
        running.process.send_signal(signal.SIGHUP)
        eventually(lambda: running.stats()["version"] == 3, "the second reload")
        assert running.stats()["workers"][0]["overload"] is None
        assert status(running, "/")[::2] == (200, [])


def test_a_paused_worker_can_be_stopped_and_serves_who_waits(tmp_path: Path, origin: Origin) -> None:
    with ExitStack() as stack:
        running = stack.enter_context(proxy(tmp_path, configuration(origin, "connections: 1, pause_accept: 100")))
        held = Held(running, origin, stack)
        held.hold(1)
        eventually(lambda: "pause_accept" in actions(running), "the pause")
        waiting = stack.enter_context(Client(running.port))
        waiting.send("GET /high/late HTTP/1.1")
        running.process.send_signal(signal.SIGTERM)
        assert waiting.read().status == 200
        assert held.release() == [200]
        assert running.process.wait(timeout=20) == 0

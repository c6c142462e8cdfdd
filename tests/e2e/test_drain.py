"""SIGTERM: what runs is finished, what idles is closed, nothing new is begun."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from tests.e2e.peers import OK, Client, Origin, recording_origin, says_when
from tests.proxykit import PATIENCE_S, Proxy, eventually, proxy

CONFIGURATION = """
workers: 2
drain_timeout: DRAIN
log: {level: info}
listeners:
  - bind: 127.0.0.1:PORT
    routes: [{match: {prefix: /}, cluster: app}]
clusters:
  - {name: app, endpoints: [ORIGIN]}
"""


@pytest.fixture
def origin() -> Iterator[Origin]:
    with recording_origin() as recording:
        yield recording


def configured(origin: Origin, drain: str) -> str:
    return CONFIGURATION.replace("ORIGIN", origin.address).replace("DRAIN", drain)


def hold(running: Proxy, origin: Origin, gate: threading.Event, clients: list[Client]) -> None:
    """All of them ask for what comes when the gate opens."""
    origin.plays["/held"] = says_when(gate, OK)
    for client in clients:
        client.send("GET /held HTTP/1.1")
    eventually(lambda: len(origin.of("/held")) == len(clients), "the requests at the origin")


def test_running_requests_are_finished_and_told_that_it_is_over(tmp_path: Path, origin: Origin) -> None:
    gate = threading.Event()
    with (
        proxy(tmp_path, configured(origin, "20s")) as running,
        Client(running.port) as idle,
        ExitStack() as stack,
    ):
        clients = [stack.enter_context(Client(running.port)) for _ in range(8)]
        assert idle.get("/").status == 200
        hold(running, origin, gate, clients)
        running.process.terminate()
        assert idle.is_closed()
        eventually(lambda: not accepts(running), "all workers to drain")
        gate.set()
        for client in clients:
            answer = client.read()
            assert (answer.status, answer.body, answer.values("connection")) == (200, b"ok", ["close"])
            assert client.is_closed()
        assert running.process.wait(PATIENCE_S) == 0


def test_what_does_not_end_in_time_is_cut_and_the_exit_is_clean(tmp_path: Path, origin: Origin) -> None:
    gate = threading.Event()
    with proxy(tmp_path, configured(origin, "300ms")) as running, Client(running.port) as client:
        hold(running, origin, gate, [client])
        running.process.terminate()
        assert client.is_closed()
        assert running.process.wait(PATIENCE_S) == 0
        gate.set()


def test_new_connections_are_refused_while_it_drains(tmp_path: Path, origin: Origin) -> None:
    gate = threading.Event()
    with proxy(tmp_path, configured(origin, "20s")) as running, Client(running.port) as idle:
        assert idle.get("/").status == 200
        with Client(running.port) as client:
            hold(running, origin, gate, [client])
            running.process.terminate()
            assert idle.is_closed()
            eventually(lambda: not accepts(running), "the listener to be closed")
            gate.set()
            assert client.read().status == 200


def accepts(running: Proxy) -> bool:
    try:
        Client(running.port).close()
    except ConnectionRefusedError:
        return False
    except ConnectionError:
        return True
    return True

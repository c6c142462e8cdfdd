"""A worker that has no descriptor left: clients wait, nothing spins, no endpoint is blamed, and the log says why."""

from __future__ import annotations

import os
import re
import resource
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

import pytest

from tests.e2e.few_ports import NOT_PERMITTED
from tests.e2e.peers import OK, Client, Origin, recording_origin, says_when
from tests.proxykit import ROOT, Proxy, eventually, free_port, proxy

CONFIGURATION = """
workers: 1
listeners:
  - bind: 127.0.0.1:PORT
    on_full: ON_FULL
    max_connections: 1000
    routes:
      - {match: {path: /moved}, redirect: {path: /new}}
      - {match: {prefix: /}, cluster: app}
clusters:
  - name: app
    endpoints: [ORIGIN]
    outlier_detection: {consecutive_5xx: 1, base_ejection_time: 1h}
"""


@pytest.fixture
def origin() -> Iterator[Origin]:
    with recording_origin() as recording:
        yield recording


def configuration(origin: Origin, on_full: str = "refuse") -> str:
    return CONFIGURATION.replace("ORIGIN", origin.address).replace("ON_FULL", on_full)


def open_descriptors(pid: int) -> set[int]:
    return {int(path.name) for path in Path(f"/proc/{pid}/fd").iterdir()}


@contextmanager
def descriptors_left(pid: int, count: int) -> Iterator[None]:
    """The process `pid` can open `count` descriptors more, and no others."""
    used, limit = open_descriptors(pid), 0
    while count or max(used) >= limit:
        count -= limit not in used
        limit += 1
    former = resource.prlimit(pid, resource.RLIMIT_NOFILE)
    resource.prlimit(pid, resource.RLIMIT_NOFILE, (limit, former[1]))
    try:
        yield
    finally:
        with suppress(ProcessLookupError):
            resource.prlimit(pid, resource.RLIMIT_NOFILE, former)


def failed_accepts(running: Proxy) -> list[int]:
    """As the lines of the log have them."""
    found = re.findall(r"accept failed (?:(\d+) times|once): all \d+ descriptors", running.log)
    return [int(times or 1) for times in found]


@pytest.mark.parametrize("on_full", ["refuse", "wait"])
def test_clients_wait_for_a_descriptor_and_the_worker_rests(tmp_path: Path, origin: Origin, on_full: str) -> None:
    with proxy(tmp_path, configuration(origin, on_full)) as running, ExitStack() as stack:
        (worker,) = running.worker_pids()
        with descriptors_left(worker, 4):
            clients = [stack.enter_context(Client(running.port)) for _ in range(10)]
            for client in clients:
                client.send("GET /moved HTTP/1.1")
            eventually(lambda: len(failed_accepts(running)) >= 3, "lines of the log")
            assert max(failed_accepts(running)) <= 50, "the worker asks again at once"
            for client in clients[:4]:
                assert client.read().status == 301
                client.close()
            assert [clients[4].read().status, clients[5].read().status] == [301, 301]
        assert [client.read().status for client in clients[6:]] == [301] * 4


def test_a_reload_that_needs_descriptors_is_refused_and_leaves_none(tmp_path: Path, origin: Origin) -> None:
    with proxy(tmp_path, configuration(origin)) as running:
        (worker,) = running.worker_pids()
        (file,) = tmp_path.glob("*.yaml")
        routes = "[{match: {prefix: /}, cluster: app}]"
        more = f"listeners:\n  - {{bind: '127.0.0.1:{free_port()}', routes: {routes}}}\n"
        before = open_descriptors(worker)
        file.write_text(file.read_text().replace("listeners:\n", more))
        with descriptors_left(worker, 1):
            running.process.send_signal(signal.SIGHUP)
            eventually(lambda: "1 of 2 descriptors came with the configuration" in running.log, "the refusal")
            assert open_descriptors(worker) == before
        running.process.send_signal(signal.SIGHUP)
        eventually(lambda: running.stats()["version"] == 2, "the reload")


def test_a_worker_without_a_descriptor_drains(tmp_path: Path, origin: Origin) -> None:
    with proxy(tmp_path, configuration(origin, "wait")) as running:
        (worker,) = running.worker_pids()
        with descriptors_left(worker, 0):
            os.kill(running.process.pid, signal.SIGTERM)
            assert running.process.wait(timeout=20) == 0


def test_an_endpoint_is_not_blamed_when_we_have_no_descriptor_to_connect_to_it(tmp_path: Path, origin: Origin) -> None:
    gate = threading.Event()
    origin.plays["/held"] = says_when(gate, OK)
    with proxy(tmp_path, configuration(origin)) as running, ExitStack() as stack:
        (worker,) = running.worker_pids()
        clients = [stack.enter_context(Client(running.port)) for _ in range(8)]
        for client in clients:
            assert client.get("/moved").status == 301
        with descriptors_left(worker, 3):
            for client in clients:
                client.send("GET /held HTTP/1.1")
            refused = clients[3:]
            answers = [client.read() for client in refused]
            assert {answer.status for answer in answers} == {503}
            assert {tuple(answer.values("x-shardproxy-reason")) for answer in answers} == {("no_resources",)}
        gate.set()
        assert [client.read().status for client in clients[:3]] == [200] * 3
        assert [client.get("/again").status for client in clients] == [200] * 8
        (endpoint,) = running.endpoints().values()
        assert (endpoint["failures"], endpoint["health"]["state"]) == (0, "unchecked")
        assert running.stats()["faults"]["no_resources"] == 5
        assert f"connect to {origin.address} failed" in running.log


def test_an_endpoint_that_refuses_connections_is_blamed_all_the_same(tmp_path: Path, origin: Origin) -> None:
    text = CONFIGURATION.replace("ORIGIN", f"127.0.0.1:{free_port()}").replace("ON_FULL", "refuse")
    with proxy(tmp_path, text) as running, Client(running.port) as client:
        assert client.get("/").values("x-shardproxy-reason") == ["connect_failed"]


def test_an_endpoint_is_not_blamed_when_no_local_port_is_left(tmp_path: Path) -> None:
    """In a network of its own, whose range of local ports can be made small."""
    story = [sys.executable, "-m", "tests.e2e.few_ports", str(tmp_path)]
    told = subprocess.run(story, cwd=ROOT, capture_output=True, text=True, timeout=60, check=False)
    if told.returncode == NOT_PERMITTED:
        pytest.skip("a network of its own is not permitted here")
    assert told.returncode == 0, told.stdout + told.stderr

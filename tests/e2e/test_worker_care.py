"""Who the workers are, where they run, and the files that a running proxy leaves and removes."""

from __future__ import annotations

import os
import resource
import signal
import socket
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from tests.proxykit import Proxy, eventually, exchange, origins, proxy

CONFIGURATION = """
workers: 2
listeners:
  - bind: 127.0.0.1:PORT
    routes: [{match: {prefix: /}, cluster: app}]
clusters:
  - {name: app, endpoints: [ORIGIN]}
"""
GET = b"GET / HTTP/1.1\r\nHost: a.test\r\nConnection: close\r\n\r\n"
only_for_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root can become somebody else")


@pytest.fixture(scope="module")
def origin() -> Iterator[str]:
    with origins(0) as (address,):
        yield address


def children(running: Proxy) -> list[psutil.Process]:
    return psutil.Process(running.process.pid).children()


@only_for_root
def test_workers_run_as_the_user_and_the_supervisor_stays_root(tmp_path: Path, origin: str) -> None:
    text = "user: nobody\n" + CONFIGURATION.replace("ORIGIN", origin)
    with proxy(tmp_path, text) as running:
        assert exchange(running.port, GET).startswith(b"HTTP/1.1 200 ")
        assert {child.username() for child in children(running)} == {"nobody"}
        assert psutil.Process(running.process.pid).username() == "root"
        running.process.send_signal(signal.SIGUSR2)
        eventually(lambda: "restart: generation 2 serves" in running.log, "the second generation")
        assert exchange(running.port, GET).startswith(b"HTTP/1.1 200 ")
        eventually(lambda: len(children(running)) == 3, "the former workers to go")
        assert {child.username() for child in children(running)} == {"nobody"}


@only_for_root
def test_a_unix_listener_belongs_to_the_user_of_the_workers(tmp_path: Path, origin: str) -> None:
    folder = tmp_path / "run"
    folder.mkdir()
    text = "user: nobody\n" + CONFIGURATION.replace("ORIGIN", origin)
    path = folder / "s"
    with proxy(tmp_path, text.replace("clusters:", f"  - {{bind: 'unix:{path}', routes: [ROUTE]}}\nclusters:")
               .replace("ROUTE", "{match: {prefix: /}, cluster: app}")):  # fmt: skip
        assert path.owner() == "nobody"
        with socket.socket(socket.AF_UNIX) as client:
            client.settimeout(10)
            client.connect(str(path))
            client.sendall(GET)
            assert client.recv(100).startswith(b"HTTP/1.1 200 ")
    assert not path.exists()


def test_each_worker_stays_on_a_cpu_of_its_own(tmp_path: Path, origin: str) -> None:
    cpus = sorted(os.sched_getaffinity(0))
    if len(cpus) < 2:
        pytest.skip("this machine has one CPU")
    with proxy(tmp_path, "cpu_affinity: auto\n" + CONFIGURATION.replace("ORIGIN", origin)) as running:
        found = sorted(tuple(psutil.Process(pid).cpu_affinity()) for pid in running.worker_pids())
        assert found == [(cpus[0],), (cpus[1],)]


def test_workers_may_open_as_many_descriptors_as_the_system_allows(tmp_path: Path, origin: str) -> None:
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    text = CONFIGURATION.replace("ORIGIN", origin).replace("    routes", f"    max_connections: {hard}\n    routes")
    with proxy(tmp_path, text) as running:
        for pid in running.worker_pids():
            assert resource.prlimit(pid, resource.RLIMIT_NOFILE) == (hard, hard)
        assert "raise the hard limit (LimitNOFILE= in systemd" in running.log


def test_the_pid_file_is_there_while_it_runs_and_keeps_a_second_one_away(tmp_path: Path, origin: str) -> None:
    path = tmp_path / "proxy.pid"
    text = f"pid_file: {path}\n" + CONFIGURATION.replace("ORIGIN", origin)
    with proxy(tmp_path, text) as running:
        assert path.read_text() == f"{running.process.pid}\n"
        with pytest.raises(AssertionError, match="is held by another supervisor"), proxy(tmp_path, text):
            pass
        running.process.send_signal(signal.SIGUSR2)
        eventually(lambda: "restart: generation 2 serves" in running.log, "the second generation")
        assert path.read_text() == f"{running.process.pid}\n"
    assert not path.exists()


def test_stats_tell_memory_and_cpu_of_each_worker(tmp_path: Path, origin: str) -> None:
    with proxy(tmp_path, CONFIGURATION.replace("ORIGIN", origin)) as running:
        for worker in running.stats()["workers"]:
            assert worker["rss_bytes"] > 1_000_000
            assert worker["cpu_s"] > 0

"""What operators do to a running proxy costs no request: hot restarts, reloads and scaling under load."""

from __future__ import annotations

import os
import signal
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psutil
import pytest

from tests.load import Background, Tally
from tests.proxykit import PATIENCE_S, Proxy, eventually, free_port, origins, proxy

CONFIGURATION = """
workers: 2
drain_timeout: 5s
listeners:
  - bind: 127.0.0.1:PORT
    routes: [{match: {prefix: /}, cluster: app}]
clusters:
  - {name: app, endpoints: [ORIGIN]}
"""


@pytest.fixture(scope="module")
def origin() -> Iterator[str]:
    with origins(0) as (address,):
        yield address


@contextmanager
def running(tmp_path: Path, origin: str, configuration: str = CONFIGURATION) -> Iterator[Proxy]:
    with proxy(tmp_path, configuration.replace("ORIGIN", origin)) as started:
        yield started


def nothing_was_lost(tally: Tally) -> None:
    assert (tally.broken, tally.refused) == (0, 0)
    assert tally.with_status(200) == tally.total > 0


def traffic_flows(tally: Tally) -> None:
    seen = tally.total
    eventually(lambda: tally.total > seen + 50, "traffic to flow on")


def restart(started: Proxy, generation: int) -> None:
    started.process.send_signal(signal.SIGUSR2)
    eventually(lambda: f"restart: generation {generation} serves" in started.log, f"generation {generation}")


def only_the_new_generation_lives(started: Proxy, workers: int) -> bool:
    return len(psutil.Process(started.process.pid).children()) == workers + 1


def open_files(pid: int) -> int:
    return len(list(Path(f"/proc/{pid}/fd").iterdir()))


def hot_restarts(tmp_path: Path, origin: str, count: int) -> None:
    with running(tmp_path, origin) as started:
        with Background(started.port) as load:
            traffic_flows(load.tally)
            restart(started, 2)
            files = open_files(started.process.pid)
            for number in range(1, count):
                restart(started, 2 + number)
                traffic_flows(load.tally)
            eventually(lambda: only_the_new_generation_lives(started, 2), "the former workers to go")
            eventually(lambda: open_files(started.process.pid) <= files, "their descriptors to go")
        nothing_was_lost(load.tally)
        assert load.tally.reopened > 0
        started.await_idle()
        stats = started.stats()
        assert stats["responses"]["2xx"] == load.tally.total == stats["requests"]
        assert stats["listeners"][f"127.0.0.1:{started.port}"]["connections"] == 0
        assert {worker["generation"] for worker in stats["workers"]} == {1 + count}


def test_hot_restarts_under_load_lose_nothing_and_leave_nothing(tmp_path: Path, origin: str) -> None:
    hot_restarts(tmp_path, origin, 4)


@pytest.mark.long
def test_fifty_hot_restarts_under_load_lose_nothing_and_leave_nothing(tmp_path: Path, origin: str) -> None:
    hot_restarts(tmp_path, origin, 50)


@pytest.mark.parametrize(("before", "after"), [(1, 3), (3, 1)])
def test_a_hot_restart_takes_the_changed_file(before: int, after: int, tmp_path: Path, origin: str) -> None:
    with running(tmp_path, origin, CONFIGURATION.replace("workers: 2", f"workers: {before}")) as started:
        file, second = next(tmp_path.glob("*.yaml")), free_port()
        text = file.read_text().replace(f"workers: {before}", f"workers: {after}")
        file.write_text(text.replace("clusters:", f"  - {{bind: '127.0.0.1:{second}', routes: [ROUTE]}}\nclusters:")
                        .replace("ROUTE", "{match: {prefix: /}, cluster: app}"))  # fmt: skip
        with Background(started.port) as load:
            traffic_flows(load.tally)
            restart(started, 2)
            with Background(second, clients=2) as other:
                traffic_flows(other.tally)
            eventually(lambda: only_the_new_generation_lives(started, after), f"{after} workers")
        nothing_was_lost(load.tally)
        nothing_was_lost(other.tally)
        assert started.is_ready()


def test_what_is_asked_for_during_a_hot_restart_is_done_by_the_new_code(tmp_path: Path, origin: str) -> None:
    with running(tmp_path, origin) as started:
        file = next(tmp_path.glob("*.yaml"))
        started.process.send_signal(signal.SIGUSR2)
        eventually(lambda: "restart begins" in started.log, "the hot restart to begin")
        file.write_text(file.read_text().replace("workers: 2", "workers: 3"))
        for number in (signal.SIGHUP, signal.SIGUSR2, signal.SIGHUP, signal.SIGUSR2):
            started.process.send_signal(number)
        eventually(lambda: "restart: generation 3 serves" in started.log, "one more restart", 3 * PATIENCE_S)
        eventually(lambda: "is served by all" in started.log, "the reload")
        eventually(lambda: len(started.worker_pids()) == 3, "the workers that the changed file wants")
        assert started.log.count("restart begins") == 2


def test_more_workers_and_fewer_again_under_load_lose_nothing(tmp_path: Path, origin: str) -> None:
    with running(tmp_path, origin, CONFIGURATION.replace("workers: 2", "workers: 1")) as started:
        with Background(started.port) as load:
            for signal_, counts in ((signal.SIGTTIN, (2, 3, 4)), (signal.SIGTTOU, (3, 2, 1))):
                for count in counts:
                    started.process.send_signal(signal_)
                    eventually(lambda: len(started.worker_pids()) == count, f"{count} workers")  # noqa: B023
                    traffic_flows(load.tally)
        nothing_was_lost(load.tally)
        assert started.is_ready()


def test_a_worker_that_has_grown_too_large_is_replaced_without_loss(tmp_path: Path, origin: str) -> None:
    with running(tmp_path, origin, "max_worker_rss: 16MiB\n" + CONFIGURATION) as started:
        with Background(started.port) as load:
            before = started.worker_pids()
            eventually(lambda: "recycle: worker 0 has a successor" in started.log, "a successor")
            traffic_flows(load.tally)
            eventually(lambda: before[0] not in started.worker_pids(), "the former worker to go")
        nothing_was_lost(load.tally)


# The new one is not right ---------------------------------------------------------------------------------------------

NO_SUCH_MODULE = """
import sys
class Broken:
    def find_spec(self, name, path=None, target=None):
        if name == "shardproxy.worker.main" or name == "shardproxy.worker.rehearsal":
            raise ImportError("this release is broken")
sys.meta_path.insert(0, Broken())
"""
HANGS = "import time; time.sleep(3600)"
WORKERS = """
import os, signal, sys, time
class Broken:
    def find_spec(self, name, path=None, target=None):
        if name == "shardproxy.worker.main" and "SHARDPROXY_PREFLIGHT" not in os.environ:
            DO
sys.meta_path.insert(0, Broken())
"""
WORKERS_HANG = WORKERS.replace("DO", "time.sleep(3600)")
WORKERS_DIE = WORKERS.replace("DO", "os.kill(os.getpid(), signal.SIGKILL)")
OTHER_LAYOUT = "import shardproxy.shm.layout as layout; layout.LAYOUT_VERSION += 1"


# Far longer than anything takes that is to succeed, and so short that a test can wait for it where nothing can.
LONG, SHORT = "restart_timeout: 120s\n", "restart_timeout: 1s\n"


@contextmanager
def replaceable(tmp_path: Path, origin: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[tuple[Proxy, Path]]:
    """A proxy, and a file that every Python started from then on runs first: how the new code differs."""
    folder = tmp_path / "new-code"
    folder.mkdir()
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join((str(folder), str(Path(__file__).parents[2]))))
    with running(tmp_path, origin, LONG + CONFIGURATION) as started:
        yield started, folder / "sitecustomize.py"


def wait_no_longer_than_a_second(started: Proxy, tmp_path: Path, what: str) -> None:
    """Give the preflight, or the workers of the new generation, a second: the former is what the configuration that is
    served says, the latter what the new file says."""
    file = next(tmp_path.glob("*.yaml"))
    file.write_text(file.read_text().replace(LONG, SHORT))
    if what == "preflight":
        started.process.send_signal(signal.SIGHUP)
        eventually(lambda: "reload: configuration 2 is served" in started.log, "the shorter timeout to be served")


@pytest.mark.parametrize(
    ("code", "reason", "hangs"),
    [
        (NO_SUCH_MODULE, "this release is broken", ""),
        (HANGS, "the new one has not proved itself in time", "preflight"),
        (WORKERS_HANG, "the new workers were not ready in time", "workers"),
        (WORKERS_DIE, "ended 5 times before it was ready", ""),
    ],
    ids=["does not import", "hangs", "workers hang", "workers are killed before they are ready"],
)
def test_a_hot_restart_to_broken_code_leaves_the_old_workers_serving(
    code: str, reason: str, hangs: str, tmp_path: Path, origin: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    with replaceable(tmp_path, origin, monkeypatch) as (started, new_code):
        if hangs:
            wait_no_longer_than_a_second(started, tmp_path, hangs)
        before = sorted(started.worker_pids())
        with Background(started.port) as load:
            new_code.write_text(code)
            started.process.send_signal(signal.SIGUSR2)
            eventually(lambda: "the old one serves on" in started.log, "the restart to be given up")
            new_code.unlink()
            traffic_flows(load.tally)
            eventually(lambda: sorted(started.worker_pids()) == before, "the new workers to go")
        nothing_was_lost(load.tally)
        assert reason in started.log
        assert started.is_ready()


def test_after_a_failed_hot_restart_the_next_one_succeeds(
    tmp_path: Path, origin: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    with replaceable(tmp_path, origin, monkeypatch) as (started, new_code), Background(started.port) as load:
        new_code.write_text(WORKERS_DIE)
        started.process.send_signal(signal.SIGUSR2)
        eventually(lambda: "the old one serves on" in started.log, "the restart to be given up")
        new_code.unlink()
        started.process.send_signal(signal.SIGUSR2)
        eventually(lambda: "restart: generation" in started.log, "the second restart")
        traffic_flows(load.tally)
    nothing_was_lost(load.tally)


def test_a_hot_restart_with_a_wrong_file_changes_nothing(tmp_path: Path, origin: str) -> None:
    with running(tmp_path, origin) as started, Background(started.port) as load:
        before = sorted(started.worker_pids())
        file = next(tmp_path.glob("*.yaml"))
        file.write_text("listeners: []\n")
        started.process.send_signal(signal.SIGUSR2)
        eventually(lambda: "the old one serves on" in started.log, "the restart to be refused")
        assert "listeners: the list is empty" in started.log
        traffic_flows(load.tally)
        assert sorted(started.worker_pids()) == before
    nothing_was_lost(load.tally)


def test_a_hot_restart_to_another_memory_layout_begins_a_fresh_one(
    tmp_path: Path, origin: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    with replaceable(tmp_path, origin, monkeypatch) as (started, new_code), Background(started.port) as load:
        traffic_flows(load.tally)
        new_code.write_text(OTHER_LAYOUT)
        restart(started, 2)
        assert "the new generation gets a fresh shared memory" in started.log
        eventually(lambda: only_the_new_generation_lives(started, 2), "the former workers to go")
        traffic_flows(load.tally)
        assert started.is_ready()
    nothing_was_lost(load.tally)


def test_a_listener_that_cannot_be_had_stops_the_hot_restart(tmp_path: Path, origin: str) -> None:
    with running(tmp_path, origin) as started, socket.create_server(("127.0.0.1", 0)) as taken:
        file = next(tmp_path.glob("*.yaml"))
        bind = f"127.0.0.1:{taken.getsockname()[1]}"
        file.write_text(file.read_text().replace("clusters:", f"  - {{bind: '{bind}', routes: [ROUTE]}}\nclusters:")
                        .replace("ROUTE", "{match: {prefix: /}, cluster: app}"))  # fmt: skip
        with Background(started.port) as load:
            started.process.send_signal(signal.SIGUSR2)
            eventually(lambda: "the old one serves on" in started.log, "the restart to be given up")
            traffic_flows(load.tally)
        nothing_was_lost(load.tally)
        assert "another process is listening there" in started.log

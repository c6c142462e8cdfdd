"""Health checks of the real proxy: an endpoint that falls ill gets no requests from any worker until it is well."""

from __future__ import annotations

import os
import signal
import time
from pathlib import Path
from typing import Any

import pytest

from tests.patient import Patient, patient
from tests.proxykit import Proxy, eventually, exchange, free_port, proxy

FALL, INTERVAL_S = 2, 0.1
WORKERS = 4

CONFIGURATION = """
workers: 4
log: {level: info}
listeners:
  - bind: 127.0.0.1:PORT
    routes: [{match: {prefix: /}, cluster: app}]
clusters:
  - name: app
    endpoints: [ENDPOINTS]
    health_check: {CHECK}
    panic_threshold: PANIC
"""
HTTP = "path: /healthz, interval: 100ms, timeout: 1s, unhealthy: 2, healthy: 2"
TCP = "type: tcp, interval: 100ms, timeout: 1s, unhealthy: 2, healthy: 2"


def configuration(*addresses: str, check: str = HTTP, panic: int = 50) -> str:
    text = CONFIGURATION.replace("ENDPOINTS", ", ".join(addresses)).replace("{CHECK}", f"{{{check}}}")
    return text.replace("PANIC", str(panic))


def get(running: Proxy) -> bytes:
    """On a connection of its own, so that every worker gets its share of many."""
    return exchange(running.port, b"GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n")


def health(running: Proxy, address: str) -> dict[str, Any]:
    return dict(running.endpoints()[address]["health"])


def await_state(running: Proxy, address: str, state: str) -> None:
    eventually(lambda: health(running, address)["state"] == state, f"{address} to be {state}")


def send_to_every_worker(running: Proxy) -> None:
    """Requests until each worker has taken at least five more."""
    before = {each["pid"]: each["requests"] for each in running.stats()["workers"]}
    assert len(before) == WORKERS

    def each_has_had_some() -> bool:
        for _ in range(20):
            assert get(running).startswith(b"HTTP/1.1 200 ")
        now = {each["pid"]: each["requests"] for each in running.stats()["workers"]}
        return all(now[pid] >= before[pid] + 5 for pid in before)

    eventually(each_has_had_some, "requests on every worker")


def shares(running: Proxy, *patients: Patient) -> list[int]:
    """How many requests each got while every worker had some."""
    before = [one.served for one in patients]
    send_to_every_worker(running)
    return [one.served - had for one, had in zip(patients, before, strict=True)]


def test_a_sick_endpoint_gets_nothing_from_any_worker_and_its_share_again_once_it_is_well(tmp_path: Path) -> None:
    with patient() as well, patient() as ill, proxy(tmp_path, configuration(well.address, ill.address)) as running:
        await_state(running, ill.address, "healthy")
        assert all(shares(running, well, ill))
        begin, ill.status = time.monotonic(), 503
        await_state(running, ill.address, "unhealthy")
        assert time.monotonic() - begin < (FALL + 1) * INTERVAL_S + 1  # a busy machine: a second more
        assert health(running, ill.address)["reason"] == "answered 503"
        mine, others = shares(running, ill, well)
        assert mine == 0 < others
        ill.status = 200
        await_state(running, ill.address, "healthy")
        assert all(shares(running, well, ill))
        assert running.log.count(f"endpoint {ill.address} is unhealthy: answered 503") == 1
        assert running.log.count(f"endpoint {ill.address} is healthy again") == 1


def test_decisions_stand_and_traffic_flows_when_the_controller_dies_and_the_next_one_goes_on(tmp_path: Path) -> None:
    with patient() as well, patient() as ill, proxy(tmp_path, configuration(well.address, ill.address)) as running:
        ill.status = 503
        await_state(running, ill.address, "unhealthy")
        pid = running.stats()["controller"]["pid"]
        os.kill(pid, signal.SIGSTOP)  # nobody decides anything
        seen = ill.served
        for _ in range(100):
            assert get(running).startswith(b"HTTP/1.1 200 ")
        assert ill.served == seen
        os.kill(pid, signal.SIGKILL)
        for _ in range(100):
            assert get(running).startswith(b"HTTP/1.1 200 ")
        eventually(lambda: is_answered_by_another(running, pid), "another controller")
        assert health(running, ill.address)["state"] == "unhealthy"
        assert shares(running, ill) == [0]
        assert running.log.count("is unhealthy") == 1
        ill.status = 200
        await_state(running, ill.address, "healthy")
        assert all(shares(running, well, ill))


def is_answered_by_another(running: Proxy, pid: int) -> bool:
    try:
        controller = running.stats()["controller"]
    except OSError:
        return False
    return controller is not None and controller["pid"] != pid


@pytest.mark.parametrize("number", [signal.SIGHUP, signal.SIGUSR2])
def test_a_reload_and_a_hot_restart_keep_what_is_decided(number: signal.Signals, tmp_path: Path) -> None:
    with patient() as well, patient() as ill, proxy(tmp_path, configuration(well.address, ill.address)) as running:
        ill.status = 503
        await_state(running, ill.address, "unhealthy")
        age = health(running, ill.address)["since_s"]
        version = running.stats()["version"]
        seen = ill.served
        running.process.send_signal(number)
        while not has_come(running, version + 1):
            assert get(running).startswith(b"HTTP/1.1 200 ")
        assert ill.served == seen
        assert health(running, ill.address)["state"] == "unhealthy"
        assert health(running, ill.address)["since_s"] > age
        assert running.log.count("is unhealthy") == 1


def has_come(running: Proxy, version: int) -> bool:
    try:
        return bool(running.stats()["version"] == version)
    except OSError:
        return False


def test_an_endpoint_that_a_reload_adds_is_checked_and_one_that_it_removes_is_not(tmp_path: Path) -> None:
    with (
        patient() as stays,
        patient() as goes,
        patient() as comes,
        proxy(tmp_path, configuration(stays.address, goes.address)) as running,
    ):
        await_state(running, goes.address, "healthy")
        file = tmp_path / f"proxy-{running.port}.yaml"
        file.write_text(file.read_text().replace(goes.address, comes.address))
        comes.status = 500
        running.process.send_signal(signal.SIGHUP)
        eventually(lambda: comes.address in running.endpoints(), "the new endpoint")
        await_state(running, comes.address, "unhealthy")
        seen, checks = len(goes.heads), len(stays.heads)
        eventually(lambda: len(stays.heads) > checks + 5, "more checks of the one that stays")
        assert len(goes.heads) <= seen + 1


def test_a_port_that_nobody_listens_on_fails_a_tcp_check_and_passes_when_somebody_does(tmp_path: Path) -> None:
    nobody = f"127.0.0.1:{free_port()}"
    with patient() as well, proxy(tmp_path, configuration(well.address, nobody, check=TCP)) as running:
        await_state(running, nobody, "unhealthy")
        assert health(running, nobody)["reason"] == "cannot be connected to"
        assert health(running, well.address)["state"] == "healthy"
        send_to_every_worker(running)


def test_when_most_are_ill_health_is_ignored_and_that_is_counted(tmp_path: Path) -> None:
    with patient() as one, patient() as other, proxy(tmp_path, configuration(one.address, other.address)) as running:
        one.status = other.status = 500
        await_state(running, one.address, "unhealthy")
        await_state(running, other.address, "unhealthy")
        before = running.stats()["clusters"]["app"]["panics"]
        assert all(shares(running, one, other))
        cluster = running.stats()["clusters"]["app"]
        assert cluster["healthy"] == 0
        assert cluster["panics"] > before


def test_without_panic_nobody_healthy_is_a_503_that_says_so(tmp_path: Path) -> None:
    with patient() as one, proxy(tmp_path, configuration(one.address, panic=0)) as running:
        one.status = 500
        await_state(running, one.address, "unhealthy")
        answer = get(running)
        assert answer.startswith(b"HTTP/1.1 503 ")
        assert b"no_endpoint" in answer
        assert one.served == 0
        one.status = 200
        await_state(running, one.address, "healthy")
        assert get(running).startswith(b"HTTP/1.1 200 ")
        running.await_idle()

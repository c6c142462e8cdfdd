"""A controller of which one part fails: it is counted and logged, and everything else goes on."""

from __future__ import annotations

import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("redis")

from shardproxy.config.load import parse
from shardproxy.config.schema import Config
from shardproxy.control.messages import Ready
from shardproxy.controller import main
from shardproxy.controller.adaptive import AdaptiveLimits, Finding
from shardproxy.controller.adaptive_rates import AdaptiveRates, Pacing
from shardproxy.controller.admin.ask import ask_stats
from shardproxy.controller.discovery.source import Source
from shardproxy.controller.discovery.watching import Discovery
from shardproxy.controller.dry_runs import DryRuns
from shardproxy.controller.health import Checker, Health
from shardproxy.controller.outliers import Outliers, Watching
from shardproxy.controller.slowness import Delays, Looking
from shardproxy.controller.sync import SharedLimits, Syncing
from shardproxy.shm.rows import Kind, Rows, State
from shardproxy.shm.segment import Segment
from shardproxy.shm.slots import Slots
from shardproxy.supervisor.catalog import assign
from tests.proxykit import eventually, free_port
from tests.unit.controller.counting import CAPACITIES
from tests.unit.controller.supervising import ROW, Running, get

TEXT = """
listeners:
  - bind: 127.0.0.1:80
    routes:
      - {match: {path: /found}, cluster: found}
      - {match: {prefix: /}, cluster: app, rate_limits: [dry, far, paced], hedge: {percentile: 95}}
clusters:
  - name: app
    endpoints: [127.0.0.1:1, 127.0.0.1:2]
    health_check: {path: /, interval: 50ms, timeout: 50ms}
    outlier_detection: {interval: 1s}
    adaptive: {interval: 50ms}
  - {name: found, endpoints_file: FILE}
rate_limits:
  - {name: dry, rate: 1/s, dry_run: true}
  - {name: far, rate: 100/s, burst: 50, store: "redis://127.0.0.1:PORT"}
  - {name: paced, rate: 20/s, adaptive: {cluster: app, min: 1/s, max: 100/s, interval: 50ms}}
"""
# What runs again and again, what follows the configuration, and what both are called in the log.
PARTS: list[tuple[type, type[main.Manager], str, str]] = [
    (Checker, Health, "the health check of cluster app, endpoint 127.0.0.1:1", "health checks"),
    (Watching, Outliers, "outlier detection in cluster app", "outlier detection"),
    (Finding, AdaptiveLimits, "adaptive concurrency of cluster app", "adaptive concurrency"),
    (Pacing, AdaptiveRates, "the adaptive rate of limit paced", "adaptive rates"),
    (Looking, Delays, "the hedging delay of cluster app", "hedging"),
    (DryRuns, DryRuns, "the look at dry limits", "dry runs"),
    (Syncing, SharedLimits, "the sharing of rate limit far", "shared limits"),
    (Source, Discovery, "of cluster found", "discovery"),
]
NAMES = [part[3] for part in PARTS]


@pytest.fixture
def whole(tmp_path: Path) -> Config:
    (tmp_path / "found.yaml").write_text("- 127.0.0.1:7\n")
    text = TEXT.replace("FILE", str(tmp_path / "found.yaml")).replace("PORT", str(free_port()))
    return parse(text, "test", {})


@contextmanager
def controller(config: Config) -> Iterator[Running]:
    segment, slots = Segment.create(CAPACITIES), Slots(CAPACITIES)
    segment.rows_used = 8
    Rows(segment).claim(0, os.getpid(), 1, Kind.SUPERVISOR)
    Rows(segment).set_state(0, State.READY)
    assign(config, slots)
    slots.seal()
    running = Running(segment, slots, config, socket.create_server(("127.0.0.1", 0)))
    try:
        assert running.hear() == Ready()
        yield running
    finally:
        running.close()
        segment.close()


@pytest.mark.parametrize(("loop", "_", "what", "name"), PARTS, ids=NAMES)
def test_a_loop_that_fails_is_counted_and_tried_again(
    loop: type, _: type, what: str, name: str, whole: Config, monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:  # fmt: skip
    turns = 0

    async def fail(self: Any) -> float:
        nonlocal turns
        turns += 1
        raise RuntimeError("it is broken")

    monkeypatch.setattr(loop, "turn", fail)
    monkeypatch.setattr("shardproxy.controller.slowness.INTERVAL_S", 0.01)
    with controller(whole) as running:
        eventually(lambda: turns >= 2, f"{name} to be tried again")
        eventually(lambda: ask_stats(running.url).controller_failures >= 2, "the failures to be counted")
        assert get(running, "/live")[0] == 200
    assert f"{what} failed; it is tried again in " in caplog.text


@pytest.mark.parametrize(("_", "manager", "what", "name"), PARTS, ids=NAMES)
def test_a_part_that_cannot_follow_the_configuration_does_not_keep_the_others_from_it(
    _: type, manager: type, what: str, name: str, whole: Config, monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:  # fmt: skip
    followed: list[type] = []
    for _loop, each, *_rest in PARTS:
        monkeypatch.setattr(each, "follow", lambda self, config, slots: followed.append(type(self)))

    def fail(self: Any, config: Config, slots: Slots) -> None:
        raise RuntimeError("it is broken")

    monkeypatch.setattr(manager, "follow", fail)
    with controller(whole) as running:
        assert ask_stats(running.url).controller_failures == 1
    assert set(followed) == {each for _, each, *_ in PARTS} - {manager}
    assert f"the taking over of configuration 1 by {name} failed; the next reload tries it again" in caplog.text


def test_everything_that_runs_is_stopped_when_the_controller_leaves(
    whole: Config, monkeypatch: pytest.MonkeyPatch
) -> None:
    stopped: list[type] = []
    for _, each, *_rest in PARTS:
        stop = each.stop

        def noted(self: Any, stop: Any = stop) -> None:
            stopped.append(type(self))
            stop(self)

        monkeypatch.setattr(each, "stop", noted)
    with controller(whole):
        assert stopped == []
    assert set(stopped) == {each for _, each, *_ in PARTS}


def test_a_process_of_another_user_is_alive(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(pid: int, number: int) -> None:
        assert (pid, number) == (4711, 0)
        raise PermissionError

    monkeypatch.setattr(os, "kill", refuse)
    assert main._is_alive(4711)


def test_without_a_supervisor_only_workers_are_waited_for(whole: Config, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: set[int] = set()

    def is_alive(pid: int) -> bool:
        asked.add(pid)
        return False

    monkeypatch.setattr(main, "_is_alive", is_alive)
    with controller(whole) as running:
        running.rows.claim(2, 4712, 1, Kind.WORKER)
        running.rows.claim(3, 4713, 1, Kind.WORKER)
        running.rows.set_state(3, State.DRAINING)
        running.rows.claim(4, 4714, 1, Kind.WORKER)
        running.rows.release(4)
        running.supervisor.close()
        assert running.exit_code.result(10) == 0
        assert running.rows.state(ROW) is State.DRAINING
    assert asked == {4712, 4713}

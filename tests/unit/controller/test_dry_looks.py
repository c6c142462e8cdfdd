"""Dry limits: what the controller looks at, and what it then suggests in `/stats`."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator

import pytest
from msgspec.structs import replace

from shardproxy.controller.dry_runs import DryRuns
from shardproxy.controller.failures import Failures
from shardproxy.controller.stats import Suggestion
from shardproxy.limits.demand import LOOK_S, WINDOW, Demand
from shardproxy.shm import names
from shardproxy.shm.metrics import Metrics
from tests.unit.controller.counting import Site, site, tasks, until

TEXT = """
listeners: [{bind: 127.0.0.1:80, routes: [{match: {prefix: /}, cluster: app, rate_limits: [dry, wet, keyed]}]}]
clusters: [{name: app, endpoints: [127.0.0.1:1]}]
rate_limits:
  - {name: dry, rate: 1/s, dry_run: true}
  - {name: wet, rate: 1/s}
  - {name: keyed, rate: 1/s, dry_run: true, key: client_ip}
"""


@pytest.fixture
def app() -> Iterator[Site]:
    with site(TEXT) as made:
        yield made


async def looks(app: Site, runs: DryRuns, each: int, count: int) -> None:
    for _ in range(count):
        app.worker.count(names.rate_limit_admitted("dry"), each)
        app.other.count(names.rate_limit_admitted("wet"), 7)
        assert await runs.turn() == LOOK_S


def test_a_dry_limit_without_a_key_gets_a_suggestion_once_ten_seconds_are_known(app: Site) -> None:
    app.worker.count(names.rate_limit_admitted("dry"), 10_000)

    async def story() -> None:
        runs = DryRuns(app.segment, Failures())
        runs.follow(app.config, app.slots)
        await looks(app, runs, 20, WINDOW - 1)
        assert runs.suggestions() == {}
        await looks(app, runs, 20, 1)
        assert runs.suggestions() == {"dry": Suggestion(rate=110.0, burst=22)}
        runs.stop()

    asyncio.run(story())


def test_the_rate_is_told_to_three_places(app: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    async def story() -> None:
        runs = DryRuns(app.segment, Failures())
        runs.follow(app.config, app.slots)
        await looks(app, runs, 1, 1)
        await looks(app, runs, 0, WINDOW)
        monkeypatch.setattr(Demand, "suggestion", lambda _: (1.23456, 2))
        assert runs.suggestions()["dry"].rate == 1.235
        runs.stop()

    asyncio.run(story())


def test_a_reload_keeps_what_is_known_of_limits_that_stay_and_forgets_the_others(app: Site) -> None:
    async def story() -> None:
        runs = DryRuns(app.segment, Failures())
        runs.follow(app.config, app.slots)
        await looks(app, runs, 20, WINDOW)
        first = tasks()
        runs.follow(app.config, app.slots)
        assert runs.suggestions()
        assert tasks() == first
        runs.follow(replace(app.config, rate_limits=app.config.rate_limits[1:]), app.slots)
        assert runs.suggestions() == {}
        runs.follow(app.config, app.slots)
        assert runs.suggestions() == {}
        runs.stop()
        await asyncio.sleep(0)
        assert not tasks()

    asyncio.run(story())


def test_without_dry_limits_nobody_looks(app: Site) -> None:
    async def story() -> None:
        runs = DryRuns(app.segment, Failures())
        runs.follow(replace(app.config, rate_limits=app.config.rate_limits[1:]), app.slots)
        assert not tasks()
        runs.stop()

    asyncio.run(story())


def test_a_look_that_fails_is_followed_by_the_next(
    app: Site, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr("shardproxy.controller.dry_runs.LOOK_S", 0.001)
    failed: list[None] = []

    async def story() -> None:
        runs = DryRuns(app.segment, Failures(lambda: failed.append(None)))
        runs.follow(app.config, app.slots)
        runs._metrics = None  # type: ignore[assignment]
        await until(lambda: failed)
        runs._metrics = Metrics(app.segment, 0)
        app.worker.count(names.rate_limit_admitted("dry"), 20)
        await until(runs.suggestions)
        runs.stop()

    asyncio.run(story())
    assert "the look at dry limits failed; it is tried again in 0.001 s" in caplog.text

"""Looks of the controller at a cluster, by hand and with a clock of the test's own: what they publish, and when."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator

import pytest
from msgspec.structs import replace

from shardproxy.config.adaptive import Adaptive
from shardproxy.controller.adaptive import LATE_S, AdaptiveLimits, Finding, concurrency_of, subject_of
from shardproxy.controller.failures import Failures
from shardproxy.controller.watching import READER, Watch
from shardproxy.limits.concurrency import Aimd, Gradient
from shardproxy.shm import names
from shardproxy.shm.gauges import Gauges
from tests.unit.controller.counting import Clock, Site, site, tasks, until

MS = 10**6
INTERVAL_S = 0.2
TEXT = """
listeners: [{bind: 127.0.0.1:80, routes: [{match: {prefix: /}, cluster: app}]}]
clusters:
  - name: app
    endpoints: [127.0.0.1:1, 127.0.0.1:2]
    adaptive: {start: 20, interval: 200ms}
  - {name: other, endpoints: [127.0.0.1:3]}
"""
ONE, TWO = ("app", "127.0.0.1:1"), ("app", "127.0.0.1:2")
LIMIT = names.cluster_limit("app")


@pytest.fixture
def app() -> Iterator[Site]:
    with site(TEXT) as made:
        yield made


class Looks:
    """The looks at `app`, each one interval after the one before."""

    def __init__(self, app: Site) -> None:
        self.app, self.clock = app, Clock()
        subject = subject_of(app.config.clusters[0], app.slots)
        watch, concurrency = Watch(app.segment, subject.places), concurrency_of(subject.rules, 0)
        self.finding = Finding(subject, Gauges(app.segment, READER), app.words, watch, concurrency, self.clock)

    def look(self, after_s: float = INTERVAL_S) -> int:
        self.clock.now += after_s
        assert asyncio.run(self.finding.turn()) == pytest.approx(INTERVAL_S)
        return self.app.word(LIMIT)


def test_a_busy_cluster_may_have_more_and_a_slow_one_fewer(app: Site) -> None:
    looks = Looks(app)
    app.worker.add(names.cluster_requests("app"), 12)
    app.other.add(names.cluster_requests("app"), 13)
    for limit in (30, 45):
        app.worker.observe(names.endpoint_time(*ONE), 10 * MS, 6)
        app.other.observe(names.endpoint_time(*TWO), 10 * MS, 6)
        assert looks.look() == limit
    app.worker.observe(names.endpoint_time(*ONE), 500 * MS, 20)
    app.worker.observe(names.endpoint_time(*TWO), 10 * MS, 5)
    assert looks.look() < 45


def test_fewer_requests_than_ten_or_none_under_way_change_nothing(app: Site) -> None:
    looks = Looks(app)
    app.worker.observe(names.endpoint_time(*ONE), 10 * MS, 12)
    assert looks.look() == 20
    app.worker.add(names.cluster_requests("app"), 20)
    app.worker.observe(names.endpoint_time(*ONE), 10 * MS, 9)
    assert looks.look() == 20


def test_what_happened_while_nobody_looked_says_nothing(app: Site) -> None:
    looks = Looks(app)
    app.worker.add(names.cluster_requests("app"), 20)
    app.worker.observe(names.endpoint_time(*ONE), 10 * MS, 12)
    assert looks.look(after_s=LATE_S + INTERVAL_S) == 0
    app.worker.observe(names.endpoint_time(*ONE), 10 * MS, 12)
    assert looks.look(after_s=LATE_S + INTERVAL_S - 0.01) == 30


@pytest.mark.parametrize("interval_s", [0.05, 5, 60])
def test_a_limit_is_found_at_every_interval_that_can_be_written(app: Site, interval_s: float) -> None:
    looks = Looks(app)
    rules = replace(app.config.clusters[0].adaptive or Adaptive(), interval=int(interval_s * 10**9))
    looks.finding.subject = subject_of(replace(app.config.clusters[0], adaptive=rules), app.slots)
    app.worker.add(names.cluster_requests("app"), 20)
    app.worker.observe(names.endpoint_time(*ONE), 10 * MS, 12)
    looks.clock.now += interval_s
    assert asyncio.run(looks.finding.turn()) == interval_s
    assert app.word(LIMIT) == 30


def test_failures_reach_a_policy_that_wants_them(app: Site) -> None:
    looks = Looks(app)
    looks.finding.concurrency = Aimd(least=4, most=1000, limit=20, latency_ns=30 * MS, failed=0.1)
    app.worker.observe(names.endpoint_time(*ONE), 10 * MS, 10)
    app.worker.count(names.endpoint_errors(*TWO), 2)
    assert looks.look() == 18


@pytest.mark.parametrize(("present", "start"), [(0, 20), (50, 50), (1, 4), (5000, 1000)])
def test_it_goes_on_from_the_present_limit_within_its_bounds(present: int, start: int) -> None:
    found = concurrency_of(Adaptive(tolerance=30), present)
    assert found == Gradient(least=4, most=1000, limit=start, tolerance=0.3)


def test_the_policy_is_the_one_that_is_written() -> None:
    rules = Adaptive(policy="aimd", latency=30 * MS, failures=20)
    assert concurrency_of(rules, 0) == Aimd(least=4, most=1000, limit=20, latency_ns=30 * MS, failed=0.2)
    assert isinstance(concurrency_of(Adaptive(policy="aimd"), 0), Gradient)
    assert isinstance(concurrency_of(Adaptive(latency=30 * MS), 0), Gradient)


def test_a_reload_keeps_what_is_the_same_and_a_successor_goes_on_from_the_limit_that_stands(app: Site) -> None:
    quick = app.config.clusters[0]
    quick = replace(quick, adaptive=replace(quick.adaptive or Adaptive(), interval=MS))
    other = replace(app.config, clusters=(quick, app.config.clusters[1]))
    app.set_word(LIMIT, 77)

    async def story() -> None:
        limits = AdaptiveLimits(app.segment, Failures())
        limits.follow(app.config, app.slots)
        first = tasks()
        limits.follow(app.config, app.slots)
        assert tasks() == first
        assert len(first) == 1
        limits.follow(other, app.slots)
        await asyncio.sleep(0)
        assert len(tasks()) == 1
        assert tasks() != first
        app.set_word(LIMIT, 0)
        await until(lambda: app.word(LIMIT))
        assert app.word(LIMIT) == 77
        limits.stop()
        await asyncio.sleep(0)
        assert not tasks()

    asyncio.run(story())


def test_the_first_look_comes_one_interval_after_the_start(app: Site) -> None:
    looks = Looks(app)
    rare = replace(looks.finding.subject.rules, interval=3600 * 10**9)
    looks.finding.subject = subject_of(replace(app.config.clusters[0], adaptive=rare), app.slots)
    app.worker.observe(names.endpoint_time(*ONE), 10 * MS, 12)

    async def story() -> None:
        task = asyncio.create_task(looks.finding.run(Failures()))
        await asyncio.sleep(0.01)
        assert app.word(LIMIT) == 0
        task.cancel()

    asyncio.run(story())


def test_a_look_that_fails_is_followed_by_the_next(app: Site, caplog: pytest.LogCaptureFixture) -> None:
    quick = app.config.clusters[0]
    quick = replace(quick, adaptive=replace(quick.adaptive or Adaptive(), interval=MS))
    subject = subject_of(quick, app.slots)
    watch = Watch(app.segment, subject.places)
    failed: list[None] = []

    class Broken:
        limit = 20.0
        looks = 0

        def look(self, look: object) -> int:
            self.looks += 1
            if self.looks == 1:
                raise RuntimeError("it is broken")
            return 33

    async def story() -> None:
        finding = Finding(subject, Gauges(app.segment, READER), app.words, watch, Broken())
        task = asyncio.create_task(finding.run(Failures(lambda: failed.append(None))))
        await until(lambda: app.word(LIMIT) == 33)
        task.cancel()

    asyncio.run(story())
    assert len(failed) == 1
    assert "adaptive concurrency of cluster app failed; it is tried again in 0.001 s" in caplog.text

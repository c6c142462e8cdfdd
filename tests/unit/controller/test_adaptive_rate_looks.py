"""Looks of the controller for a limit with an adaptive rate: by hand, with a clock of the test's own."""

from __future__ import annotations

import asyncio
import dataclasses
from collections.abc import Iterator

import pytest
from msgspec.structs import replace

from shardproxy.controller.adaptive_rates import LATE_S, AdaptiveRates, Pacing, pace_of, present_rate, subject_of
from shardproxy.controller.failures import Failures
from shardproxy.limits.pace import Pace
from shardproxy.shm import names
from shardproxy.shm.buckets import TICKS_PER_S
from tests.unit.controller.counting import Clock, Site, site, tasks, until

MS = 10**6
TEXT = """
listeners: [{bind: 127.0.0.1:80, routes: [{match: {prefix: /}, cluster: app, rate_limits: [all]}]}]
clusters:
  - {name: other, endpoints: [127.0.0.1:3]}
  - {name: app, endpoints: [127.0.0.1:1, 127.0.0.1:2]}
rate_limits:
  - {name: fixed, rate: 7/s}
  - {name: all, rate: 100/s, adaptive: {cluster: app, min: 10/s, max: 1000/s, latency: 50ms, failures: 10, step: 2}}
"""
ONE, TWO = ("app", "127.0.0.1:1"), ("app", "127.0.0.1:2")
WORD = names.rate_limit_interval("all")


@pytest.fixture
def app() -> Iterator[Site]:
    with site(TEXT) as made:
        yield made


def rate(app: Site) -> float:
    """As the workers read it."""
    return round(TICKS_PER_S / app.word(WORD), 2)


class Looks:
    def __init__(self, app: Site) -> None:
        self.app, self.clock = app, Clock()
        self.subject = subject_of(app.config.rate_limits[1], app.config, app.slots)
        self.pacing = Pacing(app.segment, self.subject, self.clock)

    def look(self, admitted: int, ended: int, slow_ms: int = 5, failed: int = 0, after_s: float = 1.0) -> float:
        self.app.worker.count(names.rate_limit_admitted("all"), admitted)
        self.app.worker.observe(names.endpoint_time(*ONE), slow_ms * MS, ended)
        self.app.other.count(names.endpoint_unreached(*TWO), failed)
        self.clock.now += after_s
        assert asyncio.run(self.pacing.turn()) == 1.0
        return rate(self.app)


def test_the_rate_stands_for_the_workers_before_the_first_look(app: Site) -> None:
    Looks(app)
    assert rate(app) == 100


def test_a_rate_that_is_used_up_grows_by_a_step_and_one_that_is_not_stays(app: Site) -> None:
    looks = Looks(app)
    assert looks.look(admitted=80, ended=80) == 120
    assert looks.look(admitted=90, ended=90) == 120
    assert looks.look(admitted=96, ended=96) == 140


def test_slow_responses_and_failures_make_it_fall(app: Site) -> None:
    assert Looks(app).look(admitted=80, ended=80, slow_ms=80) == pytest.approx(66.67)
    app.set_word(WORD, 0)
    assert Looks(app).look(admitted=80, ended=80, failed=9) == pytest.approx(66.67)
    app.set_word(WORD, 0)
    assert Looks(app).look(admitted=80, ended=80, failed=8) == 120


def test_failures_without_a_response_are_enough_to_tell(app: Site) -> None:
    assert Looks(app).look(admitted=80, ended=0, failed=10) == pytest.approx(66.67)


def test_what_was_counted_before_the_first_look_does_not_matter(app: Site) -> None:
    app.worker.count(names.rate_limit_admitted("all"), 500)
    app.worker.observe(names.endpoint_time(*ONE), 900 * MS, 50)
    assert Looks(app).look(admitted=10, ended=10) == 100


def test_what_happened_while_nobody_looked_says_nothing(app: Site) -> None:
    looks = Looks(app)
    late_s = LATE_S + 1.0
    assert looks.look(admitted=5000, ended=100, after_s=late_s) == 100
    assert looks.look(admitted=5000, ended=100, after_s=late_s - 0.01) == 120


def test_the_time_between_two_looks_counts(app: Site) -> None:
    looks = Looks(app)
    assert looks.look(admitted=239, ended=239, after_s=3.0) == 100
    assert looks.look(admitted=240, ended=240, after_s=3.0) == 120


def test_a_successor_goes_on_from_the_rate_that_stands_within_the_bounds(app: Site) -> None:
    subject = subject_of(app.config.rate_limits[1], app.config, app.slots)
    assert pace_of(subject, 250.0) == Pace(10, 1000, 250.0, 0.1, 50 * MS, 20)
    assert [pace_of(subject, present).rate for present in (0.0, 1.0, 5000.0)] == [100, 10, 1000]
    app.set_word(WORD, round(TICKS_PER_S / 400))
    assert present_rate(app.words, subject.interval) == pytest.approx(400)
    app.set_word(WORD, 1)
    assert present_rate(app.words, subject.interval) == TICKS_PER_S
    app.set_word(WORD, 0)
    assert present_rate(app.words, subject.interval) == 0
    without = dataclasses.replace(subject, rules=replace(subject.rules, latency=None))
    assert pace_of(without, 250.0).latency_ns == 0


def test_the_numbers_are_those_of_the_cluster_that_is_named(app: Site) -> None:
    looks = Looks(app)
    app.worker.observe(names.endpoint_time("other", "127.0.0.1:3"), 900 * MS, 100)
    assert looks.look(admitted=80, ended=80) == 120


def test_a_reload_keeps_what_is_the_same_and_ends_what_is_gone(app: Site) -> None:
    async def story() -> None:
        rates = AdaptiveRates(app.segment, Failures())
        rates.follow(app.config, app.slots)
        first = tasks()
        assert len(first) == 1
        assert rate(app) == 100
        rates.follow(app.config, app.slots)
        assert tasks() == first
        rates.follow(replace(app.config, rate_limits=app.config.rate_limits[:1]), app.slots)
        await asyncio.sleep(0)
        assert not tasks()
        rates.follow(app.config, app.slots)
        rates.stop()
        await asyncio.sleep(0)
        assert not tasks()

    asyncio.run(story())


def test_a_pace_goes_on_from_the_rate_that_stands(app: Site) -> None:
    app.set_word(WORD, round(TICKS_PER_S / 400))
    looks = Looks(app)
    assert rate(app) == pytest.approx(400)
    assert looks.look(admitted=10, ended=10) == pytest.approx(400)


def test_the_first_look_comes_one_interval_after_the_start(app: Site) -> None:
    looks = Looks(app)
    looks.subject = dataclasses.replace(looks.subject, rules=replace(looks.subject.rules, interval=3600 * 10**9))
    looks.pacing = Pacing(app.segment, looks.subject)
    app.worker.count(names.rate_limit_admitted("all"), 10_000)
    app.worker.observe(names.endpoint_time(*ONE), 10 * MS, 100)

    async def story() -> None:
        task = asyncio.create_task(looks.pacing.run(Failures()))
        await asyncio.sleep(0.01)
        assert rate(app) == 100
        task.cancel()

    asyncio.run(story())


def test_a_look_that_fails_is_followed_by_the_next(
    app: Site, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    rules = app.config.rate_limits[1].adaptive
    assert rules is not None
    quick = replace(app.config.rate_limits[1], adaptive=replace(rules, interval=MS))
    pacing = Pacing(app.segment, subject_of(quick, app.config, app.slots))
    failed: list[None] = []

    def look(self: Pace, seen: object) -> float:
        if not failed:
            raise RuntimeError("it is broken")
        return 500.0

    monkeypatch.setattr(Pace, "look", look)

    async def story() -> None:
        task = asyncio.create_task(pacing.run(Failures(lambda: failed.append(None))))
        await until(lambda: rate(app) == 500)
        task.cancel()

    asyncio.run(story())
    assert len(failed) == 1
    assert "the adaptive rate of limit all failed; it is tried again in 0.001 s" in caplog.text

"""How long slow responses take: what is published for routes that hedge, and what is too little to tell."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator

import pytest
from msgspec.structs import replace

from shardproxy.controller.failures import Failures
from shardproxy.controller.slowness import ENOUGH, INTERVAL_S, KEPT, Delays, Looking, Slowness, subjects_of
from shardproxy.controller.watching import Watch
from shardproxy.shm import names
from tests.unit.controller.counting import Site, site, tasks, until

MS = 10**6
TEXT = """
listeners:
  - bind: 127.0.0.1:80
    routes:
      - {match: {prefix: /a}, cluster: app, hedge: {percentile: 95}}
      - {match: {prefix: /b}, cluster: app, hedge: {percentile: 95}}
      - {match: {prefix: /c}, cluster: other, hedge: {percentile: 50}}
      - {match: {prefix: /}, cluster: app}
clusters:
  - {name: app, endpoints: [127.0.0.1:1, 127.0.0.1:2]}
  - {name: other, endpoints: [127.0.0.1:3, 127.0.0.1:4]}
"""


@pytest.fixture
def app() -> Iterator[Site]:
    with site(TEXT) as made:
        yield made


def test_each_cluster_is_looked_at_once_for_each_percentile(app: Site) -> None:
    found = subjects_of(app.config, app.slots)
    assert [(each.cluster, each.percentile) for each in found] == [("app", 95), ("other", 50)]
    words = [app.slots.word(names.cluster_slowness(*each)) for each in (("app", 95), ("other", 50))]
    assert [each.word for each in found] == words


def look(app: Site, index: int = 0) -> Looking:
    subject = subjects_of(app.config, app.slots)[index]
    return Looking(subject, app.words, Watch(app.segment, subject.places))


def test_what_is_published_is_what_so_many_percent_of_the_responses_took_over_all_workers(app: Site) -> None:
    looking = look(app)
    app.worker.observe(names.endpoint_time("app", "127.0.0.1:1"), 10 * MS, 90)
    app.other.observe(names.endpoint_time("app", "127.0.0.1:2"), 400 * MS, 10)
    assert asyncio.run(looking.turn()) == INTERVAL_S
    assert app.word(names.cluster_slowness("app", 95)) == pytest.approx(400 * MS, rel=0.0625)
    assert app.word(names.cluster_slowness("other", 50)) == 0


def test_the_percentile_is_the_routes_own(app: Site) -> None:
    looking = look(app, 1)
    app.worker.observe(names.endpoint_time("other", "127.0.0.1:3"), 10 * MS, 90)
    app.worker.observe(names.endpoint_time("other", "127.0.0.1:4"), 400 * MS, 10)
    asyncio.run(looking.turn())
    assert app.word(names.cluster_slowness("other", 50)) == pytest.approx(10 * MS, rel=0.0625)


def test_the_percentile_is_met_to_one_of_a_hundred(app: Site) -> None:
    looking = look(app)
    for ms in range(1, 101):
        app.worker.observe(names.endpoint_time("app", "127.0.0.1:1"), 2**30 if ms > 94 else MS)
    asyncio.run(looking.turn())
    assert app.word(names.cluster_slowness("app", 95)) > 100 * MS


def test_too_few_responses_leave_what_was_published(app: Site) -> None:
    app.set_word(names.cluster_slowness("app", 95), 7 * MS)
    looking = look(app)
    app.worker.observe(names.endpoint_time("app", "127.0.0.1:1"), 10 * MS, ENOUGH - 1)
    asyncio.run(looking.turn())
    assert app.word(names.cluster_slowness("app", 95)) == 7 * MS


def test_what_was_seen_fades() -> None:
    slowness = Slowness()
    counts = [0] * 248
    counts[50] = ENOUGH
    slowness.note(counts)
    assert slowness.quantile_ns(0.5) > 0
    slowness.note([0] * 248)
    assert slowness.quantile_ns(0.5) == 0
    counts[50] = ENOUGH - round(KEPT * KEPT * ENOUGH)
    slowness.note(counts)
    assert slowness.quantile_ns(0.5) > 0


def test_new_slowness_takes_over_from_the_old() -> None:
    slowness, quick, slow = Slowness(), [0] * 248, [0] * 248
    quick[40] = slow[90] = 1000
    for _ in range(10):
        slowness.note(quick)
    before = slowness.quantile_ns(0.5)
    for _ in range(60):
        slowness.note(slow)
    assert slowness.quantile_ns(0.5) > 2 * before


def test_counts_of_another_histogram_are_refused() -> None:
    slowness = Slowness()
    slowness.note([0] * 248)
    with pytest.raises(ValueError):
        slowness.note([0] * 247)


def test_the_first_look_comes_one_interval_after_the_start(app: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("shardproxy.controller.slowness.INTERVAL_S", 3600.0)
    looking = look(app)
    app.worker.observe(names.endpoint_time("app", "127.0.0.1:1"), 10 * MS, ENOUGH)

    async def story() -> None:
        task = asyncio.create_task(looking.run(Failures()))
        await asyncio.sleep(0.01)
        assert app.word(names.cluster_slowness("app", 95)) == 0
        task.cancel()

    asyncio.run(story())


def test_nothing_is_known_before_the_first_look() -> None:
    assert Slowness().quantile_ns(0.95) == 0


def test_a_reload_keeps_what_is_the_same_and_ends_what_is_gone(app: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("shardproxy.controller.slowness.INTERVAL_S", 0.001)
    listener = app.config.listeners[0]
    fewer = replace(app.config, listeners=(replace(listener, routes=listener.routes[2:]),))

    async def story() -> None:
        delays = Delays(app.segment, Failures())
        delays.follow(app.config, app.slots)
        first = tasks()
        assert len(first) == 2
        delays.follow(fewer, app.slots)
        await asyncio.sleep(0)
        assert len(tasks()) == 1
        assert tasks() < first
        app.worker.observe(names.endpoint_time("other", "127.0.0.1:3"), 10 * MS, ENOUGH)
        await until(lambda: app.word(names.cluster_slowness("other", 50)))
        delays.stop()
        await asyncio.sleep(0)
        assert not tasks()

    asyncio.run(story())


def test_a_look_that_fails_is_followed_by_the_next(
    app: Site, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr("shardproxy.controller.slowness.INTERVAL_S", 0.001)
    failed: list[None] = []
    looking, take = look(app), Watch.take

    def broken(self: Watch) -> object:
        if not failed:
            raise RuntimeError("it is broken")
        return take(self)

    monkeypatch.setattr(Watch, "take", broken)
    app.worker.observe(names.endpoint_time("app", "127.0.0.1:1"), 10 * MS, ENOUGH)

    async def story() -> None:
        task = asyncio.create_task(looking.run(Failures(lambda: failed.append(None))))
        await until(lambda: app.word(names.cluster_slowness("app", 95)))
        task.cancel()

    asyncio.run(story())
    assert len(failed) == 1
    assert "the hedging delay of cluster app failed; it is tried again" in caplog.text

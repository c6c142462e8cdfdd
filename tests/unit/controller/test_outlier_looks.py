"""When outliers are looked for: intervals and runs by a clock of the test's own, reloads, and looks that fail."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

import msgspec
import pytest

from shardproxy.config.schema import Config, OutlierDetection
from shardproxy.controller.failures import Failures
from shardproxy.controller.outliers import LOOK_AT_RUNS_S, Outliers, Watching
from shardproxy.controller.reasons import Reason
from shardproxy.shm.decisions import EJECTED
from shardproxy.shm.segment import Segment
from tests.unit.controller.counting import tasks, until
from tests.unit.controller.outlier_game import RULES, Day, Game, S


def test_an_interval_is_ended_when_its_time_is_over_and_not_before(segment: Segment, config: Config) -> None:
    day = Day(segment, config)
    day.go_badly(1)
    assert day.at(0) == set()  # that was before anybody looked
    day.go_badly(2)
    assert day.at(9.999) == set()
    assert day.at(10) == {2}
    day.go_badly(2)
    assert day.at(19.999) == {2}
    assert day.at(25) == {2}
    assert [day.at(seconds) for seconds in (34.999, 35, 44.999, 45)] == [{2}, {2}, {2}, set()]


def test_the_first_look_finds_whom_a_predecessor_has_ejected(segment: Segment, config: Config) -> None:
    day = Day(segment, config)
    day.cells.decide(day.slot(1), EJECTED, 0, 10**12 - 25 * S)
    assert day.at(0) == {1}
    assert [day.at(seconds) for seconds in (4.9, 10)] == [{1}, set()]


def test_runs_are_looked_at_every_50_ms_and_the_end_of_an_interval_is_not_overslept(
    segment: Segment, config: Config
) -> None:
    day = Day(segment, config)
    day.at(0)
    assert day.pause_s == LOOK_AT_RUNS_S == 0.05
    day.at(9.98)
    assert day.pause_s == pytest.approx(0.02)
    day.watching.words.add(day.team.subjects[2].runs[0].word, 5)
    assert day.at(9.99) == {2}


def test_the_second_kind_of_run_has_a_number_and_a_reason_of_its_own(segment: Segment, config: Config) -> None:
    rules = msgspec.structs.replace(RULES, consecutive_5xx=7, consecutive_gateway_failure=3)
    day = Day(segment, config, rules)
    day.at(0)
    errors, gateway = day.team.subjects[2].runs
    assert errors.word != gateway.word
    day.watching.words.add(errors.word, 6)
    day.watching.words.add(gateway.word, 2)
    assert day.at(0.05) == set()
    day.watching.words.add(gateway.word, 1)
    assert day.at(0.1) == {2}
    assert str(Reason.decode(day.cells.reason(day.slot(2)))) == "3 gateway failures in a row"
    assert day.watching.words.load(gateway.word) == 0


def test_runs_that_are_not_to_count_are_not_looked_at(segment: Segment, config: Config) -> None:
    rules = msgspec.structs.replace(RULES, consecutive_5xx=0, consecutive_gateway_failure=0)
    assert all(subject.runs == () for subject in Day(segment, config, rules).team.subjects)


def tasks_of(story: Callable[[Outliers], Awaitable[None]], segment: Segment, failed: list[None]) -> None:
    async def play() -> None:
        async with asyncio.timeout(20):
            watcher = Outliers(segment, Failures(lambda: failed.append(None)))
            await story(watcher)
            watcher.stop()
            await asyncio.sleep(0)
            assert not tasks()

    asyncio.run(play())


def test_each_cluster_with_rules_is_watched_once_and_a_reload_that_changes_nothing_changes_nothing(
    segment: Segment, config: Config
) -> None:
    game = Game(segment, config)

    async def story(watcher: Outliers) -> None:
        watcher.follow(game.config, game.slots)
        first = tasks()
        assert len(first) == 1
        watcher.follow(game.config, game.slots)
        assert tasks() == first
        gentler = msgspec.structs.replace(game.cluster, outlier_detection=OutlierDetection())
        watcher.follow(msgspec.structs.replace(config, clusters=(gentler,)), game.slots)
        await asyncio.sleep(0)
        assert len(tasks()) == 1
        assert tasks() != first

    tasks_of(story, segment, [])


def test_a_run_that_another_cluster_or_rule_still_looks_at_is_kept(segment: Segment, config: Config) -> None:
    game = Game(segment, config)
    word = game.team.subjects[2].runs[0].word
    game.watching.words.add(word, 3)

    async def story(watcher: Outliers) -> None:
        watcher.follow(game.config, game.slots)
        gentler = msgspec.structs.replace(game.cluster, outlier_detection=OutlierDetection())
        watcher.follow(msgspec.structs.replace(config, clusters=(gentler,)), game.slots)
        assert game.watching.words.load(word) == 3

    tasks_of(story, segment, [])


def test_a_look_that_fails_is_counted_and_followed_by_the_next(
    segment: Segment, config: Config, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    game = Game(segment, config)
    failed: list[None] = []
    look = Watching.look_at_runs

    def broken(self: Watching, now_ns: int) -> None:
        if not failed:
            raise RuntimeError("it is broken")
        look(self, now_ns)

    monkeypatch.setattr(Watching, "look_at_runs", broken)
    game.watching.words.add(game.team.subjects[2].runs[0].word, 5)

    async def story(watcher: Outliers) -> None:
        watcher.follow(game.config, game.slots)
        await until(lambda: game.out() == {2})

    tasks_of(story, segment, failed)
    assert len(failed) == 1
    assert "outlier detection in cluster app failed; it is tried again in 1 s" in caplog.text

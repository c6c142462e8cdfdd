"""Ejections as they are written: intervals are looked at by hand, with a clock of the test's own."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable

import msgspec
import pytest

from shardproxy.config.schema import Cluster, Config, Endpoint, OutlierDetection
from shardproxy.config.units import Address
from shardproxy.controller.failures import Failures
from shardproxy.controller.outliers import LOOK_AT_RUNS_S, Outliers, Team, Watching, team
from shardproxy.controller.reasons import Reason, Why
from shardproxy.shm.decisions import CHECKED, EJECTED, FAILED_CHECK, Decisions
from shardproxy.shm.metrics import Metrics
from shardproxy.shm.segment import Segment
from shardproxy.shm.slots import Slots
from shardproxy.shm.words import Words
from shardproxy.supervisor.catalog import assign
from tests.unit.controller.counting import tasks, until

S = 10**9
ENDPOINTS = 6
RULES = OutlierDetection(failure_percentage=50, max_ejection_percent=20)


class Game:
    """Six endpoints whose counters the test moves as workers would."""

    def __init__(self, segment: Segment, config: Config, rules: OutlierDetection = RULES) -> None:
        endpoints = tuple(Endpoint(address=Address("127.0.0.1", port)) for port in range(1, ENDPOINTS + 1))
        self.cluster = Cluster(name="app", endpoints=endpoints, outlier_detection=rules)
        self.config = msgspec.structs.replace(config, clusters=(self.cluster,))
        self.slots = Slots(msgspec.structs.replace(segment.capacities, histograms=20))
        assign(self.config, self.slots)
        self.cells, self.worker = Decisions(segment), Metrics(segment, 3)
        self.team: Team = team(self.cluster, self.slots)
        self.watching = Watching(self.team, Metrics(segment, 0), self.cells, Words(segment))
        self.now_ns = time.monotonic_ns()
        self.watching.begin(self.now_ns)

    def slot(self, index: int) -> int:
        return self.team.subjects[index].slot

    def out(self) -> set[int]:
        return {index for index in range(ENDPOINTS) if self.cells.is_out(self.slot(index))}

    def count(self, index: int, name: str, count: int) -> None:
        self.worker.count(getattr(self.team.subjects[index], name), count)

    def interval(self, *bad: int, kind: str = "errors", seconds: int = 10) -> set[int]:
        """A hundred requests to each that is not out, all of which go wrong at the `bad` ones; who is out then."""
        for index in set(range(ENDPOINTS)) - self.out():
            if index in bad and kind == "unreached":
                self.count(index, "unreached", 100)
                continue
            self.count(index, "requests", 100)
            if index in bad:
                self.count(index, kind, 100)
        self.now_ns += seconds * S
        self.watching.look(self.now_ns)
        return self.out()


@pytest.fixture
def game(segment: Segment, config: Config) -> Game:
    return Game(segment, config)


@pytest.mark.parametrize("kind", ["errors", "failures", "unreached"])
def test_whatever_goes_wrong_counts(kind: str, game: Game, caplog: pytest.LogCaptureFixture) -> None:
    assert game.interval() == set()
    assert game.interval(2, kind=kind) == {2}
    assert Reason.decode(game.cells.reason(game.slot(2))).why in (Why.SUCCESS_RATE, Why.FAILURE_PERCENTAGE)
    assert "cluster app, endpoint 127.0.0.1:3 is ejected for 30 s" in caplog.text


def test_it_is_let_in_again_when_its_time_is_over_and_out_longer_the_next_time(game: Game) -> None:
    assert game.interval(2) == {2}
    assert [game.interval(2) for _ in range(2)] == [{2}, {2}]  # 20 s have gone
    assert game.interval(2) == set()
    assert Reason.decode(game.cells.reason(game.slot(2))).why is Why.SERVED
    game.watching.records[game.slot(2)].times = 1
    assert game.interval(2) == {2}
    assert [game.interval(2) for _ in range(6)] == [{2}] * 5 + [set()]


def test_good_intervals_make_the_next_time_shorter(game: Game) -> None:
    game.watching.records[game.slot(1)].times = 3
    for left in (2, 1, 0, 0):
        game.interval()
        assert game.watching.records[game.slot(1)].times == left


def test_no_more_than_allowed_are_out_at_a_time(game: Game) -> None:
    assert len(game.interval(0, 1, 2, 3)) == 1  # 20 % of six


def test_what_was_counted_before_the_first_interval_does_not_matter(segment: Segment, config: Config) -> None:
    first = Game(segment, config)
    first.count(0, "requests", 1000)
    first.count(0, "errors", 1000)
    second = Game(segment, config)
    assert second.interval() == set()


def test_more_failures_than_requests_are_all_of_them(game: Game) -> None:
    game.count(0, "errors", 300)
    assert game.interval(0) == {0}


def test_a_successor_lets_in_whom_its_predecessor_has_ejected(segment: Segment, config: Config) -> None:
    first = Game(segment, config)
    assert first.interval(4) == {4}
    second = Game(segment, config)
    second.now_ns = first.now_ns
    assert second.out() == {4}
    assert [second.interval() for _ in range(4)][-1] == set()


def test_ejection_and_checks_do_not_overwrite_each_other(game: Game) -> None:
    game.cells.decide(game.slot(2), CHECKED, 0, 1)
    game.interval(2)
    assert game.cells.flags(game.slot(2)) == CHECKED | EJECTED
    game.cells.decide(game.slot(2), CHECKED | EJECTED | FAILED_CHECK, 0, 1)
    for _ in range(4):
        game.interval()
    assert game.cells.flags(game.slot(2)) == CHECKED | FAILED_CHECK


def test_what_is_not_watched_any_more_is_let_in(segment: Segment, config: Config) -> None:
    game = Game(segment, config)
    game.interval(2)
    assert game.out() == {2}

    async def story() -> None:
        watcher = Outliers(segment, Failures())
        watcher.follow(game.config, game.slots)
        assert game.out() == {2}
        unwatched = msgspec.structs.replace(game.cluster, outlier_detection=None)
        watcher.follow(msgspec.structs.replace(config, clusters=(unwatched,)), game.slots)
        assert game.out() == set()
        watcher.stop()

    asyncio.run(story())


def run_of(game: Game, index: int, length: int) -> set[int]:
    """So many failures in a row, as workers count them; who is out after the next look at runs."""
    game.watching.words.add(game.team.subjects[index].runs[0].word, length)
    game.watching.look_at_runs(game.now_ns)
    return game.out()


def test_the_fifth_failure_in_a_row_ejects_without_waiting_for_the_interval(game: Game) -> None:
    assert run_of(game, 2, 4) == set()
    assert run_of(game, 2, 1) == {2}
    assert str(Reason.decode(game.cells.reason(game.slot(2)))) == "5 failures in a row"


def test_who_may_not_be_ejected_begins_a_new_run(game: Game) -> None:
    assert run_of(game, 2, 5) == {2}
    assert run_of(game, 3, 5) == {2}  # 20 % of six
    assert game.watching.words.load(game.team.subjects[3].runs[0].word) == 0


def test_what_fails_during_an_ejection_does_not_count_after_it(game: Game) -> None:
    assert run_of(game, 2, 5) == {2}
    assert run_of(game, 2, 9) == {2}
    assert [game.interval() for _ in range(3)] == [{2}, {2}, set()]
    assert run_of(game, 2, 4) == set()


def test_who_fails_as_soon_as_it_is_back_stays_out_for_longer(game: Game) -> None:
    run_of(game, 2, 5)
    assert [game.interval() for _ in range(3)] == [{2}, {2}, set()]
    assert run_of(game, 2, 5) == {2}
    assert [game.interval() for _ in range(6)] == [{2}] * 5 + [set()]


def test_a_run_nobody_looks_at_any_more_is_forgotten(segment: Segment, config: Config) -> None:
    game = Game(segment, config)
    word = game.team.subjects[2].runs[0].word
    game.watching.words.add(word, 3)

    async def story() -> None:
        watcher = Outliers(segment, Failures())
        watcher.follow(game.config, game.slots)
        watcher.follow(msgspec.structs.replace(config, clusters=()), game.slots)
        watcher.stop()

    asyncio.run(story())
    assert game.watching.words.load(word) == 0


class Day(Game):
    """The same, but looked at whenever the clock of the test says so."""

    def __init__(self, segment: Segment, config: Config, rules: OutlierDetection = RULES) -> None:
        super().__init__(segment, config, rules)
        metrics, words = Metrics(segment, 0), Words(segment)
        self.watching = Watching(self.team, metrics, self.cells, words, clock=lambda: self.now_ns)
        self.pause_s = 0.0

    def at(self, seconds: float) -> set[int]:
        """So long after the beginning; who is out then."""
        self.now_ns = 10**12 + round(seconds * S)
        self.pause_s = asyncio.run(self.watching.turn())
        return self.out()

    def go_badly(self, index: int) -> None:
        for each in range(ENDPOINTS):
            self.count(each, "requests", 100)
        self.count(index, "errors", 100)


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


def test_runs_of_all_endpoints_are_forgotten_when_an_ejection_is_over(game: Game) -> None:
    words = [run.word for run in game.team.subjects[2].runs]
    game.interval(2)
    for word in words:
        game.watching.words.store(word, 2)
    for _ in range(3):
        game.interval()
    assert [game.watching.words.load(word) for word in words] == [0] * len(words)


def test_lines_say_who_for_how_long_and_why(game: Game, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("DEBUG")
    game.interval(2, 3)
    for _ in range(3):
        game.interval()
    lines = [record.getMessage() for record in caplog.records if "127.0.0.1" in record.getMessage()]
    assert lines == [
        "cluster app, endpoint 127.0.0.1:3 is ejected for 30 s: 100 % of its requests fail",
        "cluster app, endpoint 127.0.0.1:4 is not ejected, since too many others are: 100 % of its requests fail",
        "cluster app, endpoint 127.0.0.1:3 is let in again",
    ]


def test_the_reason_and_the_time_of_an_ejection_stand_in_the_cell(game: Game) -> None:
    game.interval(2)
    assert game.cells.since_ns(game.slot(2)) == game.now_ns
    before = game.now_ns
    for _ in range(3):
        game.interval()
    assert game.cells.since_ns(game.slot(2)) == before + 30 * S


def test_a_counter_that_went_back_is_no_request(game: Game) -> None:
    game.interval()
    record = game.watching.records[game.slot(2)]
    record.requests += 500
    record.bad += 700
    assert game.interval() == set()


def test_who_has_had_no_request_is_not_judged(segment: Segment, config: Config) -> None:
    rules = msgspec.structs.replace(RULES, failure_percentage_requests=0)
    game = Game(segment, config, rules)
    game.now_ns += 10 * S
    game.watching.look(game.now_ns)
    assert game.out() == set()


def test_a_predecessors_ejection_ends_no_later_than_one_of_the_first_kind_from_now(
    segment: Segment, config: Config
) -> None:
    first = Game(segment, config)
    first.cells.decide(first.slot(4), EJECTED, 0, first.now_ns + 3600 * S)  # a clock that was wrong
    second = Game(segment, config)
    second.now_ns = first.now_ns
    assert second.watching.records[second.slot(4)].until_ns <= time.monotonic_ns() + 30 * S
    assert second.watching.records[second.slot(4)].times == 1


def test_what_is_known_of_endpoints_outlives_a_change_of_the_rules(segment: Segment, config: Config) -> None:
    game = Game(segment, config)
    game.interval(2)
    again = Watching(game.team, game.watching.metrics, game.cells, game.watching.words, game.watching.records)
    again.begin(game.now_ns)
    assert game.watching.records[game.slot(2)].times == 1
    game.watching = again
    assert [game.interval() for _ in range(3)][-1] == set()


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

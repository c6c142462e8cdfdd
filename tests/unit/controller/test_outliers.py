"""Ejections as they are written: intervals are looked at by hand, with a clock of the test's own."""

from __future__ import annotations

import asyncio
import time

import msgspec
import pytest

from shardproxy.config.schema import Cluster, Config, Endpoint, OutlierDetection
from shardproxy.config.units import Address
from shardproxy.controller.failures import Failures
from shardproxy.controller.outliers import Outliers, Team, Watching, team
from shardproxy.controller.reasons import Reason, Why
from shardproxy.shm.decisions import CHECKED, EJECTED, FAILED_CHECK, Decisions
from shardproxy.shm.metrics import Metrics
from shardproxy.shm.segment import Segment
from shardproxy.shm.slots import Slots
from shardproxy.shm.words import Words
from shardproxy.supervisor.catalog import assign

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

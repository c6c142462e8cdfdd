"""Ejections as they are written: intervals are looked at by hand, with a clock of the test's own."""

from __future__ import annotations

import asyncio
import time

import msgspec
import pytest

from shardproxy.config.schema import Config
from shardproxy.controller.failures import Failures
from shardproxy.controller.outliers import Outliers, Watching
from shardproxy.controller.reasons import Reason, Why
from shardproxy.shm.decisions import CHECKED, EJECTED, FAILED_CHECK
from shardproxy.shm.segment import Segment
from tests.unit.controller.outlier_game import RULES, Game, S


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

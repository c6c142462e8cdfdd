"""Operations: one at a time, the others wait in their order, and none is forgotten."""

from __future__ import annotations

import signal
from pathlib import Path

import pytest

from shardproxy.config.load import load
from shardproxy.control.messages import Answer, Applied, Ask, Commit, Drain, Prepare, Prepared, Wish
from shardproxy.supervisor.operations import MAX_WAITING, NEWS
from shardproxy.supervisor.state import Phase
from tests.unit.supervisor.stage import Stage, replaced, staged

RESTART, RELOAD = signal.SIGUSR2, signal.SIGHUP
MORE, FEWER = signal.SIGTTIN, signal.SIGTTOU


def reload_is_done(stage: Stage) -> None:
    """All children take the configuration over that they are offered."""
    for child in stage.living():
        child.say(*(Prepared(offer.version) for offer in child.told(Prepare)))
    stage.step()
    for child in stage.living():
        child.say(*(Applied(order.version) for order in child.told(Commit)))
    stage.step()


# One at a time


def test_the_outcome_is_answered_to_the_asker_logged_and_told_to_every_controller(stage: Stage) -> None:
    controller = stage.ask("scale", 600, id=9)
    sentence = "there can be 1 to 512 workers, not 600"
    assert controller.everything() == [Answer(9, False, sentence), Answer(NEWS, False, f"scale: {sentence}")]
    assert stage.said(f"scale: {sentence}", "ERROR")


def test_what_is_done_is_logged_as_information(stage: Stage) -> None:
    stage.ask("scale", 2)
    assert stage.said("scale: 2 workers", "INFO")


def test_the_next_begins_when_the_former_is_over(restarting: Stage) -> None:
    controller = restarting.ask("scale", 3)
    assert len(restarting.home.workers) == 2
    restarting.preflights[0].fails("it does not import")
    restarting.step()
    assert len(restarting.home.workers) == 3
    restarting.all_get_ready()
    assert controller.answers() == [Answer(7, True, "3 workers")]


def test_they_are_done_in_the_order_in_which_they_were_asked_for(restarting: Stage) -> None:
    controller = restarting.current("controller")
    controller.say(Ask(1, "scale", 601), Ask(2, "reload"), Ask(3, "scale", 602))
    restarting.step()
    restarting.preflights[0].fails("no")
    restarting.step()
    assert [answer.id for answer in controller.answers()] == [1]
    reload_is_done(restarting)
    assert [answer.id for answer in controller.answers()] == [1, 2, 3]


def test_before_all_workers_have_been_ready_operations_wait(tmp_path: Path) -> None:
    with staged(tmp_path, is_serving=False) as stage:
        stage.signal(RESTART)
        assert not stage.preflights
        stage.all_get_ready()
        assert len(stage.preflights) == 1


def test_what_waits_is_told_of(restarting: Stage) -> None:
    restarting.signal(RELOAD)
    assert restarting.said("reload waits until the restart that is under way is over")


def test_more_than_may_wait_are_told_to_ask_again(restarting: Stage) -> None:
    controller = restarting.current("controller")
    controller.say(*(Ask(number, "scale", 3) for number in range(1, MAX_WAITING + 2)))
    restarting.step()
    text = "16 operations are waiting already; ask again"
    assert controller.answers() == [Answer(MAX_WAITING + 1, False, text, is_again=True)]
    assert restarting.said(f"scale: {text}", "WARNING")


def test_a_signal_is_heard_however_many_wait(restarting: Stage) -> None:
    controller = restarting.current("controller")
    controller.say(*(Ask(number, "scale", 600) for number in range(1, MAX_WAITING + 1)))
    restarting.step()
    restarting.signal(RELOAD)
    restarting.preflights[0].fails("no")
    restarting.step()
    assert len(controller.answers()) == MAX_WAITING
    assert controller.told(Prepare)


# Many at once


@pytest.mark.parametrize("what", ["reload", "restart"])
def test_those_that_wait_for_the_same_are_done_as_one_and_all_are_answered(what: Wish, restarting: Stage) -> None:
    controller = restarting.current("controller")
    controller.say(*(Ask(number, what) for number in (1, 2, 3)))
    restarting.step()
    restarting.preflights[0].fails("no")
    restarting.step()
    if what == "reload":
        reload_is_done(restarting)
    else:
        restarting.preflights[1].fails("no")
        restarting.step()
    assert [answer.id for answer in controller.answers()] == [1, 2, 3]
    assert restarting.log.count("INFO " + f"{what} is asked for again while one waits; both are done as one") == 1
    assert restarting.log.count("INFO " + f"{what} begins; it was asked for 3 times and is done once") == 1
    assert restarting.log.count(f"DEBUG {what} is asked for again while one waits; both are done as one") == 1
    assert len(restarting.preflights) == (1 if what == "reload" else 2)


def test_twenty_signals_at_once_are_one_restart(stage: Stage) -> None:
    stage.signal(*[RESTART] * 20)
    stage.preflights[0].fails("no")
    stage.step()
    assert len(stage.preflights) == 1


def test_twenty_signals_while_one_is_under_way_are_one_more(restarting: Stage) -> None:
    for _ in range(20):
        restarting.signal(RESTART)
    restarting.preflights[0].fails("no")
    restarting.step()
    restarting.preflights[1].fails("no")
    restarting.step()
    assert len(restarting.preflights) == 2


def test_a_reload_that_has_begun_does_not_stand_for_one_that_is_asked_for_later(stage: Stage) -> None:
    stage.signal(RELOAD)
    stage.signal(RELOAD)
    for version in (2, 3):
        reload_is_done(stage)
        assert stage.home.version == version


def test_every_step_of_scaling_counts(restarting: Stage) -> None:
    restarting.signal(MORE, MORE)
    restarting.signal(MORE, FEWER)
    restarting.preflights[0].fails("no")
    restarting.step()
    assert len(restarting.home.workers) == 4
    assert restarting.said("scale begins; it was asked for 4 times and is done once")


@pytest.mark.parametrize(("mark", "reached"), [(FEWER, 1), (MORE, 512)])
def test_too_many_steps_lead_to_the_last_one_that_there_is(mark: signal.Signals, reached: int, stage: Stage) -> None:
    controller = stage.current("controller")
    stage.signal(*[mark] * 600)
    stage.pass_time(0.3)
    if mark is FEWER:
        assert len(stage.home.workers) == reached
    else:
        assert "the shared memory has rows for" in controller.told(Answer)[0].text


def test_a_number_of_workers_is_no_step_and_is_not_joined(restarting: Stage) -> None:
    controller = restarting.current("controller")
    restarting.signal(MORE)
    controller.say(Ask(1, "scale", 600), Ask(2, "scale", 601))
    restarting.step()
    restarting.signal(FEWER)
    restarting.preflights[0].fails("no")
    restarting.step()
    assert [answer.id for answer in controller.answers()] == [1, 2]
    assert len(restarting.home.workers) == 2


# Over a hot restart


def test_what_waits_behind_a_hot_restart_is_done_by_the_new_code(restarting: Stage) -> None:
    controller = restarting.ask("reload", id=5)
    controller.say(Ask(6, "scale", 3))
    restarting.step()
    restarting.signal(MORE)
    with replaced(restarting) as new:
        assert restarting.said("reload waits; the new code does it after the hot restart")
        new.serve()
        assert restarting.said("reload begins")
        reload_is_done(new)
        new.all_get_ready()
        new.all_get_ready()
        assert [(answer.id, answer.is_done) for answer in controller.answers()] == [(5, True), (6, True)]
        assert len(new.home.workers) == 4


def test_many_hot_restarts_at_once_are_one_and_one_more_by_the_new_code(restarting: Stage) -> None:
    for number in range(1, 9):
        restarting.ask("restart", id=number)
        restarting.signal(RESTART)
    controller = restarting.current("controller")
    with replaced(restarting) as new:
        new.signal(*[RESTART] * 5)
        new.serve()
        new.preflights[0].fails("no")
        new.step()
        assert len(new.preflights) == 1
        assert new.said("restart begins; it was asked for 21 times and is done once")
        assert [answer.id for answer in controller.answers()] == [*range(1, 9)]


def test_all_who_have_asked_for_the_hot_restart_itself_are_answered_by_the_new_code(stage: Stage) -> None:
    controller = stage.current("controller")
    controller.say(*(Ask(number, "restart") for number in (1, 2, 3)))
    stage.step()
    with replaced(stage) as new:
        new.serve()
        sentence = "generation 2 serves; 2 former workers drain"
        assert controller.answers() == [Answer(number, True, sentence) for number in (1, 2, 3)]


def test_a_change_of_endpoints_that_waits_is_to_be_asked_for_again(restarting: Stage) -> None:
    controller = restarting.ask("endpoints", id=4)
    with replaced(restarting):
        pass
    text = "a hot restart replaces the code now; ask again"
    assert controller.answers() == [Answer(4, False, text, is_again=True)]
    assert not restarting.said("endpoints waits until the restart that is under way is over")


def test_a_signal_that_has_arrived_but_was_not_acted_on_is_left_to_the_new_code(restarting: Stage) -> None:
    restarting.preflights[0].at_the_last_look = lambda: restarting.marks.put_back([MORE])
    with replaced(restarting) as new:
        new.serve()
        new.all_get_ready()
        assert len(new.home.workers) == 3


def test_a_drain_that_comes_in_that_moment_is_for_both_generations_and_for_all_who_wait(restarting: Stage) -> None:
    controller = restarting.ask("reload")
    restarting.preflights[0].at_the_last_look = lambda: restarting.marks.put_back([signal.SIGTERM])
    with replaced(restarting) as new:
        new.step()
        assert new.phase() is Phase.LEAVING
        assert controller.answers() == [Answer(7, False, "the proxy is draining")]
        new.pass_time(4)
        assert all(child.told(Drain) for child in new.living() if child.name != "controller")


def test_a_signal_that_has_arrived_is_acted_on_when_the_new_code_cannot_be_executed(restarting: Stage) -> None:
    restarting.execute_fails = OSError(2, "No such file or directory")
    restarting.preflights[0].at_the_last_look = lambda: restarting.marks.put_back([RELOAD])
    restarting.preflights[0].succeeds(load(restarting.file))
    restarting.step()
    restarting.step()
    assert restarting.current("controller").told(Prepare)


# The end


def test_when_the_proxy_drains_what_waits_is_refused_and_what_runs_is_given_up(restarting: Stage) -> None:
    controller = restarting.ask("scale", 3)
    restarting.signal(signal.SIGTERM)
    assert restarting.preflights[0].was_ended_by_us
    assert controller.answers() == [Answer(7, False, "the proxy is draining")]
    assert controller.told(Answer)[0] == Answer(NEWS, False, "restart: the proxy is draining")


def test_afterwards_operations_are_refused_with_the_reason(stage: Stage) -> None:
    stage.signal(signal.SIGTERM)
    controller = stage.ask("reload")
    sentence = "not now: everything is served, but whoever asks whether it is ready is told no"
    assert controller.answers() == [Answer(7, False, sentence)]


def test_a_drain_does_not_wait_for_its_turn(restarting: Stage) -> None:
    controller = restarting.ask("drain")
    sentence = "everything is served, but whoever asks whether it is ready is told no"
    assert controller.answers() == [Answer(7, True, sentence)]
    again = restarting.ask("drain", id=8)
    assert again.answers()[-1] == Answer(8, True, sentence)


def test_an_operation_for_which_there_is_no_memory_is_answered_and_the_supervisor_goes_on(tmp_path: Path) -> None:
    with staged(tmp_path) as stage:
        stage.has_memory = False
        controller = stage.ask("restart")
        sentence = "the supervisor has no memory for it; ask again"
        assert Answer(7, False, sentence, is_again=True) in controller.answers()
        assert len(stage.pauses) == 1
        stage.has_memory = True
        stage.ask("restart")
        assert len(stage.preflights) == 1

from __future__ import annotations

from shardproxy.supervisor.watch import LAST_CHANCE_NS, Verdict, Watch

BORN = 1_000
PATIENCE = 500


def watch() -> Watch:
    return Watch(PATIENCE, BORN)


def test_one_that_has_not_beaten_yet_is_trusted_from_its_birth_on() -> None:
    assert watch().look(0, BORN + PATIENCE - 1) is Verdict.NOTHING
    assert watch().look(0, BORN + PATIENCE) is Verdict.ASK


def test_beats_keep_the_trust() -> None:
    one = watch()
    for now in range(BORN, BORN + 10 * PATIENCE, PATIENCE // 2):
        assert one.look(now - 1, now) is Verdict.NOTHING


def test_it_is_asked_once_and_killed_when_the_last_chance_is_over() -> None:
    one, asked = watch(), BORN + PATIENCE
    verdicts = [one.look(BORN, now) for now in (asked, asked + 1, asked + LAST_CHANCE_NS - 1, asked + LAST_CHANCE_NS)]
    assert verdicts == [Verdict.ASK, Verdict.NOTHING, Verdict.NOTHING, Verdict.KILL]


def test_one_that_beats_again_is_trusted_again() -> None:
    one, asked = watch(), BORN + PATIENCE
    assert one.look(BORN, asked) is Verdict.ASK
    assert one.look(asked + 5, asked + 6) is Verdict.RELIEVED
    assert one.look(asked + 5, asked + PATIENCE) is Verdict.NOTHING
    assert one.look(asked + 5, asked + 5 + PATIENCE) is Verdict.ASK


def test_a_row_that_another_process_had_before_does_not_make_it_older() -> None:
    assert watch().look(BORN - 400, BORN + PATIENCE - 1) is Verdict.NOTHING


def test_it_tells_when_it_has_to_be_looked_at_again() -> None:
    one = watch()
    assert (one.due_ns(), repr(one)) == (BORN + PATIENCE, "<Watch trusting>")
    one.look(BORN + 100, BORN + 100)
    assert one.due_ns() == BORN + 100 + PATIENCE
    one.look(BORN + 100, BORN + 700)
    assert (one.due_ns(), repr(one)) == (BORN + 700 + LAST_CHANCE_NS, "<Watch asked>")
    assert one.silent_ns(BORN + 900) == 800

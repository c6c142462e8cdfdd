"""The fuzzer itself: it repeats itself, finds what is planted, and its report can be used."""

from __future__ import annotations

import pytest

from tests.fuzz import invariants
from tests.fuzz.mutate import main, reproduce, run


def test_a_short_run_finds_nothing() -> None:
    tally = run(seed=1, inputs=4000)
    assert tally.violation == ""
    assert tally.inputs == 4000
    assert tally.accepted > 200


def test_the_same_seed_makes_the_same_run() -> None:
    first, second = run(seed=7, inputs=500), run(seed=7, inputs=500)
    assert first._replace(seconds=0) == second._replace(seconds=0)


def test_a_run_ends_when_its_time_is_up() -> None:
    assert run(seed=1, seconds=0.1).seconds < 5


def test_a_planted_violation_is_found_and_its_input_reproduces_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(invariants, "EXCEPTIONS", ())
    tally = run(seed=3, inputs=4000)
    assert "llhttp" in tally.violation or "h11" in tally.violation
    assert reproduce(tally.reproducer) == tally.violation


def test_a_violation_is_printed_with_its_input_and_ends_with_exit_code_1(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(invariants, "EXCEPTIONS", ())
    assert main(["--inputs", "4000", "--seed", "3"]) == 1
    error = capsys.readouterr().err
    assert error.startswith("VIOLATION: ")
    text = error.split("input: ")[1].strip()
    assert main(["--reproduce", text]) == 1


def test_a_clean_run_says_how_many_inputs_it_took(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--inputs", "300", "--seed", "3"]) == 0
    assert capsys.readouterr().out.startswith("seed 3: 300 inputs in ")


@pytest.mark.parametrize("text", ["nonsense", "request:0g", "answer:00"])
def test_an_input_that_is_none_is_told_in_a_sentence(text: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as left:
        main(["--reproduce", text])
    assert left.value.code == 2
    assert "is not WHAT:HEX or WHAT:HEX:METHOD" in capsys.readouterr().err

"""What is made of mutmut's files."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.mutants.results import SKIPPED, File, forget_survivors, read, table, verdict, write_survivors

PREFIX = "shardproxy.limits.pace.x_wait__mutmut_"


@pytest.fixture
def place(tmp_path: Path) -> Path:
    """A run of two files: one with four mutants, of which two were noticed, and one with a single mutant."""
    room = tmp_path / "mutants" / "shardproxy" / "limits"
    room.mkdir(parents=True)
    write(room, "pace.py", {f"{PREFIX}1": 1, f"{PREFIX}2": 36, f"{PREFIX}3": 0, f"{PREFIX}4": 33})
    write(room, "other.py", {"shardproxy.limits.other.x_a__mutmut_1": None})
    (room / "pace.py").write_text("def x_wait__mutmut_orig():\n    return 1\ndef x_wait__mutmut_3():\n    return 2\n")
    spans = {"x_wait__mutmut_orig": [1, 2], "x_wait__mutmut_3": [3, 4]}
    (room / "pace.py.spans").write_text(json.dumps({"spans": spans}))
    return tmp_path


def write(room: Path, name: str, codes: dict[str, int | None]) -> None:
    (room / f"{name}.meta").write_text(json.dumps({"exit_code_by_key": codes}))


def codes(place: Path) -> list[int | None]:
    return list(read(place, ["pace"])[0].codes.values())


@pytest.mark.parametrize(
    ("code", "word"),
    [(1, "killed"), (3, "killed"), (0, "survived"), (33, "no test"), (36, "too long"), (None, "untried"), (-11, "odd")],
)
def test_exit_codes_are_verdicts(code: int | None, word: str) -> None:
    assert verdict(code) == word


def test_a_mutant_that_takes_too_long_counts_as_noticed_and_one_that_was_not_tried_does_not_count(place: Path) -> None:
    _, other, pace, total = table(read(place, [])).splitlines()
    assert other.split() == ["other.py", "0", "0", "0", "0", "0", "0", "0.0"]
    assert pace.split() == ["pace.py", "4", "1", "1", "1", "1", "0", "50.0"]
    assert total.split() == ["all", "4", "1", "1", "1", "1", "0", "50.0"]


def test_only_what_was_killed_is_not_tried_again(place: Path) -> None:
    assert forget_survivors(place, [])
    assert codes(place) == [1, None, None, None]


def test_other_files_are_left_out(place: Path) -> None:
    assert forget_survivors(place, ["other"])
    assert codes(place) == [1, SKIPPED, SKIPPED, SKIPPED]
    assert not read(place, ["pace"])[0].survivors()


def test_before_the_first_run_there_is_nothing_to_forget(tmp_path: Path) -> None:
    assert not forget_survivors(tmp_path, [])


def test_every_survivor_is_shown_with_its_difference(place: Path) -> None:
    write_survivors(place, [File(each.path, {f"{PREFIX}3": 0}) for each in read(place, ["pace"])])
    said = (place / "survivors.diff").read_text()
    assert said == f"# survived: {PREFIX}3\n def ():\n-    return 1\n+    return 2\n"

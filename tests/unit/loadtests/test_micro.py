"""Instruction counts: how they are compared, what is said when they can't be had, and that a growth ends with 1."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from loadtests.micro.__main__ import CANNOT_COUNT, GREW, TABLE
from loadtests.micro.comparison import Change, Counts, changes
from loadtests.micro.counting import per_operation
from loadtests.micro.run import REPEATS

ROOT = Path(__file__).resolve().parents[3]


def micro(*arguments: str, path: str = os.environ["PATH"]) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "loadtests.micro", *arguments]
    return subprocess.run(
        command, cwd=ROOT, env=os.environ | {"PATH": path}, capture_output=True, text=True, timeout=110, check=False
    )


@pytest.mark.parametrize(
    ("before", "now", "is_growth"),
    [(1000, 1030, False), (1000, 1031, True), (1000, 500, False), (26, 28, False), (26, 29, True), (None, 9, False)],
)
def test_an_operation_may_grow_by_a_few_percent_or_two_instructions(
    before: float | None, now: float, is_growth: bool
) -> None:
    assert Change("one", before, now).is_growth(3) is is_growth


def test_an_operation_that_is_new_or_gone_is_told_and_no_growth() -> None:
    new, gone = changes({"old": 10.0}, {"other": 12.0})
    assert (str(new).split()[-1], str(gone).split()[-1]) == ("new", "gone")
    assert not new.is_growth(3) and not gone.is_growth(3)


def test_the_cost_is_the_difference_of_two_runs_less_that_of_the_empty_loop() -> None:
    empty = [9_999, 50 + 7 * REPEATS, 50 + 14 * REPEATS]
    busy = [123_456, 80 + 107 * REPEATS, 80 + 214 * REPEATS]
    assert per_operation(["nothing", "busy"], empty + busy) == {"busy": 100.0}


def test_a_table_is_read_as_it_was_written_and_tells_other_tools(tmp_path: Path) -> None:
    Counts({"compiler": "gcc 12"}, {"one": 1.5}).write(tmp_path / "table.json")
    kept = Counts.read(tmp_path / "table.json")
    assert kept is not None and kept.instructions == {"one": 1.5}
    assert kept.other_tools({"compiler": "gcc 12"}) == []
    assert kept.other_tools({"compiler": "gcc 13"}) == ["compiler 'gcc 12', here 'gcc 13'"]


def test_the_table_in_the_repository_can_be_read() -> None:
    kept = Counts.read(TABLE)
    assert kept is not None and all(cost > 0 for cost in kept.instructions.values())


def test_without_valgrind_it_says_how_to_get_it(tmp_path: Path) -> None:
    done = micro(path=str(tmp_path))
    assert done.returncode == CANNOT_COUNT
    assert done.stderr == "valgrind is not installed: apt-get install valgrind\n"


@pytest.mark.long
@pytest.mark.skipif(not shutil.which("valgrind"), reason="needs valgrind: apt-get install valgrind")
def test_an_operation_that_has_grown_ends_it_with_1_and_its_name(tmp_path: Path) -> None:
    table = tmp_path / "table.json"
    kept = json.loads(TABLE.read_text())
    kept["instructions"]["bucket by key"] /= 2
    table.write_text(json.dumps(kept))
    done = micro("--table", str(table), "--limit", "50")
    assert done.returncode == GREW, done.stderr
    assert "grew by more than 50 %: bucket by key;" in done.stderr

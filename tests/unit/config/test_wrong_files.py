"""What becomes of a file with errors as a whole: all of them at once, in order, none drawn by another."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.unit.config.test_wrong_configurations import ALL, ENDPOINTS, GOOD, ROUTE, errors_of


def test_all_errors_of_a_file_are_given_at_once_in_the_order_of_lines() -> None:
    text = GOOD.replace("127.0.0.1:8080", "8080").replace("cluster: app", "cluster: ap").replace("5/s", "5")
    lines = [line.split(":")[0] for line in errors_of(text + "worker: 2\n").splitlines()]
    assert lines == ["2", "4", "9", "10"]


@pytest.mark.parametrize(
    ("old", "new", "count"),
    [
        (f"  - name: app\n    endpoints: {ENDPOINTS}\n", "  - app\n", 1),
        ("name: app", "nmae: app", 2),
        ("name: app", "name: a pp", 1),
        (GOOD[GOOD.index("clusters:") : GOOD.index("rate_limits:")], "", 1),
        (ROUTE, ROUTE.replace("prefix: /", "hosts: a.example, prefix: /") + ROUTE, 1),
        (ROUTE, ROUTE.replace("prefix: /", "prefix: a") + ROUTE, 1),
        ("127.0.0.1:8080", "8080", 1),
    ],
)
def test_an_error_does_not_draw_others_after_it(old: str, new: str, count: int) -> None:
    assert old in GOOD
    assert len(errors_of(GOOD.replace(old, new)).splitlines()) == count


def test_a_rate_limit_list_that_cannot_be_read_does_not_make_its_names_unknown() -> None:
    text = GOOD.replace("cluster: app", "cluster: app, rate_limits: [few]").replace("  - {name: few, rate", "  {few")
    assert errors_of(text).splitlines() == [
        "9: rate_limits: found keys and values; this needs a list, each item behind '- ' or all in [ ]"
    ]


def test_more_errors_than_anybody_reads_are_cut() -> None:
    lines = errors_of("".join(f"key{number}: 1\n" for number in range(5000))).splitlines()
    assert len(lines) == 500
    assert lines[-1] == "500: (file): more than 500 errors; the rest is not shown"


@pytest.mark.parametrize("case", ["unknown key", "anchor", "variable not set", "unknown cluster", "empty file"])
def test_the_command_says_it_on_standard_error_and_exits_with_2(case: str, tmp_path: Path) -> None:
    wrong = next(one for one in ALL if one.case == case)
    file = tmp_path / "x.yaml"
    file.write_text(GOOD.replace(wrong.old, wrong.new))
    assert checked(file) == (2, "", "".join(f"{file}:{line}\n" for line in wrong.errors.splitlines()))


@pytest.mark.parametrize("data", [b"\xff\xfe\0", b"\0", b"{" * 100_000, b"? ? ? ?", b"%YAML 9.9\n---\n", b"--- |\n"])
def test_the_command_gives_no_traceback_for_a_file_that_is_something_else(data: bytes, tmp_path: Path) -> None:
    file = tmp_path / "x.yaml"
    file.write_bytes(data)
    code, output, errors = checked(file)
    assert (code, output) == (2, "")
    assert errors.startswith(f"{file}:")
    assert "Traceback" not in errors


def checked(file: Path) -> tuple[int, str, str]:
    """Exit code, standard output and standard error of `shardproxy check`, as a process of its own."""
    environ = {name: value for name, value in os.environ.items() if name != "WORKERS"}
    command = [sys.executable, "-m", "shardproxy", "check", str(file)]
    done = subprocess.run(command, env=environ, capture_output=True, text=True, timeout=30, check=False)
    return done.returncode, done.stdout, done.stderr

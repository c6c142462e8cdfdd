"""The commands as a shell calls them: what they print, where, and with which exit code."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from shardproxy.cli import main

GOOD = """\
listeners:
  - bind: 127.0.0.1:8080
    routes: [{match: {prefix: /}, cluster: app}]
clusters:
  - {name: app, endpoints: [127.0.0.1:9001]}
"""
BAD = GOOD.replace("cluster: app", "cluster: nobody").replace("bind: 127.0.0.1:8080", "bind: 127.0.0.1:99999")


def called(*arguments: str) -> Result:
    result = CliRunner().invoke(main, arguments, prog_name="shardproxy")
    assert result.exception is None or isinstance(result.exception, SystemExit), result.exception
    assert "Traceback" not in result.output
    return result


@pytest.fixture
def good(tmp_path: Path) -> Path:
    file = tmp_path / "good.yaml"
    file.write_text(GOOD)
    return file


@pytest.fixture
def bad(tmp_path: Path) -> Path:
    file = tmp_path / "bad.yaml"
    file.write_text(BAD)
    return file


def test_check_says_ok_for_a_valid_file(good: Path) -> None:
    result = called("check", str(good))
    assert (result.exit_code, result.stdout, result.stderr) == (0, f"{good}: ok\n", "")


@pytest.mark.parametrize("command", ["check", "run"])
def test_a_wrong_file_gives_one_line_per_error_and_exit_code_2(command: str, bad: Path) -> None:
    result = called(command, str(bad))
    assert (result.exit_code, result.stdout) == (2, "")
    lines = result.stderr.splitlines()
    assert [line.partition(": ")[0] for line in lines] == [f"{bad}:2", f"{bad}:3"]
    assert "99999" in lines[0]
    assert "nobody" in lines[1]


@pytest.mark.parametrize("command", ["check", "run"])
def test_a_file_that_is_not_there_is_named(command: str, tmp_path: Path) -> None:
    result = called(command, str(tmp_path / "none.yaml"))
    assert result.exit_code == 2
    assert result.stderr.startswith(f"{tmp_path}/none.yaml: ")
    assert result.stderr.count("\n") == 1


def test_check_can_read_no_directory(tmp_path: Path) -> None:
    assert called("check", str(tmp_path)).exit_code == 2


def test_schema_is_a_json_schema_of_the_file() -> None:
    result = called("schema")
    assert result.exit_code == 0
    document = json.loads(result.stdout)
    assert {"listeners", "clusters"} <= set(document["properties"])


def test_version_says_name_and_number() -> None:
    result = called("--version")
    assert result.exit_code == 0
    assert result.stdout.startswith("shardproxy, version ")


@pytest.mark.parametrize(
    "arguments",
    [
        ["run"],
        ["check"],
        ["check", "one", "two"],
        ["nonsense"],
        ["--nonsense"],
        ["demo", "--port", "0"],
        ["demo", "--port", "65536"],
        ["demo", "--workers", "none"],
        ["demo", "--seconds", "0"],
        ["demo", "--seconds", "1.5"],
        ["status", "--admin"],
        ["scale"],
        ["scale", "0"],
        ["scale", "513"],
        ["reload", "--timeout", "0"],
        ["reload", "--timeout", "nan"],
        ["restart", "--timeout", "inf"],
        ["drain", "now"],
    ],
    ids=" ".join,
)
def test_bad_usage_is_exit_code_2_and_says_how(arguments: list[str]) -> None:
    result = called(*arguments)
    assert result.exit_code == 2
    assert "\nError: " in f"\n{result.stderr}"


@pytest.mark.parametrize("command", ["run", "check", "schema", "demo", "status", "reload", "restart", "drain", "scale"])
def test_every_command_explains_itself(command: str) -> None:
    result = called(command, "--help")
    assert result.exit_code == 0
    assert f"Usage: shardproxy {command}" in result.stdout


@pytest.mark.parametrize(
    ("admin", "words"),
    [
        ("http://127.0.0.1:1", "no proxy answers at http://127.0.0.1:1: "),
        ("unix:/nowhere/admin.sock", "no proxy answers at unix:/nowhere/admin.sock: "),
        ("127.0.0.1:9901", "neither http://HOST:PORT nor unix:/PATH"),
        ("http://[", "neither http://HOST:PORT nor unix:/PATH"),
        ("http://127.0.0.1:x", "neither http://HOST:PORT nor unix:/PATH"),
        ("ftp://127.0.0.1", "neither http://HOST:PORT nor unix:/PATH"),
        ("http://in valid.example:1", "neither http://HOST:PORT nor unix:/PATH"),
        ("http://a..example:1", "no proxy answers at"),
    ],
)
def test_status_says_in_a_sentence_why_nobody_answers(admin: str, words: str) -> None:
    result = called("status", "--admin", admin)
    assert (result.exit_code, result.stdout) == (1, "")
    assert words in result.stderr
    assert result.stderr.count("\n") == 1


@pytest.mark.parametrize("command", [["reload"], ["restart"], ["drain"], ["scale", "2"]], ids=" ".join)
def test_what_cannot_be_asked_for_is_a_sentence_and_1(command: list[str]) -> None:
    result = called(*command, "--admin", "unix:/nowhere/admin.sock", "--timeout", "86400")
    assert (result.exit_code, result.stdout) == (1, "")
    assert result.stderr == "no proxy answers at unix:/nowhere/admin.sock: No such file or directory\n"


def test_what_runs_before_the_fork_loads_no_event_loop() -> None:
    modules = "shardproxy.cli, shardproxy.config.load, shardproxy.supervisor.main"
    heavy = "{'asyncio', 'uvloop', 'aiohttp', 'rich'}"
    command = [sys.executable, "-c", f"import sys, {modules}; print({heavy} & sys.modules.keys())"]
    assert subprocess.run(command, capture_output=True, text=True, timeout=20).stdout == "set()\n"

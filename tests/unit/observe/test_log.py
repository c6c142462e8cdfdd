from __future__ import annotations

import json
import logging
import os
import re
import subprocess
import sys

import pytest

from shardproxy.observe.log import JsonLines, PlainLines, describe

SPEAK = """
import logging
from shardproxy.config.schema import Log
from shardproxy.observe import log
log.setup(Log(format={format!r}, level={level!r}), "worker 0")
logging.getLogger("x").info("hello %s", "there")
logging.getLogger("x").warning("careful")
"""


def record(message: str, *args: object, error: BaseException | None = None) -> logging.LogRecord:
    exc_info = (type(error), error, error.__traceback__) if error else None
    return logging.LogRecord("shardproxy.test", logging.INFO, __file__, 1, message, args, exc_info)


def caught() -> ValueError:
    try:
        raise ValueError("no such\nthing")
    except ValueError as error:
        return error


def test_a_plain_line_tells_when_how_grave_who_and_what() -> None:
    line = PlainLines("worker 1").format(record("took %d s", 3))
    assert re.fullmatch(rf"\d{{4}}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{{3}}Z INFO worker-1\[{os.getpid()}\] took 3 s", line)


def test_a_json_line_tells_the_same_in_fields() -> None:
    event = json.loads(JsonLines("worker 1").format(record("took %d s", 3)))
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z", event.pop("time"))
    assert event == {
        "level": "INFO",
        "role": "worker 1",
        "pid": os.getpid(),
        "logger": "shardproxy.test",
        "message": "took 3 s",
    }


@pytest.mark.parametrize("text", ["two\nlines", "a\r\nb", "a\x1b[31mred", "a\u2028b", "a\x85b", "nul\0"])
def test_what_is_quoted_cannot_begin_a_line_of_its_own(text: str) -> None:
    for formatter in (PlainLines("x"), JsonLines("x")):
        line = formatter.format(record("%s", text))
        assert "\n" not in line
        assert "\x1b" not in line
    assert len(PlainLines("x").format(record("%s", text)).splitlines()) == 1


def test_an_exception_is_part_of_its_line() -> None:
    line = PlainLines("x").format(record("it failed", error=caught()))
    assert "it failed: ValueError: no such\\nthing (at test_log.py:" in line
    assert "in caught)" in line
    event = json.loads(JsonLines("x").format(record("it failed", error=caught())))
    assert event["message"] == "it failed"
    assert event["error"].startswith("ValueError: no such\nthing (at ")


def test_an_exception_that_was_never_raised_has_no_places() -> None:
    assert describe(OSError("full")) == "OSError: full"


def test_a_path_that_is_not_text_does_not_spoil_the_line() -> None:
    odd = os.fsdecode(b"/tmp/\xff")
    assert json.loads(JsonLines("x").format(record("%s", odd)))["message"] == "/tmp/\\udcff"


@pytest.mark.parametrize(("level", "count"), [("info", 2), ("warning", 1), ("error", 0)])
def test_setup_sends_lines_of_the_wanted_level_to_standard_error(level: str, count: int) -> None:
    code = SPEAK.format(format="json", level=level)
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, timeout=30)
    lines = done.stderr.decode().splitlines()
    assert [json.loads(line)["role"] for line in lines] == ["worker 0"] * count
    assert done.stdout == b""


def test_a_log_that_nobody_reads_any_more_stops_nobody() -> None:
    reading, writing = os.pipe()
    os.close(reading)
    code = SPEAK.format(format="plain", level="info") + "\nimport os; os.write(1, b'went on'); os._exit(0)"
    done = subprocess.run([sys.executable, "-c", code], stdout=subprocess.PIPE, stderr=writing, timeout=30)
    os.close(writing)
    assert (done.stdout, done.returncode) == (b"went on", 0)

"""The log: one line per event to standard error, for people (`plain`) or for machines (`json`).

    2026-11-23T03:08:57.123Z INFO supervisor[4711] worker 1 (pid 4713) ended: exit code 3
    {"time":"2026-11-23T03:08:57.123Z","level":"INFO","role":"supervisor","pid":4711,"logger":"...","message":"..."}

An exception becomes part of its line, with the places it came through, so that no traceback spreads over many lines.
The only text here that is not one line per event are the stacks that `faulthandler` writes of a process that hangs.
"""

from __future__ import annotations

import logging
import sys
import time
import traceback
from typing import TYPE_CHECKING

import msgspec

if TYPE_CHECKING:
    from shardproxy.config.schema import Log

_ESCAPES = {code: repr(chr(code))[1:-1] for code in (*range(0x20), *range(0x7F, 0xA0), 0x2028, 0x2029)}


def setup(settings: Log, role: str) -> None:
    """Send everything that is logged in this process to standard error, as `settings` (the file's `log:`) say.

    `role` is who speaks in each line: `supervisor`, `worker 0`, `controller`.  Called again, it replaces what the call
    before had set up: a child speaks under its own name after the fork.
    """
    formatter = JsonLines(role) if settings.format == "json" else PlainLines(role)
    handler: logging.Handler = logging.NullHandler() if sys.stderr is None else logging.StreamHandler(sys.stderr)
    handler.setFormatter(formatter)
    logging.basicConfig(handlers=[handler], level=settings.level.upper(), force=True)
    logging.raiseExceptions = False  # whoever reads the log has gone: nobody is left to tell, and work goes on


class PlainLines(logging.Formatter):
    """`TIME LEVEL ROLE[PID] MESSAGE`; control characters are escaped, so one event is one line whatever it quotes."""

    def __init__(self, role: str) -> None:
        super().__init__()
        self._role = role.replace(" ", "-")

    def format(self, record: logging.LogRecord) -> str:
        error = _error(record)
        text = f"{record.getMessage()}: {error}" if error else record.getMessage()
        head = f"{_timestamp(record)} {record.levelname} {self._role}[{record.process}]"
        return f"{head} {text.translate(_ESCAPES)}"


class JsonLines(logging.Formatter):
    """One JSON object per event: time, level, role, pid, logger, message and, if there was an exception, error."""

    def __init__(self, role: str) -> None:
        super().__init__()
        self._role = role
        self._encode = msgspec.json.Encoder().encode

    def format(self, record: logging.LogRecord) -> str:
        event = {
            "time": _timestamp(record),
            "level": record.levelname,
            "role": self._role,
            "pid": record.process,
            "logger": record.name,
            "message": _printable(record.getMessage()),
        }
        if error := _error(record):
            event["error"] = _printable(error)
        return self._encode(event).decode()


def describe(error: BaseException) -> str:
    """`ValueError: no such thing (at main.py:12 in run, load.py:30 in read)`: one line, outermost first."""
    words = "".join(traceback.format_exception_only(error)).strip()
    frames = traceback.extract_tb(error.__traceback__)
    places = ", ".join(f"{frame.filename.rpartition('/')[2]}:{frame.lineno} in {frame.name}" for frame in frames)
    return f"{words} (at {places})" if places else words


def _error(record: logging.LogRecord) -> str:
    error = record.exc_info[1] if record.exc_info else None
    return describe(error) if error else ""


def _timestamp(record: logging.LogRecord) -> str:
    """RFC 3339 in UTC, with milliseconds."""
    return f"{time.strftime('%Y-%m-%dT%H:%M:%S', time.gmtime(record.created))}.{int(record.msecs):03d}Z"


def _printable(text: str) -> str:
    """`text` without lone surrogates, which stand for undecodable bytes of a path and have no place in JSON."""
    return text.encode("utf-8", "backslashreplace").decode()

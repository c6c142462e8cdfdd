"""Exceptions that reach no code of ours: they are counted, logged, and in debug builds end the process.

Python has no caller to raise them to: a destructor failed, or a function in C that can't fail, or a callback of the
event loop, or a task whose result nothing asks for. Each has left something undone, so none may pass in silence.
"""

from __future__ import annotations

import logging
import os
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from types import TracebackType
from typing import TYPE_CHECKING, Any

from shardproxy.shm import names
from shardproxy.shm.debug import IS_DEBUG
from shardproxy.shm.metrics import Metrics
from shardproxy.shm.segment import Segment
from shardproxy.shm.slots import Slots

if TYPE_CHECKING:
    import asyncio
    from sys import UnraisableHookArgs

PERIOD_S = 1.0  # one line in this time

# What the system may refuse at any moment. All other exceptions are faults of the program.
_REFUSALS = (MemoryError, OSError)

logger = logging.getLogger(__name__)


@dataclass
class Lost:
    """A complaint of the event loop, in the shape that `sys.unraisablehook` takes; it may be without an exception."""

    exc_type: type[BaseException]
    exc_value: BaseException | None
    exc_traceback: TracebackType | None
    err_msg: str | None
    object: Any


class Reporter:
    """What `sys.unraisablehook` calls. It never raises, not even without memory: what it then can't do is left out.

    `count` is called for each exception, `abort` in debug builds for those that are faults of the program; `clock`
    tells seconds.
    """

    def __init__(
        self,
        count: Callable[[], object],
        *,
        clock: Callable[[], float] = time.monotonic,
        abort: Callable[[], object] | None = os.abort if IS_DEBUG else None,
    ) -> None:
        self._count = count
        self._clock = clock
        self._abort = abort
        self._next_line_s = 0.0
        self._left_out = 0

    def __repr__(self) -> str:
        return f"<Reporter left_out={self._left_out}>"

    def __call__(self, lost: UnraisableHookArgs) -> None:
        is_fatal = self._abort is not None and lost.exc_value is not None and not isinstance(lost.exc_value, _REFUSALS)
        try:  # noqa: SIM105 - suppress() would need memory
            self._count()
        except BaseException:
            pass
        try:  # noqa: SIM105
            self._tell(lost, is_fatal)
        except BaseException:
            pass
        if is_fatal and self._abort is not None:
            self._abort()

    def _tell(self, lost: UnraisableHookArgs, is_fatal: bool) -> None:
        now_s = self._clock()
        if now_s < self._next_line_s and not is_fatal:
            self._left_out += 1
            return
        self._next_line_s = now_s + PERIOD_S
        left_out, self._left_out = self._left_out, 0
        more = f"; since the last such line {left_out} more were only counted" if left_out else ""
        then = "a debug build ends here" if is_fatal else "the process goes on"
        what = "an exception reached no code that could handle it (%s)%s; %s"
        logger.error(what, _place(lost), more, then, exc_info=_exc_info(lost))


def install(count: Callable[[], object] | None = None) -> None:
    """From here on the exceptions that this process can't raise are reported; `count` is called for each."""
    sys.unraisablehook = Reporter(count or (lambda: None))


def counter(segment: Segment, slots: Slots, row: int, process: str) -> Callable[[], object]:
    """Counts in the process's row of the shared memory; `process` is its kind."""
    return partial(Metrics(segment, row).count, slots.counter(names.unraisable(process)))


def of_loop(loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
    """A loop's exception handler: what a callback raised, or a task that nothing awaits, goes the same way."""
    error: BaseException | None = context.get("exception")
    kind, trace = (BaseException, None) if error is None else (type(error), error.__traceback__)
    task = context.get("task") or context.get("future")
    what = getattr(task, "get_coro", lambda: task)()
    sys.unraisablehook(Lost(kind, error, trace, context.get("message"), what))


def _place(lost: UnraisableHookArgs) -> str:
    """`Task exception was never retrieved, AdminServer.start`, as far as it is known."""
    known = [lost.err_msg.removesuffix(":") if lost.err_msg else "", _name(lost.object)]
    return ", ".join(part for part in known if part) or "in a place that is not known"


def _name(thing: object) -> str:
    """Of an object that may be half destroyed, so it is not asked for its repr."""
    if thing is None:
        return ""
    name = thing if isinstance(thing, str) else getattr(thing, "__qualname__", None)
    return f"in {name}" if isinstance(name, str) else f"in an object of type {type(thing).__qualname__}"


def _exc_info(lost: UnraisableHookArgs) -> Any:
    """None for a complaint without an exception."""
    if lost.exc_value is not None:
        return type(lost.exc_value), lost.exc_value.with_traceback(lost.exc_traceback), lost.exc_traceback
    return None if lost.exc_type is BaseException else (lost.exc_type, lost.exc_type(), None)

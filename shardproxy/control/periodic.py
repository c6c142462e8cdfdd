"""A timer of an event loop that the kernel keeps (timerfd): it need not be armed again, so no failure can end it.

`loop.call_later` needs memory for each period. A callback that arms itself again is lost with the first period for
which there is none, and a process whose heartbeat is lost is killed.
"""

from __future__ import annotations

import asyncio
import ctypes
import os
import time
from collections.abc import Callable
from contextlib import suppress

_EXPIRATIONS_BYTES = 8  # what the kernel writes: an uint64
_libc = ctypes.CDLL(None, use_errno=True)


class PeriodicTimer:
    """Calls `callback` every `interval_s` until `close`. Raises `OSError` if there is no descriptor for it.

    Periods that pass while the loop does something else become one call. A callback that raises is the loop's exception
    handler's to report, and is called again the next time; so is one that could not be called for want of memory.
    """

    def __init__(self, loop: asyncio.AbstractEventLoop, interval_s: float, callback: Callable[[], None]) -> None:
        self._loop = loop
        self._callback = callback
        self._fd = _armed_timer(interval_s)
        loop.add_reader(self._fd, self._expired)

    def __repr__(self) -> str:
        return f"<PeriodicTimer fd={self._fd}>"

    def close(self) -> None:
        """No more calls."""
        if self._fd >= 0:
            self._loop.remove_reader(self._fd)
            os.close(self._fd)
            self._fd = -1

    def _expired(self) -> None:
        with suppress(BlockingIOError):
            os.read(self._fd, _EXPIRATIONS_BYTES)
        self._callback()


def _armed_timer(interval_s: float) -> int:
    """A descriptor that is readable after every interval."""
    seconds, ns = divmod(round(interval_s * 1e9), 1_000_000_000)
    fd = int(_libc.timerfd_create(time.CLOCK_MONOTONIC, os.O_NONBLOCK | os.O_CLOEXEC))
    if fd < 0:
        raise _error()
    period = (ctypes.c_long * 4)(seconds, ns, seconds, ns)  # struct itimerspec: the interval, and the first expiration
    if _libc.timerfd_settime(fd, 0, period, None) < 0:
        error = _error()
        os.close(fd)
        raise error
    return fd


def _error() -> OSError:
    number = ctypes.get_errno()
    return OSError(number, os.strerror(number))

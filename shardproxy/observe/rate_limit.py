"""A bound on how often the log says the same."""

from __future__ import annotations

import time
from collections.abc import Callable


class LogRateLimit:
    """Allows one line in `period_s` seconds; `clock` is in seconds too.

    `note` counts one event.  It returns how many events there were since the last line, this one included, when a line
    may be written now; otherwise 0.
    """

    def __init__(self, period_s: float, clock: Callable[[], float] = time.monotonic) -> None:
        self._period_s, self._clock = period_s, clock
        self._next_s: float | None = None
        self._count = 0

    def __repr__(self) -> str:
        return f"<LogRateLimit period={self._period_s:g}s untold={self._count}>"

    def note(self) -> int:
        self._count += 1
        return self.take()

    def take(self) -> int:
        """As `note`, without another event."""
        now_s = self._clock()
        if self._count == 0 or (self._next_s is not None and now_s < self._next_s):
            return 0
        count, self._count, self._next_s = self._count, 0, now_s + self._period_s
        return count

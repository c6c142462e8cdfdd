"""The access logs that a worker writes: one open file for each path, whichever listeners write to it."""

from __future__ import annotations

import logging
from weakref import WeakValueDictionary

from shardproxy.observe.log_file import LogFile

RETRY_TICKS = 20

logger = logging.getLogger(__name__)


class LogFiles:
    """A file is closed, and what waits written, when the last configuration that has it is gone.

    `is_rehearsal`: nothing reaches the paths, so that no file is made by a user whom the workers do not run as.
    """

    def __init__(self, *, is_rehearsal: bool = False) -> None:
        self._files: WeakValueDictionary[str, LogFile] = WeakValueDictionary()
        self._is_rehearsal = is_rehearsal
        self._ticks = 0

    def file(self, path: str, *, must_open: bool) -> LogFile:
        """Raises `OSError` when a file that is new here cannot be opened and `must_open` is true.

        Otherwise its lines wait until it can be, and are left out when they are too many.
        """
        found = self._files.get(path)
        if found is None:
            found = LogFile("/dev/null" if self._is_rehearsal else path, must_open=must_open)
            self._files[path] = found
        return found

    def tick(self) -> None:
        """To be called every 50 ms: once a second what a file has not taken is offered to it again."""
        self._ticks = (self._ticks + 1) % RETRY_TICKS
        if self._ticks == 0:
            for file in list(self._files.values()):
                file.retry()

    def close(self) -> None:
        """Write what waits, for the last time."""
        for file in list(self._files.values()):
            if waiting := file.flush():
                logger.error("access log %s has not taken its last %d bytes; these lines are lost", file.path, waiting)

    def reopen(self) -> None:
        for file in list(self._files.values()):
            file.reopen()

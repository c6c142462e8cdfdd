"""The access logs that a worker writes: one open file for each path, whoever's listener it is."""

from __future__ import annotations

import logging
from weakref import WeakValueDictionary

from shardproxy.observe.log_file import LogFile

logger = logging.getLogger(__name__)


class LogFiles:
    """A file is closed, and what waits written, when the last configuration that has it is gone.

    `is_rehearsal`: nothing reaches the paths, so that no file is made by somebody whom the workers are not.
    """

    def __init__(self, *, is_rehearsal: bool = False) -> None:
        self._files: WeakValueDictionary[str, LogFile] = WeakValueDictionary()
        self._is_rehearsal = is_rehearsal

    def file(self, path: str) -> LogFile:
        """Raises `OSError` when it cannot be opened."""
        found = self._files.get(path)
        if found is None:
            found = LogFile("/dev/null" if self._is_rehearsal else path)
            self._files[path] = found
        return found

    def flush(self) -> None:
        for file in self._files.values():
            file.flush()

    def reopen(self) -> None:
        for file in self._files.values():
            try:
                file.reopen()
            except OSError as error:
                logger.error("access log %s cannot be opened anew: %s", file.path, error.strerror)

"""Endpoints from a file that is replaced: looked at four times a second, read when it is another one.

Looking is one stat(2).  inotify would need a watch of the directory, does not see network file systems, and would save
nothing that can be measured.
"""

from __future__ import annotations

import asyncio
from pathlib import Path

from shardproxy.config.errors import ConfigErrors, Unreadable
from shardproxy.config.load import endpoints_in
from shardproxy.controller.discovery.changes import Changes, Endpoints
from shardproxy.controller.discovery.source import NotFound, Source

LOOK_S = 0.25

Mark = tuple[int, int, int]


class EndpointsFile(Source):
    """The file at `path`.  What is wrong with it is said once, with file and line."""

    def __init__(self, cluster: str, path: str, changes: Changes) -> None:
        super().__init__(cluster, path, changes)
        self._seen: Mark | None = None
        self._trouble = ""

    async def ask(self) -> Endpoints | None:
        """In a thread, since a file on a dead network drive would hold everybody up."""
        return await asyncio.to_thread(self._look)

    def pause_s(self) -> float:
        return LOOK_S

    def ask_in_full(self) -> None:
        self._seen = None

    def _look(self) -> Endpoints | None:
        try:
            mark = _mark(self.name)
        except OSError as error:
            self._seen = None
            raise NotFound(f"{self.name}: the file cannot be read: {error.strerror}") from None
        if mark == self._seen:
            if self._trouble:
                raise NotFound(self._trouble)
            return None
        return self._read(mark)

    def _read(self, mark: Mark) -> Endpoints:
        self._seen, self._trouble = None, ""
        try:
            found = endpoints_in(self.name)
        except Unreadable as errors:
            raise NotFound(str(errors)) from None
        except ConfigErrors as errors:
            self._seen, self._trouble = mark, str(errors)
            raise NotFound(self._trouble) from None
        self._seen = mark
        return found


def _mark(path: str) -> Mark:
    """Differs whenever the file has been written or replaced."""
    found = Path(path).stat()
    return found.st_ino, found.st_mtime_ns, found.st_size

"""Tells systemd what is going on, and keeps in its store what the next process of this service is to have.

    segment, plan, listen.0.ADDRESS, listen.1.ADDRESS ...     in the store whenever it serves

The plan says which slot of the memory belongs to which name: without it the memory could not be read.
"""

from __future__ import annotations

import logging
import os

from shardproxy.control.plan import Plan
from shardproxy.supervisor.revival import PLAN, SEGMENT
from shardproxy.supervisor.state import Household, Phase
from shardproxy.supervisor.systemd import Manager

STATUS_NS = 10_000_000_000
# systemd must hear that a reload or a restart has begun; the others pass unnoticed.
_RELOADS = ("reload", "restart")

logger = logging.getLogger(__name__)


class Herald:
    """Speaks for `home`; without systemd it says nothing and costs nothing."""

    def __init__(self, home: Household, manager: Manager) -> None:
        self._home = home
        self._manager = manager
        self._plan_fd = -1
        self._plan_version = 0
        self._status_ns = 0

    def due_ns(self) -> list[int]:
        beat_ns = self._manager.watchdog_due_ns()
        return [beat_ns] if beat_ns is not None else []

    def turn(self, now_ns: int) -> None:
        """A sign of life and a line for `systemctl status`, when it is time for them."""
        self._manager.beat(now_ns)
        if self._manager.is_there and self._home.phase is Phase.SERVING and now_ns >= self._status_ns:
            self._status_ns = now_ns + STATUS_NS
            self._manager.status(self._figures())

    def ready(self) -> None:
        """All workers serve."""
        self._keep()
        self._manager.ready(self._figures())

    def resumes(self) -> None:
        """The former code of this process has put things into the store; learn what is in it."""
        self._manager.forget(PLAN)
        self._keep()

    def begins(self, what: str) -> None:
        if what in _RELOADS:
            self._manager.reloading(f"{what} is under way")

    def ends(self, what: str, text: str) -> None:
        """Whether it was done or refused: READY=1 must come, or `systemctl reload` would never return."""
        self._keep()
        if what in _RELOADS:
            self._manager.ready(f"{what}: {text}")

    def keep_only(self, workers: int) -> None:
        """The sockets of the workers beyond are about to close; who connected to a copy of systemd's would be lost."""
        self._keep(workers)

    def stopping(self, at_most_ns: int) -> None:
        self._manager.stopping("draining", at_most_ns)

    def close(self) -> None:
        """The end: what systemd keeps is left to it."""
        if self._manager.is_there:
            self._home.sockets.leave_files()
        self._forget_plan()

    def _forget_plan(self) -> None:
        if self._plan_fd >= 0:
            os.close(self._plan_fd)
            self._plan_fd = -1

    def _keep(self, workers: int | None = None) -> None:
        if not self._manager.is_there:
            return
        try:
            self._write_plan()
        except OSError as error:
            logger.warning("systemd cannot be given the names of the shared memory: %s", error.strerror)
            return
        memory = {SEGMENT: self._home.memory.segment.fd, PLAN: self._plan_fd}
        self._manager.keep(self._home.sockets.by_address(workers), memory)

    def _write_plan(self) -> None:
        home = self._home
        if home.version != self._plan_version:
            fd = Plan(home.version, home.config, home.slots).write()
            self._forget_plan()
            self._plan_fd, self._plan_version = fd, home.version

    def _figures(self) -> str:
        workers = sum(child.ready for post, child in self._home.filled() if post.kind == "worker")
        return f"{workers} workers serve configuration {self._home.version}, generation {self._home.generation}"

"""One source of a cluster's endpoints, asked again and again; what it said last holds until it says something else.

ask ──> endpoints ──> the change is made ──> pause_s
  └──> NotFound ──> logged once, shown in /stats ──> pause_s; the endpoints stay
"""

from __future__ import annotations

import asyncio
import logging
import time

from msgspec.structs import replace

from shardproxy.controller.discovery.changes import Changes, Endpoints, Refused
from shardproxy.controller.failures import AGAIN_S, Failures, forever
from shardproxy.controller.stats import SourceStats
from shardproxy.controller.wishes import NotNow

logger = logging.getLogger(__name__)


class NotFound(Exception):
    """The source has no answer, or a wrong one; `str()` is a plain sentence."""


class Source:
    """`name` is what the log and /stats call it.  The two methods below are what makes one kind or the other."""

    def __init__(self, cluster: str, name: str, changes: Changes) -> None:
        self.cluster = cluster
        self.name = name
        self._changes = changes
        self._problem = ""
        self._drained_by_source: set[str] = set()
        self._answered_ns = 0
        self.is_asked = asyncio.Event()
        """Set when the first answer, or the first failure, has come."""

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.cluster} {self.name}>"

    async def ask(self) -> Endpoints | None:
        """The endpoints, or None when nothing can have changed.  Raises `NotFound`."""
        raise NotImplementedError

    def pause_s(self) -> float:
        """How long to wait from now until asking again."""
        raise NotImplementedError

    def ask_in_full(self) -> None:
        """What was found could not be handed on: the next `ask` must find it again."""

    async def run(self, failures: Failures) -> None:
        await forever(f"the source {self.name} of cluster {self.cluster}", self.turn, failures)

    async def turn(self) -> float:
        """Ask once, and hand on what is found; when to ask again, in seconds from now."""
        try:
            return await self._ask_and_hand_on()
        except Exception:
            self._problem = "there was a fault of ours, which is in the log"
            self.ask_in_full()
            raise
        finally:
            self.is_asked.set()

    def stats(self) -> SourceStats:
        age_s = round((time.monotonic_ns() - self._answered_ns) / 1e9, 3) if self._answered_ns else None
        return SourceStats(source=self.name, is_good=not self._problem, problem=self._problem, answer_age_s=age_s)

    async def _ask_and_hand_on(self) -> float:
        try:
            found = await self.ask()
            if found is not None:
                await self._hand_on(found)
            self._answered_ns = time.monotonic_ns()
            self._note("")
        except (NotFound, Refused) as problem:
            self._note(str(problem))
        except (NotNow, TimeoutError) as problem:
            self._note(str(problem) or "the supervisor does not answer")
            self.ask_in_full()
            return AGAIN_S  # the supervisor was busy, or is gone
        return self.pause_s()

    async def _hand_on(self, found: Endpoints) -> None:
        """An endpoint that an operator drains goes on draining, whatever else the source says of it."""
        by_source = {str(each.address) for each in found if each.drain}

        def edit(present: Endpoints) -> Endpoints:
            drained = {str(each.address) for each in present if each.drain} - self._drained_by_source
            return tuple(replace(each, drain=True) if str(each.address) in drained else each for each in found)

        await self._changes.change(self.cluster, edit)
        self._drained_by_source = by_source

    def _note(self, problem: str) -> None:
        if problem and problem != self._problem:
            logger.warning("cluster %s keeps its endpoints: %s", self.cluster, problem)
        elif self._problem and not problem:
            logger.info("cluster %s: %s is right again", self.cluster, self.name)
        self._problem = problem

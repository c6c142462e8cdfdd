"""Changes of endpoints at run time, one at a time; those that come meanwhile are made together as the next one.

    change ──> waiting ──> edits applied to the present endpoints ──> Ask ──> all workers serve it ──> change returns
                  ^── refused because another configuration is served by now: again, on that one

Cost of a change: building the configuration once more in every worker, however many changes go into it.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import TypeAlias

from shardproxy.config.check_clusters import health_checks_can_be_made
from shardproxy.config.schema import Cluster, Config, Endpoint
from shardproxy.control.background import background
from shardproxy.control.found import TooMany, encode, overlaid
from shardproxy.control.messages import Answer

Endpoints: TypeAlias = tuple[Endpoint, ...]
Edit: TypeAlias = Callable[[Endpoints], Endpoints]

# Changes that may wait at a time; far more than sources and operators there are.
MAX_WAITING = 1024
# How often a change is tried again when the configuration has been replaced in between.
MOST_TRIES = 5


class Refused(Exception):
    """The change is not made; `str()` is a plain sentence."""


class Unknown(Refused):
    """There is no such cluster, or no such endpoint."""


class Clash(Refused):
    """It is right in itself, but not now, or not with what is there."""


@dataclass(eq=False)
class Wanted:
    """One change that waits; `done` is set when all workers serve it, or fails with `Refused`."""

    cluster: str
    edit: Edit
    done: asyncio.Future[None]


class Changes:
    """`present` gives the configuration that is served and its version; `ask` hands a change to the supervisor."""

    def __init__(
        self, present: Callable[[], tuple[Config, int]], ask: Callable[[bytes, int], Awaitable[Answer]]
    ) -> None:
        self._present = present
        self._ask = ask
        self._waiting: list[Wanted] = []
        self._task: asyncio.Task[None] | None = None

    def __repr__(self) -> str:
        return f"<Changes waiting={len(self._waiting)}>"

    def cluster(self, name: str) -> Cluster:
        """As it is served now.  Raises `Unknown`."""
        config, _ = self._present()
        return _cluster(config, name)

    async def change(self, cluster: str, edit: Edit) -> None:
        """Returns when all workers serve the endpoints that `edit` makes of the present ones.

        `edit` may raise `Refused`, and may be called more than once.  Raises `Refused`; whatever else the supervisor's
        silence raises (`NotNow`, `TimeoutError`) comes through.
        """
        if len(self._waiting) >= MAX_WAITING:
            raise Clash(f"{MAX_WAITING} changes of endpoints are waiting already")
        wanted = Wanted(cluster, edit, asyncio.get_running_loop().create_future())
        self._waiting.append(wanted)
        if self._task is None:
            self._task = background(self._work())
        await wanted.done

    async def _work(self) -> None:
        try:
            while self._waiting:
                batch, self._waiting = self._waiting, []
                await self._make(batch)
        finally:
            self._task = None

    async def _make(self, batch: list[Wanted]) -> None:
        try:
            await self._try_to_make(batch)
        except Exception as error:
            _fail(batch, error)
        for wanted in batch:
            if not wanted.done.done():
                wanted.done.set_result(None)

    async def _try_to_make(self, batch: list[Wanted]) -> None:
        answer = None
        for _ in range(MOST_TRIES):
            config, version = self._present()
            found = edited(config, batch)
            if not found:
                return
            answer = await self._ask(encode(found), version)
            if answer.is_done:
                return
            if self._present()[1] == version:
                break
        raise Clash(answer.text if answer is not None else "nothing was tried")


def edited(config: Config, batch: list[Wanted]) -> dict[str, Endpoints]:
    """What the clusters are to have that change; an edit that is refused fails alone."""
    found: dict[str, Endpoints] = {}
    for wanted in batch:
        if wanted.done.done():
            continue
        try:
            before = found.get(wanted.cluster, _cluster(config, wanted.cluster).endpoints)
            after = wanted.edit(before)
            _check(config, wanted.cluster, after)
            encode({**found, wanted.cluster: after})
        except (Refused, TooMany) as refusal:
            wanted.done.set_exception(refusal if isinstance(refusal, Refused) else Refused(str(refusal)))
        else:
            found[wanted.cluster] = after
    return {name: after for name, after in found.items() if after != _cluster(config, name).endpoints}


def _check(config: Config, name: str, endpoints: Endpoints) -> None:
    """What the reader of the file would find wrong."""
    seen = set()
    for endpoint in endpoints:
        if endpoint.address in seen:
            raise Clash(f"cluster {name} has the endpoint {endpoint.address} already")
        seen.add(endpoint.address)
    if len(endpoints) != len(_cluster(config, name).endpoints):
        for path, sentence in health_checks_can_be_made(overlaid(config, {name: endpoints})):
            if config.clusters[int(path[1])].name == name:
                raise Refused(f"health_check of cluster {name}: {sentence}")


def _cluster(config: Config, name: str) -> Cluster:
    for cluster in config.clusters:
        if cluster.name == name:
            return cluster
    raise Unknown(f"there is no cluster {name!r}")


def _fail(batch: list[Wanted], error: Exception) -> None:
    for wanted in batch:
        if not wanted.done.done():
            wanted.done.set_exception(error)

"""What exists: the phase of the supervisor's life, the posts and who fills them, the rows, and the shared memory.

A post (`worker 1`) lasts; a child (pid 4713) fills it until it dies, and is followed by another.
"""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from enum import Enum
from pathlib import Path

from shardproxy.config.schema import Config, worker_count
from shardproxy.control.channel import Channel
from shardproxy.control.seat import SeatKind
from shardproxy.shm.gauges import Gauges
from shardproxy.shm.metrics import Metrics
from shardproxy.shm.rows import Kind, Rows, State
from shardproxy.shm.segment import Segment
from shardproxy.shm.slots import Slots
from shardproxy.supervisor import catalog
from shardproxy.supervisor.backoff import Backoff
from shardproxy.supervisor.sockets import Sockets
from shardproxy.supervisor.watch import Watch

SUPERVISOR_ROW = 0


class Phase(Enum):
    """Where the supervisor is in its life; each value is the sentence that says so."""

    STARTING = "the workers are starting and not all of them have been ready yet"
    SERVING = "all workers have been ready; those that die are replaced"
    DRAINING = "no new connections are taken, what runs is finished"
    STOPPING = "everything is being stopped at once"


@dataclass
class Child:
    """One process: what the supervisor knows of it until it has been reaped.

    `doom` is when (CLOCK_MONOTONIC ns) and why it will be killed if it still lives then.
    """

    pid: int
    row: int
    channel: Channel
    born_ns: int
    watch: Watch
    ready: bool = False
    killed: bool = False
    doom: tuple[int, str] | None = None


@dataclass
class Post:
    """A place that is to be filled: `child` fills it; `fork_at_ns` is when the next one comes, None for never."""

    kind: SeatKind
    index: int
    child: Child | None = None
    fork_at_ns: int | None = 0
    ever_ready: bool = False
    early_ends: int = 0
    backoff: Backoff = field(default_factory=Backoff)

    @property
    def name(self) -> str:
        return f"worker {self.index}" if self.kind == "worker" else self.kind

    def __str__(self) -> str:
        """`worker 1 (pid 4713)`, as the log calls it."""
        return f"{self.name} (pid {self.child.pid})" if self.child else self.name


class RowPool:
    """Which rows of the shared memory are taken; keeps `segment.rows_used` true.  Row 0 is the supervisor's."""

    def __init__(self, segment: Segment) -> None:
        self._segment = segment
        self._taken = {SUPERVISOR_ROW}

    def take(self) -> int:
        """The lowest free row.  There always is one: `catalog.capacities` counts the posts twice."""
        row = next(row for row in range(self._segment.capacities.rows) if row not in self._taken)
        self._set(self._taken | {row})
        return row

    def give_back(self, row: int) -> None:
        """`row` has been cleared and is free again."""
        self._set(self._taken - {row})

    def _set(self, taken: set[int]) -> None:
        self._taken = taken
        self._segment.rows_used = max(taken) + 1


class Household:
    """All of it together.  Raises `BindError`, `SlotsFull`, `ValueError` or `OSError`, and then leaves nothing."""

    def __init__(self, config: Config, path: Path | None) -> None:
        workers = worker_count(config)
        self.config = config
        self.path = path
        self.phase = Phase.STARTING
        self.generation = 1
        self.posts = [Post("controller", 0), *(Post("worker", index) for index in range(workers))]
        self.slots = Slots(catalog.capacities(config, workers))
        catalog.assign(config, self.slots)
        self.segment = Segment.create(catalog.capacities(config, workers))
        self.pool = RowPool(self.segment)
        self.rows = Rows(self.segment)
        self.gauges = Gauges(self.segment, SUPERVISOR_ROW)
        self.metrics = Metrics(self.segment, SUPERVISOR_ROW)
        try:
            self.sockets = Sockets(config, workers)
        except BaseException:
            self.segment.close()
            raise
        self._sit_down()

    @property
    def workers(self) -> list[Post]:
        return [post for post in self.posts if post.kind == "worker"]

    @property
    def controllers(self) -> list[Post]:
        return [post for post in self.posts if post.kind == "controller"]

    def filled(self) -> Iterator[tuple[Post, Child]]:
        """The posts that have a living child (or one that has not been reaped yet)."""
        for post in self.posts:
            if post.child is not None:
                yield post, post.child

    def clear_row(self, row: int) -> None:
        """The process of `row` is dead: what it held is given back, what it counted is kept, the row is free."""
        self.gauges.clear_row(row)
        self.metrics.retire_row(row)
        self.rows.release(row)
        self.pool.give_back(row)

    def close(self) -> None:
        """Give back everything that the system lent; the children must be gone."""
        self.sockets.close()
        self.segment.close()

    def _sit_down(self) -> None:
        self.rows.claim(SUPERVISOR_ROW, os.getpid(), self.generation, Kind.SUPERVISOR)
        self.rows.set_state(SUPERVISOR_ROW, State.READY)
        self.rows.beat(SUPERVISOR_ROW, time.monotonic_ns())

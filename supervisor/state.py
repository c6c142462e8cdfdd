"""What exists: the phase of the supervisor's life, the posts and who fills them, the rows, and the shared memory.

A post (`worker 1`) lasts; a child (pid 4713) fills it until it dies, and is followed by another.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass, field
from enum import Enum
from pathlib import Path

from shardproxy.config.schema import Config, worker_count
from shardproxy.control.channel import Channel
from shardproxy.control.seat import SeatKind
from shardproxy.shm.rows import Kind, State
from shardproxy.shm.slots import Slots
from shardproxy.supervisor import catalog, log_directories
from shardproxy.supervisor.backoff import Backoff
from shardproxy.supervisor.memory import SUPERVISOR_ROW, Memory
from shardproxy.supervisor.privileges import Identity
from shardproxy.supervisor.revival import revive
from shardproxy.supervisor.sockets import Change, Sockets
from shardproxy.supervisor.systemd import Found
from shardproxy.supervisor.watch import Watch


class Phase(Enum):
    """Where the supervisor is in its life; each value is the sentence that says so."""

    STARTING = "the workers are starting and not all of them have been ready yet"
    SERVING = "all workers have been ready; those that die are replaced"
    LEAVING = "everything is served, but whoever asks whether it is ready is told no"
    DRAINING = "no new connections are taken, what runs is finished"
    STOPPING = "everything is being stopped at once"


@dataclass(eq=False)
class Child:
    """One process: what the supervisor knows of it until it has been reaped.

    `memory` is where its row is; None if that is laid out in a way that we cannot read.  `doom` is when
    (CLOCK_MONOTONIC ns) and why it will be killed if it still lives then.
    """

    pid: int
    row: int
    channel: Channel
    born_ns: int
    watch: Watch
    memory: Memory | None
    generation: int = 1
    ready: bool = False
    killed: bool = False
    doom: tuple[int, str] | None = None


@dataclass(eq=False)
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


class Household:
    """All of it together.  `close` gives it back.

    `edited` are the clusters whose endpoints are not those of the file.  `change` is what the sockets of another
    configuration are to be, while its workers come up beside the former ones.
    `posts` are to be filled; `leaving` are those whose children are on their way out and will have no successors: of a
    former generation, or scaled away.
    """

    def __init__(self, config: Config, path: Path | None, memory: Memory, slots: Slots, sockets: Sockets) -> None:
        self.config = config
        self.path = path
        self.memory = memory
        self.slots = slots
        self.sockets = sockets
        self.phase = Phase.STARTING
        self.generation = 1
        self.version = 1
        self.identity = Identity.find(config.user) if config.user else None
        self.is_changing = False
        self.edited: frozenset[str] = frozenset()
        self.change: Change | None = None
        self.leaving: list[Post] = []
        self.posts: list[Post] = []
        self.set_workers(worker_count(config))

    @classmethod
    def fresh(cls, config: Config, path: Path | None, found: Found) -> Household:
        """With what systemd has kept, as far as it can be used.

        Raises `BindError`, `SlotsFull`, `PrivilegeError`, `ValueError` or `OSError`, and then leaves nothing.
        """
        if config.user:
            Identity.find(config.user)  # before anything is bound
        log_directories.look_for(config)
        memory, slots = revive(found.memory, config) or _new_memory(config)
        try:
            sockets = Sockets(config, worker_count(config), found.sockets, found.lent)
        except BaseException:
            memory.close()
            raise
        return cls(config, path, memory, slots, sockets)

    @property
    def workers(self) -> list[Post]:
        return [post for post in self.posts if post.kind == "worker"]

    @property
    def controllers(self) -> list[Post]:
        return [post for post in self.posts if post.kind == "controller"]

    def filled(self) -> Iterator[tuple[Post, Child]]:
        """The posts that have a living child (or one that has not been reaped yet), those that leave included."""
        for post in [*self.posts, *self.leaving]:
            if post.child is not None:
                yield post, post.child

    def set_workers(self, count: int) -> list[Post]:
        """That many posts for workers; the last ones leave if that is fewer, and are returned."""
        workers = self.workers
        staying = [*workers[:count], *(Post("worker", index) for index in range(len(workers), count))]
        leaving = workers[count:]
        self.posts = [*(self.controllers or [Post("controller", 0)]), *staying]
        self.dismiss(leaving)
        self.memory.segment.workers_wanted = count
        return leaving

    def dismiss(self, posts: list[Post]) -> None:
        """Nobody follows the children of these posts."""
        for post in posts:
            post.fork_at_ns = None
        self.leaving += [post for post in posts if post.child is not None]
        self.posts = [post for post in self.posts if post not in posts]

    def forget(self, post: Post) -> None:
        """The child of a post has gone; a post that leaves goes with it, and the memory that only it still had."""
        self.leaving = [one for one in self.leaving if one is not post]

    def close_unused(self, memory: Memory | None) -> None:
        """Give `memory` back if it is a former one that nobody has any more."""
        if memory is None or memory is self.memory:
            return
        if all(child.memory is not memory for _, child in self.filled()):
            memory.close()

    def sit_down(self, now_ns: int) -> None:
        """Take the supervisor's own row."""
        rows = self.memory.rows
        rows.claim(SUPERVISOR_ROW, os.getpid(), self.generation, Kind.SUPERVISOR)
        rows.set_state(SUPERVISOR_ROW, State.READY)
        rows.beat(SUPERVISOR_ROW, now_ns)
        if self.identity is not None:
            self.sockets.give_files_to(self.identity)

    def close(self) -> None:
        """Give back everything that the system lent; the children must be gone."""
        self.sockets.close()
        self.memory.close()


def _new_memory(config: Config) -> tuple[Memory, Slots]:
    capacities = catalog.capacities(config, worker_count(config))
    slots = Slots(capacities)
    catalog.assign(config, slots)
    return Memory.create(capacities), slots

"""After the re-execution: the new generation comes up beside the old one, and only then the old one drains.

    record found ──> sockets, segment and children adopted ──> new workers born on new rows
        all ready ──> the old ones stop accepting and drain; the sockets, and who waits before them, are the new ones'
        not ready in time, or not at all ──> the new ones are ended, the old ones serve on

Both generations count in the same cells, so no limit doubles while they overlap.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from shardproxy.config.plain import decode
from shardproxy.config.schema import Config, worker_count
from shardproxy.control.seat import SeatKind
from shardproxy.limits.tables import set_rates
from shardproxy.shm.layout import Capacities
from shardproxy.shm.segment import ForeignLayout, Segment
from shardproxy.shm.slots import Slots, SlotsFull
from shardproxy.supervisor import catalog
from shardproxy.supervisor import record as records
from shardproxy.supervisor.care import DRAIN_GRACE_NS, Care, condemn
from shardproxy.supervisor.endpoints import carried_over
from shardproxy.supervisor.freeing import assign
from shardproxy.supervisor.herald import Herald
from shardproxy.supervisor.memory import Memory
from shardproxy.supervisor.operations import Operation, Outcome
from shardproxy.supervisor.record import ChildRecord, Record
from shardproxy.supervisor.sockets import BindError, Sockets
from shardproxy.supervisor.state import Child, Household, Phase, Post
from shardproxy.supervisor.watch import Watch

EARLY_ENDS = 5

logger = logging.getLogger(__name__)


@dataclass
class Former:
    """What is served until the new generation is ready, and again if it never is.

    `problem` is why the new generation cannot even be born.
    """

    config: Config
    memory: Memory | None
    slots: Slots
    workers: int
    version: int
    posts: list[Post] = field(default_factory=list)
    problem: str | None = None


def adopt(record: Record) -> tuple[Household, Former]:
    """All that the predecessor had, as it is now, with posts for the new generation.

    Nothing is changed for those who serve.  Raises `SlotsFull`, `ValueError` or `OSError` for want of memory, which the
    preflight has had.
    """
    config = decode(record.config)
    former = _former(record, config)
    config = carried_over(config, former.config, frozenset(record.edited))
    memory, slots = _memory(record, config, former)
    sockets = Sockets(former.config, former.workers, record.inherited())
    path = Path(record.path) if record.path else None
    home = Household(config, path, memory, slots, sockets)
    home.edited = frozenset(record.edited)
    home.generation, home.version, home.phase = record.generation, record.version, Phase.SERVING
    # As many as there were at least: if fewer are wanted, scaling down afterwards empties their queues.
    home.set_workers(max(former.workers, worker_count(config)))
    try:
        sockets.resize(len(home.workers))
        home.change = sockets.prepare(config)
    except BindError as error:
        former.problem = str(error)
    return home, former


def settle(record: Record, home: Household, former: Former, care: Care, now_ns: int) -> dict[int, Post]:
    """Listen to the children of the predecessor; gives their posts by pid."""
    posts = {}
    for each in record.children:
        post, child = _alive(each, home, former.memory, now_ns)
        care.watch_over(post, child)
        home.leaving.append(post)
        if each.is_current:
            former.posts.append(post)
        else:
            patience_ns = home.config.drain_timeout + DRAIN_GRACE_NS
            condemn(child, now_ns + patience_ns, "it has not drained in time")
        posts[each.pid] = post
    _complete(former)
    return posts


def _complete(former: Former) -> None:
    """A child that had died, and whose successor was still to come, has left no record; its post is there all the
    same."""
    wanted: list[tuple[SeatKind, int]] = [("controller", 0), *(("worker", index) for index in range(former.workers))]
    there = {(post.kind, post.index): post for post in former.posts}
    former.posts = [there.get(seat) or Post(*seat, fork_at_ns=None) for seat in wanted]


class Succession(Operation):
    """From the birth of the new generation to the end of the old one's service, or back."""

    def __init__(
        self, home: Household, care: Care, herald: Herald, former: Former, scale: Callable[[int], None]
    ) -> None:
        self._home = home
        self._care = care
        self._herald = herald
        self._former = former
        self._scale = scale
        self._new = list(home.posts)
        self._deadline_ns = 0

    def begin(self, now_ns: int) -> Outcome | None:
        self._deadline_ns = now_ns + self._home.config.restart_timeout
        return self._go_back(now_ns, self._former.problem) if self._former.problem else None

    def due_ns(self) -> int:
        return self._deadline_ns

    def go_on(self, now_ns: int) -> Outcome | None:
        hopeless = [post.name for post in self._new if post.early_ends >= EARLY_ENDS]
        if hopeless:
            return self._go_back(now_ns, f"the new {hopeless[0]} ended {EARLY_ENDS} times before it was ready")
        if all(post.ever_ready and post.child is not None for post in self._new):
            return self._hand_over(now_ns)
        if now_ns >= self._deadline_ns:
            return self._go_back(now_ns, "the new workers were not ready in time")
        return None

    def give_up(self, why: str) -> None:
        """Both generations serve, and both are about to be stopped."""

    def _hand_over(self, now_ns: int) -> Outcome:
        home, former = self._home, self._former
        deadline_ns = now_ns + home.config.drain_timeout
        binds = {listener.bind for listener in home.config.listeners}
        all_stay = all(listener.bind in binds for listener in former.config.listeners)
        if home.change is not None:
            home.sockets.commit(home.change)
        home.change = None
        set_rates(home.config, home.memory.segment, home.slots, now_ns)
        self._herald.keep_only(len(home.workers))
        for post in former.posts:
            self._care.drain(post, deadline_ns, is_succeeded=all_stay)
        wanted = worker_count(home.config)
        if wanted < len(home.workers):
            self._scale(wanted)
        count = sum(post.kind == "worker" and post.child is not None for post in former.posts)
        return Outcome(True, f"generation {home.generation} serves; {count} former workers drain")

    def _go_back(self, now_ns: int, why: str) -> Outcome:
        home, former = self._home, self._former
        for post in self._new:
            self._care.stop(post, now_ns)
        home.dismiss(self._new)
        home.leaving = [post for post in home.leaving if post not in former.posts]
        home.posts = former.posts
        for post in home.posts:
            post.fork_at_ns = 0 if post.child is None else None
        home.config, home.version = former.config, former.version
        if former.memory is not None:
            home.memory, home.slots = former.memory, former.slots
        if home.change is not None:
            home.sockets.abandon(home.change)
        home.change = None
        home.sockets.resize(former.workers)
        return Outcome(False, f"the old one serves on: {why}")


def _former(record: Record, config: Config) -> Former:
    try:
        served = decode(record.former_config)
    except ValueError:
        logger.warning("this version cannot read the configuration of the former one; there is no way back to it")
        served = config
    try:
        segment = Segment.attach(record.segment)
    except ForeignLayout as reason:
        logger.warning("%s", reason)
        for bell in record.bells:
            os.close(bell)
        return Former(served, None, Slots(Capacities()), record.workers, record.version - 1)
    memory = Memory(segment, [child.row for child in record.children], record.bells)
    slots = Slots.restored(segment.capacities, record.names, record.spans)
    return Former(served, memory, slots, record.workers, record.version - 1)


def _memory(record: Record, config: Config, former: Former) -> tuple[Memory, Slots]:
    """The memory that is there, if it has room for the new configuration; otherwise a fresh one beside it."""
    wanted = catalog.capacities(config, worker_count(config))
    if former.memory is not None and former.memory.pool.free > max(former.workers, worker_count(config)):
        slots = former.slots.copy()
        try:
            assign(config, slots, former.memory.segment, record.version, {former.version})
        except SlotsFull as reason:
            logger.warning("%s", reason)
        else:
            former.slots = slots  # if it goes back to the former ones, what the new ones have named is still theirs
            return former.memory, slots
    logger.warning("the new generation gets a fresh shared memory: its counts and limits begin anew")
    slots = Slots(wanted)
    catalog.assign(config, slots, record.version)
    return Memory.create(wanted), slots


def _alive(each: ChildRecord, home: Household, memory: Memory | None, now_ns: int) -> tuple[Post, Child]:
    watch = Watch(home.config.watchdog, now_ns)
    channel = records.channel_of(each)
    child = Child(each.pid, each.row, channel, each.born_ns, watch, memory, each.generation, ready=True)
    return Post(each.kind, each.index, child, fork_at_ns=None, ever_ready=True), child

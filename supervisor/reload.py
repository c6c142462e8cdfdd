"""One reload: the file is checked in full, prepared by every child, and only then served by all of them.

    SETTLE ── all children are ready ──> PREPARE ── all have it ready ──> COMMIT ── all serve it ──> over
                                            │ one refuses, or time is up
                                            v
                                          abort: nothing has changed

While it runs nobody is born, since it would be of neither configuration.  A child that dies is not waited for: its
successor begins with whatever holds then.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Callable
from enum import Enum, auto

from shardproxy.config.errors import ConfigErrors
from shardproxy.config.load import load
from shardproxy.config.schema import Cluster, Config, Dns, worker_count
from shardproxy.control.channel import MAX_DESCRIPTORS
from shardproxy.control.found import overlaid
from shardproxy.control.messages import Abort, Applied, Commit, Message, Prepare, Prepared, Refused
from shardproxy.control.plan import Plan
from shardproxy.limits.tables import set_rates
from shardproxy.observe import log
from shardproxy.shm.slots import SlotsFull
from shardproxy.supervisor import descriptors
from shardproxy.supervisor.care import Care, condemn
from shardproxy.supervisor.freeing import assign
from shardproxy.supervisor.operations import Operation, Outcome
from shardproxy.supervisor.sockets import BindError, Change
from shardproxy.supervisor.state import Household, Post

# For each of the three steps; building ten thousand routes takes a second or two.
PATIENCE_NS = 20_000_000_000

logger = logging.getLogger(__name__)


class Step(Enum):
    SETTLE = auto()
    PREPARE = auto()
    COMMIT = auto()


class Refusal(Exception):
    """The new configuration is not taken; `str()` says why."""


class Reload(Operation):
    """The file that the proxy was started with, read again."""

    def __init__(self, home: Household, care: Care, scale: Callable[[int], None]) -> None:
        self._home = home
        self._scale = scale
        self._workers = worker_count(home.config)
        self._care = care
        self._step = Step.SETTLE
        self._awaited: list[Post] = []
        self._refusal: str | None = None
        self._deadline_ns = 0
        self._plan = Plan(home.version + 1, home.config, home.slots)
        self._change = Change(home.config)

    def __repr__(self) -> str:
        return f"<Reload {self._step.name.lower()} awaits={len(self._awaited)}>"

    def begin(self, now_ns: int) -> Outcome | None:
        self._deadline_ns = now_ns + PATIENCE_NS
        return self.go_on(now_ns)

    def due_ns(self) -> int:
        return self._deadline_ns

    def go_on(self, now_ns: int) -> Outcome | None:
        try:
            return self._advance(now_ns)
        except Refusal as refusal:
            self._abort()
            return Outcome(False, f"the running configuration stays: {refusal}")

    def heard(self, post: Post, message: Message) -> None:
        if isinstance(message, Prepared | Applied) and message.version == self._plan.version:
            self.lost(post)
        elif isinstance(message, Refused) and message.version == self._plan.version:
            self._refusal = message.reason

    def lost(self, post: Post) -> None:
        self._awaited = [one for one in self._awaited if one is not post]

    def give_up(self, why: str) -> None:
        self._abort()

    def _advance(self, now_ns: int) -> Outcome | None:
        if self._refusal is not None and self._step is not Step.COMMIT:
            raise Refusal(self._refusal)
        if self._step is Step.SETTLE:
            self._settle(now_ns)
        if self._step is Step.PREPARE and not self._awaited:
            self._commit(now_ns)
        if self._step is Step.COMMIT and not self._awaited:
            return self._served()
        if now_ns >= self._deadline_ns:
            self._time_is_up(now_ns)
        return None

    # Steps ---------------------------------------------------------------------------------------------------------

    def _settle(self, now_ns: int) -> None:
        """Everybody who can prepare is there."""
        self._home.is_changing = True
        if all(child.ready for post, child in self._home.filled() if post in self._home.posts):
            self._prepare(now_ns)

    def _prepare(self, now_ns: int) -> None:
        config, home, slots = self._wanted(), self._home, self._home.slots.copy()
        try:
            assign(config, slots, home.memory.segment, home.version + 1, {home.version})
            self._change = home.sockets.prepare(config)
        except (SlotsFull, BindError) as error:
            raise Refusal(str(error)) from None
        # From now on the names are known to others, so their slots stay theirs even if nothing comes of it.
        home.slots = slots
        self._plan = Plan(home.version + 1, config, slots)
        self._step, self._deadline_ns = Step.PREPARE, now_ns + PATIENCE_NS
        self._awaited = [post for post in self._home.posts if post.child is not None]
        if len(self._change.names) >= MAX_DESCRIPTORS:
            raise Refusal(f"{len(self._change.names)} listeners are new; at most {MAX_DESCRIPTORS - 1} can be at once")
        self._send()

    def _wanted(self) -> Config:
        """The configuration that is to be served.  Raises `Refusal`."""
        return read(self._home)

    def _send(self) -> None:
        try:
            fd = self._plan.write()
        except OSError as error:
            raise Refusal(f"it cannot be handed to the workers: {error.strerror}") from None
        for post in self._awaited:
            sockets = self._home.sockets.sent_to(post.index, self._change) if post.kind == "worker" else []
            names = self._change.names if post.kind == "worker" else ()
            self._care.tell(post, Prepare(self._plan.version, names), [fd, *(one.fileno() for one in sockets)])
        os.close(fd)

    def _commit(self, now_ns: int) -> None:
        home, plan = self._home, self._plan
        home.config, home.version = plan.config, plan.version
        set_rates(home.config, home.memory.segment, home.slots, now_ns)
        home.edited = frozenset()
        home.sockets.commit(self._change)
        if home.identity is not None:
            home.sockets.give_files_to(home.identity)
        if warning := descriptors.enough_for(home.config):
            logger.warning("%s", warning)
        log.setup(home.config.log, "supervisor")
        self._step, self._deadline_ns = Step.COMMIT, now_ns + PATIENCE_NS
        self._awaited = [post for post in home.posts if post.child is not None]
        for post in self._awaited:
            self._care.tell(post, Commit(plan.version))
        home.is_changing = False

    def _served(self) -> Outcome:
        wanted = worker_count(self._home.config)
        if wanted != self._workers:
            self._scale(wanted)
        return Outcome(True, f"configuration {self._plan.version} is served by all {len(self._home.workers)} workers")

    def _time_is_up(self, now_ns: int) -> None:
        names = ", ".join(str(post) for post in self._awaited) or "a child that is not ready"
        if self._step is not Step.COMMIT:
            raise Refusal(f"no answer from {names} for {PATIENCE_NS / 1e9:g} s")
        for post in self._awaited:
            if post.child is not None:
                condemn(post.child, now_ns, f"it does not take configuration {self._plan.version} over")
        self._deadline_ns = now_ns + PATIENCE_NS

    def _abort(self) -> None:
        self._home.is_changing = False
        if self._step is Step.PREPARE:
            for post in self._home.posts:
                self._care.tell(post, Abort(self._plan.version))
            self._home.sockets.abandon(self._change)


def with_names_found(config: Config, present: Config) -> Config:
    """What DNS has said last of the names that are in both, and the endpoints of files that are missing now."""
    known = {_source(one): one.endpoints for one in present.clusters if one.dns or one.endpoints_file}
    blank = [one for one in config.clusters if not one.endpoints]
    return overlaid(config, {one.name: known[_source(one)] for one in blank if _source(one) in known})


def _source(cluster: Cluster) -> tuple[str, Dns | None, str | None]:
    return cluster.name, cluster.dns, cluster.endpoints_file


def read(home: Household) -> Config:
    """The file as it is now.  Raises `Refusal` when it is wrong, or asks for what only a restart can do."""
    if home.path is None:
        raise Refusal("the proxy was not started with a file")
    try:
        config = with_names_found(load(home.path), home.config)
    except ConfigErrors as errors:
        raise Refusal(str(errors)) from None
    for key, was, wanted in (
        ("admin.bind", home.config.admin.bind, config.admin.bind),
        ("user", home.config.user, config.user),
        ("pid_file", home.config.pid_file, config.pid_file),
    ):
        if was != wanted:
            raise Refusal(f"{key} can only be changed by a restart (shardproxy restart)")
    rows = home.memory.segment.capacities.rows
    if 1 + 2 * (worker_count(config) + 1) > rows:
        raise Refusal(f"the shared memory has {rows} rows, too few for that many workers; restart (shardproxy restart)")
    return config

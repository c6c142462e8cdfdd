"""Looking after the children: fork those that are due, hear what they say, bury the dead, watch the living.

Every method does what is to be done now and returns; none waits.  What the phase of life asks for is in `main`.
"""

from __future__ import annotations

import logging
import selectors
import signal
import time
from collections.abc import Sequence
from contextlib import suppress
from typing import Protocol

from shardproxy.control.channel import ChannelError, PeerGone
from shardproxy.control.messages import Drain, Drained, Message, Ready, Reopen, Stop
from shardproxy.control.seat import Seat
from shardproxy.shm.rows import State
from shardproxy.supervisor import children
from shardproxy.supervisor.children import Entries
from shardproxy.supervisor.memory import NoRow
from shardproxy.supervisor.processes import Processes
from shardproxy.supervisor.signals import STACKS, Signals
from shardproxy.supervisor.state import Child, Household, Phase, Post
from shardproxy.supervisor.watch import Verdict, Watch

# How long a child may live on after it has said that it is done, or has closed its channel.
AFTERLIFE_NS = 2_000_000_000
# What a child gets beyond the deadline it was told, before it is killed.
DRAIN_GRACE_NS = 2_000_000_000
STOP_GRACE_NS = 1_000_000_000
_BURIAL_S = 2.0

logger = logging.getLogger(__name__)


class Audience(Protocol):
    """Who else wants to know what children say, and when one has gone."""

    def heard(self, post: Post, message: Message) -> None: ...

    def lost(self, post: Post) -> None: ...


class Care:
    """Acts on the posts of `home`; the channel of each child is registered with `selector`, its post as the data."""

    audience: Audience | None = None

    def __init__(
        self,
        home: Household,
        entries: Entries,
        selector: selectors.BaseSelector,
        marks: Signals,
        processes: Processes,
    ) -> None:
        self._home = home
        self._processes = processes
        self._entries = entries
        self._selector = selector
        self._marks = marks

    def due_ns(self) -> list[int]:
        """The moments (CLOCK_MONOTONIC) at which `tend` has something to do, if nothing happens before."""
        moments = [at_ns for _, at_ns in self._vacant()]
        for _, child in self._home.filled():
            if not child.killed:
                moments.extend([child.watch.due_ns()] if child.memory is not None else [])
                moments.extend([child.doom[0]] if child.doom else [])
        return moments

    def tend(self, now_ns: int) -> None:
        """Everything whose time has come."""
        for post, child in list(self._home.filled()):
            self._look_at(post, child, now_ns)
        for post, at_ns in self._vacant():
            if now_ns >= at_ns:
                self._fill(post, now_ns)

    def listen_to(self, post: Post) -> None:
        """Act on all that the child of `post` has said."""
        child = post.child
        if child is None or child.channel.fileno() < 0:
            return
        try:
            while (message := child.channel.receive()) is not None:
                self._hear(post, child, message)
        except PeerGone:
            self._hang_up(child)
            condemn(child, self._processes.now_ns() + AFTERLIFE_NS, "it has closed its channel and does not end")

    def tell(self, post: Post, message: Message, descriptors: Sequence[int] = ()) -> None:
        """Send `message` to the child of `post`, if there is one; whoever cannot hear is found dead or killed soon."""
        if post.child is not None and post.child.channel.fileno() >= 0:
            try:
                post.child.channel.send(message, descriptors)
            except ChannelError as error:
                logger.warning("%s cannot be told to %s: %s", post, type(message).__name__.lower(), error)

    def drain(self, post: Post, deadline_ns: int, *, is_succeeded: bool = False) -> None:
        """Its child finishes what runs, and is killed if it has not gone soon after `deadline_ns`."""
        child = post.child
        if child is not None:
            self.tell(post, Drain(deadline_ns, is_succeeded))
            if child.memory is not None:
                child.memory.rows.set_state(child.row, State.DRAINING)
            child.doom = None
            condemn(child, deadline_ns + DRAIN_GRACE_NS, "it has not drained in time")

    def stop(self, post: Post, now_ns: int) -> None:
        """Its child goes at once."""
        if post.child is not None:
            self.tell(post, Stop())
            condemn(post.child, now_ns + STOP_GRACE_NS, "it was told to stop and has not")

    def reopen_logs(self) -> None:
        """All workers write their access logs to the files that have the names now."""
        logger.info("the access logs are opened anew")
        for post, _ in self._home.filled():
            if post.kind == "worker":
                self.tell(post, Reopen())

    def watch_over(self, post: Post, child: Child) -> None:
        """From now on `child`, which fills `post`, is listened to."""
        post.child = child
        self._selector.register(child.channel, selectors.EVENT_READ, post)

    def reap(self) -> None:
        """Bury every child that has ended."""
        for post, child in list(self._home.filled()):
            status = self._processes.has_ended(child.pid)
            if status is not None:
                self._bury(post, child, status)

    def leave_nobody(self) -> None:
        """Kill whoever is still there; for an end that nobody planned."""
        for _, child in self._home.filled():
            self._processes.kill(child.pid, signal.SIGKILL)
        give_up = time.monotonic() + _BURIAL_S
        while any(self._home.filled()) and time.monotonic() < give_up:
            self.reap()
            time.sleep(0.005)

    def _fill(self, post: Post, now_ns: int) -> None:
        post.fork_at_ns = None
        try:
            child = self._processes.fork(self._home, post, self._entries, self._leave)
        except (OSError, NoRow) as error:
            self._plan(post, lived_ns=0, now_ns=now_ns)
            why = error.strerror if isinstance(error, OSError) else error
            logger.error("%s cannot be started: %s%s", post.name, why, _plans(post, now_ns))
            return
        self.watch_over(post, child)
        logger.debug("%s started", post)

    def _leave(self, seat: Seat) -> None:
        """In the child: close all that is the supervisor's."""
        self._selector.close()
        self._marks.close()
        self._home.sockets.keep_only(seat.listeners)
        for _, sibling in self._home.filled():
            sibling.channel.close()

    def _hear(self, post: Post, child: Child, message: Message) -> None:
        if isinstance(message, Ready):
            self._welcome(post, child)
        elif isinstance(message, Drained):
            logger.info("%s has drained: %s", post, "nothing was cut" if not message.cut else f"{message.cut} cut")
            condemn(child, self._processes.now_ns() + AFTERLIFE_NS, "it has drained and does not end")
        if self.audience is not None:
            self.audience.heard(post, message)

    def _welcome(self, post: Post, child: Child) -> None:
        child.ready = post.ever_ready = True
        child.watch = Watch(self._home.config.watchdog, self._processes.now_ns())
        if child.memory is not None and child.memory.rows.state(child.row) is State.STARTING:
            child.memory.rows.set_state(child.row, State.READY)
        logger.info("%s is ready", post)

    def _look_at(self, post: Post, child: Child, now_ns: int) -> None:
        if child.killed:
            return
        if child.doom is not None and now_ns >= child.doom[0]:
            self._kill(post, child, child.doom[1])
            return
        if child.memory is None:
            return
        silence = f"no sign of life for {child.watch.silent_ns(now_ns) / 1e9:.1f} s"
        verdict = child.watch.look(child.memory.rows.heartbeat(child.row), now_ns)
        if verdict is Verdict.ASK:
            logger.error("%s: %s; asked for its stacks", post, silence)
            self._processes.kill(child.pid, STACKS)
        elif verdict is Verdict.RELIEVED:
            logger.warning("%s gives signs of life again", post)
        elif verdict is Verdict.KILL:
            self._kill(post, child, silence)

    def _kill(self, post: Post, child: Child, why: str) -> None:
        logger.error("%s is killed: %s", post, why)
        child.killed = True
        self._processes.kill(child.pid, signal.SIGKILL)

    def _bury(self, post: Post, child: Child, status: int) -> None:
        now_ns = self._processes.now_ns()
        self.listen_to(post)
        self._hang_up(child)
        if child.memory is not None:
            child.memory.clear_row(child.row)
        self._plan(post, now_ns - child.born_ns, now_ns)
        level = logging.INFO if status == 0 and post.fork_at_ns is None else logging.ERROR
        logger.log(level, "%s ended: %s%s", post, children.how_it_ended(status), _plans(post, now_ns))
        post.child = None
        self._home.forget(post)
        self._home.close_unused(child.memory)
        if self.audience is not None:
            self.audience.lost(post)

    def _vacant(self) -> list[tuple[Post, int]]:
        """Those that are to be filled, and when.  While the configuration changes nobody is born: whose would it be?"""
        if self._home.is_changing:
            return []
        posts = [(post, post.fork_at_ns) for post in self._home.posts if post.child is None]
        return [(post, at_ns) for post, at_ns in posts if at_ns is not None]

    def _hang_up(self, child: Child) -> None:
        with suppress(KeyError, ValueError):
            self._selector.unregister(child.channel)
        child.channel.close()

    def _plan(self, post: Post, lived_ns: int, now_ns: int) -> None:
        """When the next one comes; nobody comes any more once the end has begun."""
        if not post.ever_ready:
            post.early_ends += 1
        if post in self._home.posts and self._home.phase in (Phase.STARTING, Phase.SERVING, Phase.LEAVING):
            post.fork_at_ns = now_ns + post.backoff.after(lived_ns)


def condemn(child: Child, at_ns: int, why: str) -> None:
    """`child` will be killed if it still lives at `at_ns`; an earlier date that it has stays."""
    if child.doom is None or at_ns < child.doom[0]:
        child.doom = (at_ns, why)


def _plans(post: Post, now_ns: int) -> str:
    if post.fork_at_ns is None:
        return ""
    delay_s = (post.fork_at_ns - now_ns) / 1e9
    return f"; another starts in {delay_s:.1f} s" if delay_s > 0 else "; another starts at once"

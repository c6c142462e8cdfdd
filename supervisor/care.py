"""Looking after the children: fork those that are due, hear what they say, bury the dead, watch the living.

Every method does what is to be done now and returns; none waits.  What the phase of life asks for is in `main`.
"""

from __future__ import annotations

import logging
import os
import selectors
import signal
import time
from contextlib import suppress

from shardproxy.control.channel import ChannelError, PeerGone
from shardproxy.control.messages import Drained, Message, Ready
from shardproxy.control.seat import Seat
from shardproxy.shm.rows import State
from shardproxy.supervisor import children
from shardproxy.supervisor.children import Entries
from shardproxy.supervisor.signals import STACKS, Signals
from shardproxy.supervisor.state import Child, Household, Phase, Post
from shardproxy.supervisor.watch import Verdict, Watch

# How long a child may live on after it has said that it is done, or has closed its channel.
AFTERLIFE_NS = 2_000_000_000
_BURIAL_S = 2.0

logger = logging.getLogger(__name__)


class Care:
    """Acts on the posts of `home`; the channel of each child is registered with `selector`, its post as the data."""

    def __init__(self, home: Household, entries: Entries, selector: selectors.BaseSelector, marks: Signals) -> None:
        self._home = home
        self._entries = entries
        self._selector = selector
        self._marks = marks

    def due_ns(self) -> list[int]:
        """The moments (CLOCK_MONOTONIC) at which `tend` has something to do, if nothing happens before."""
        moments = [post.fork_at_ns for post in self._home.posts if post.child is None and post.fork_at_ns is not None]
        for _, child in self._home.filled():
            if not child.killed:
                moments.append(child.watch.due_ns())
                moments.extend([child.doom[0]] if child.doom else [])
        return moments

    def tend(self, now_ns: int) -> None:
        """Everything whose time has come."""
        for post in self._home.posts:
            if post.child is not None:
                self._look_at(post, post.child, now_ns)
            elif post.fork_at_ns is not None and now_ns >= post.fork_at_ns:
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
            condemn(child, time.monotonic_ns() + AFTERLIFE_NS, "it has closed its channel and does not end")

    def tell(self, post: Post, message: Message) -> None:
        """Send `message` to the child of `post`, if there is one; whoever cannot hear is found dead or killed soon."""
        if post.child is not None and post.child.channel.fileno() >= 0:
            try:
                post.child.channel.send(message)
            except ChannelError as error:
                logger.warning("%s cannot be told to %s: %s", post, type(message).__name__.lower(), error)

    def reap(self) -> None:
        """Bury every child that has ended."""
        for post, child in list(self._home.filled()):
            pid, status = os.waitpid(child.pid, os.WNOHANG)
            if pid:
                self._bury(post, child, status)

    def leave_nobody(self) -> None:
        """Kill whoever is still there; for an end that nobody planned."""
        for _, child in self._home.filled():
            os.kill(child.pid, signal.SIGKILL)
        give_up = time.monotonic() + _BURIAL_S
        while any(self._home.filled()) and time.monotonic() < give_up:
            self.reap()
            time.sleep(0.005)

    def _fill(self, post: Post, now_ns: int) -> None:
        post.fork_at_ns = None
        try:
            post.child = children.fork(self._home, post, self._entries, self._leave)
        except OSError as error:
            self._plan(post, lived_ns=0, now_ns=now_ns)
            logger.error("%s cannot be started: %s; %s", post.name, error.strerror, _plans(post, now_ns))
            return
        self._selector.register(post.child.channel, selectors.EVENT_READ, post)
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
            condemn(child, time.monotonic_ns() + AFTERLIFE_NS, "it has drained and does not end")

    def _welcome(self, post: Post, child: Child) -> None:
        child.ready = post.ever_ready = True
        child.watch = Watch(self._home.config.watchdog, time.monotonic_ns())
        if self._home.rows.state(child.row) is State.STARTING:
            self._home.rows.set_state(child.row, State.READY)
        logger.info("%s is ready", post)

    def _look_at(self, post: Post, child: Child, now_ns: int) -> None:
        if child.killed:
            return
        if child.doom is not None and now_ns >= child.doom[0]:
            self._kill(post, child, child.doom[1])
            return
        silence = f"no sign of life for {child.watch.silent_ns(now_ns) / 1e9:.1f} s"
        verdict = child.watch.look(self._home.rows.heartbeat(child.row), now_ns)
        if verdict is Verdict.ASK:
            logger.error("%s: %s; asked for its stacks", post, silence)
            os.kill(child.pid, STACKS)
        elif verdict is Verdict.RELIEVED:
            logger.warning("%s gives signs of life again", post)
        elif verdict is Verdict.KILL:
            self._kill(post, child, silence)

    def _kill(self, post: Post, child: Child, why: str) -> None:
        logger.error("%s is killed: %s", post, why)
        child.killed = True
        os.kill(child.pid, signal.SIGKILL)

    def _bury(self, post: Post, child: Child, status: int) -> None:
        now_ns = time.monotonic_ns()
        self.listen_to(post)
        self._hang_up(child)
        self._home.clear_row(child.row)
        self._plan(post, now_ns - child.born_ns, now_ns)
        level = logging.INFO if status == 0 and post.fork_at_ns is None else logging.ERROR
        logger.log(level, "%s ended: %s%s", post, children.how_it_ended(status), _plans(post, now_ns))
        post.child = None

    def _hang_up(self, child: Child) -> None:
        with suppress(KeyError, ValueError):
            self._selector.unregister(child.channel)
        child.channel.close()

    def _plan(self, post: Post, lived_ns: int, now_ns: int) -> None:
        """When the next one comes; nobody comes any more once the end has begun."""
        if not post.ever_ready:
            post.early_ends += 1
        if self._home.phase in (Phase.STARTING, Phase.SERVING):
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

"""A worker that has grown too large is replaced: another comes on the same sockets; once that is ready, the old drains.

Memory that a long-lived process does not give back (fragmentation, a filter's leak) is thus bounded without a gap.
"""

from __future__ import annotations

import logging
import os
from contextlib import suppress
from pathlib import Path

from shardproxy.supervisor.care import Care
from shardproxy.supervisor.operations import Operation, Outcome
from shardproxy.supervisor.state import Household, Post

LOOK_NS = 5_000_000_000
PATIENCE_NS = 20_000_000_000
EARLY_ENDS = 5

logger = logging.getLogger(__name__)


class Scales:
    """Weighs the workers every few seconds."""

    def __init__(self, home: Household) -> None:
        self._home = home
        self._next_ns = 0

    def due_ns(self) -> list[int]:
        return [self._next_ns] if self._home.config.max_worker_rss is not None else []

    def too_heavy(self, now_ns: int) -> list[Post]:
        """Those above `max_worker_rss`; nobody between two weighings."""
        limit = self._home.config.max_worker_rss
        if limit is None or now_ns < self._next_ns:
            return []
        self._next_ns = now_ns + LOOK_NS
        ready = [(post, post.child) for post in self._home.workers if post.child is not None and post.child.ready]
        return [post for post, child in ready if rss(child.pid) > limit]


class Recycle(Operation):
    """`post` gets a successor with the same index, and then its child drains."""

    def __init__(self, home: Household, care: Care, post: Post) -> None:
        self._home = home
        self._care = care
        self._old = post
        self._new = Post(post.kind, post.index)
        self._deadline_ns = 0

    def begin(self, now_ns: int) -> Outcome | None:
        if self._old not in self._home.posts or self._old.child is None:
            return Outcome(True, f"{self._old.name} has gone by itself")
        self._deadline_ns = now_ns + PATIENCE_NS
        self._swap(self._old, self._new)
        return None

    def due_ns(self) -> int:
        return self._deadline_ns

    def go_on(self, now_ns: int) -> Outcome | None:
        if self._new.ever_ready:
            self._care.drain(self._old, now_ns + self._home.config.drain_timeout, is_succeeded=True)
            return Outcome(True, f"{self._new.name} has a successor")
        if self._new.early_ends >= EARLY_ENDS or now_ns >= self._deadline_ns:
            self._care.stop(self._new, now_ns)
            self._swap(self._new, self._old)
            return Outcome(False, f"a successor of {self._old} does not get ready; it stays")
        return None

    def give_up(self, why: str) -> None:
        """Both serve, and both are about to be stopped."""

    def _swap(self, leaving: Post, coming: Post) -> None:
        home = self._home
        home.forget(coming)
        home.posts = [coming if post is leaving else post for post in home.posts]
        home.dismiss([leaving])


def rss(pid: int) -> int:
    """Resident bytes of a process; 0 if it is gone (proc_pid_statm(5))."""
    with suppress(OSError, ValueError, IndexError):
        return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")
    return 0

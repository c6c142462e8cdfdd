"""More workers, or fewer.

More: sockets are added to every group, and a worker for each is born.  Fewer: the last workers get no new connections
any more (see `steering`), accept what is in their queues already, close their sockets and drain.
"""

from __future__ import annotations

from shardproxy.control.messages import Message, Released
from shardproxy.supervisor.care import Care
from shardproxy.supervisor.herald import Herald
from shardproxy.supervisor.operations import Operation, Outcome
from shardproxy.supervisor.sockets import BindError
from shardproxy.supervisor.state import Household, Post

MAX_WORKERS = 512
PATIENCE_NS = 20_000_000_000
# Between the moment in which the kernel gives a worker no new connections and that in which it closes its sockets: for
# handshakes that have begun.
SETTLE_NS = 200_000_000
EARLY_ENDS = 5


class Scale(Operation):
    """That there be `workers` workers."""

    def __init__(self, home: Household, care: Care, herald: Herald, workers: int) -> None:
        self._home = home
        self._care = care
        self._herald = herald
        self._workers = workers
        self._coming: list[Post] = []
        self._leaving: list[Post] = []
        self._settled_ns = 0
        self._deadline_ns = 0

    def __repr__(self) -> str:
        return f"<Scale to={self._workers} coming={len(self._coming)} leaving={len(self._leaving)}>"

    def begin(self, now_ns: int) -> Outcome | None:
        self._deadline_ns = now_ns + PATIENCE_NS
        count, free = len(self._home.workers), self._home.memory.pool.free
        if not 1 <= self._workers <= MAX_WORKERS:
            return Outcome(False, f"there can be 1 to {MAX_WORKERS} workers, not {self._workers}")
        if self._workers - count > free - 1:
            return Outcome(False, f"the shared memory has rows for {count + free - 1} workers; restart for more")
        if self._workers > count:
            return self._grow()
        self._leaving = self._home.set_workers(self._workers)
        self._settled_ns = now_ns + SETTLE_NS
        return self._finish() if not self._leaving else None

    def _grow(self) -> Outcome | None:
        before = self._home.workers
        try:
            self._home.sockets.resize(self._workers)
        except BindError as error:
            return Outcome(False, str(error))
        self._home.set_workers(self._workers)
        self._coming = [post for post in self._home.workers if post not in before]
        return None

    def due_ns(self) -> int:
        return self._settled_ns or self._deadline_ns

    def heard(self, post: Post, message: Message) -> None:
        if isinstance(message, Released):
            self.lost(post)

    def lost(self, post: Post) -> None:
        self._leaving = [one for one in self._leaving if one is not post]

    def go_on(self, now_ns: int) -> Outcome | None:
        if self._settled_ns and now_ns >= self._settled_ns:
            self._settled_ns = 0
            self._send_home(now_ns)
        self._coming = [post for post in self._coming if not post.ever_ready]
        if any(post.early_ends >= EARLY_ENDS for post in self._coming):
            self._undo(now_ns)
            return Outcome(False, f"a new worker ended {EARLY_ENDS} times before it was ready; the log says why")
        if not self._coming and not self._leaving:
            return self._finish()
        if now_ns >= self._deadline_ns:
            self._undo(now_ns)
            return Outcome(False, f"after {PATIENCE_NS / 1e9:g} s not all workers have come or gone")
        return None

    def _send_home(self, now_ns: int) -> None:
        self._herald.keep_only(self._workers)
        deadline_ns = now_ns + self._home.config.drain_timeout
        for post in self._leaving:
            self._care.drain(post, deadline_ns)
        self._leaving = [post for post in self._leaving if post.child is not None]

    def _undo(self, now_ns: int) -> None:
        """Those that have not come do not come any more."""
        for post in self._coming:
            self._care.stop(post, now_ns)
        if self._coming:
            staying = [post for post in self._home.workers if post not in self._coming]
            self._home.set_workers(len(staying))
            self._home.sockets.resize(len(staying))

    def give_up(self, why: str) -> None:
        """Whoever is leaving leaves; the stop that is about to come takes care of the rest."""

    def _finish(self) -> Outcome:
        """Our copies of the sockets go last: as long as one is open it belongs to the group that is steered."""
        self._home.sockets.resize(self._workers)
        count = len(self._home.workers)
        return Outcome(True, f"{count} worker{'' if count == 1 else 's'}")

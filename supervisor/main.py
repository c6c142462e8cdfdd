"""The supervisor: build what exists, then one loop that waits for signals, messages and times until told to stop.

    STARTING -- every worker has been ready --> SERVING
        |                                          |
        +---- SIGTERM ----> DRAINING <-- SIGTERM --+
        |                      |                   |
        |       SIGTERM, SIGINT, SIGQUIT           |
        |                      v                   |
        +- SIGINT, SIGQUIT -> STOPPING <-----------+     DRAINING and STOPPING end when nobody is left

Synchronous on purpose: it owns what must outlive everything else, so it does as little as possible.  It waits only in
`select`, and there never longer than a second.
"""

from __future__ import annotations

import gc
import logging
import selectors
import signal
import time
from pathlib import Path

from shardproxy.config.schema import Config
from shardproxy.control.messages import Drain, Stop
from shardproxy.observe import log
from shardproxy.shm.rows import State
from shardproxy.shm.slots import SlotsFull
from shardproxy.supervisor.care import Care, condemn
from shardproxy.supervisor.children import Entries
from shardproxy.supervisor.signals import TABLE, Action, Signals
from shardproxy.supervisor.sockets import BindError
from shardproxy.supervisor.state import SUPERVISOR_ROW, Household, Phase, Post

# What a child gets beyond the deadline it was told, before it is killed.
DRAIN_GRACE_NS = 2_000_000_000
STOP_GRACE_NS = 1_000_000_000
# The controller stays until the last worker has gone, so that the drain can be watched; then it has this long.
CONTROLLER_DRAIN_NS = 2_000_000_000
# A worker that ends this often before it was ready for the first time will not get better by itself.
EARLY_ENDS = 5
LONGEST_WAIT_NS = 1_000_000_000

OK, FAILED = 0, 1

logger = logging.getLogger(__name__)


def run(config: Config, path: Path | None = None, entries: Entries | None = None) -> int:
    """Serve `config` until told to stop; returns the exit code: 0 stopped as asked, 1 failed (the log says why).

    `path` is the file that `config` came from.  `entries` names what the children run (default: the worker and the
    controller of this package).
    """
    log.setup(config.log, "supervisor")
    with Signals() as marks:
        try:
            home = Household(config, path)
        except (BindError, SlotsFull, ValueError, OSError) as error:
            logger.critical("cannot start: %s", error)
            return FAILED
        try:
            return Supervisor(home, marks, entries or Entries.default()).serve()
        finally:
            home.close()
            gc.unfreeze()


class Supervisor:
    """The loop, and one method for each thing that can be asked of it.  `serve` is all that others call."""

    def __init__(self, home: Household, marks: Signals, entries: Entries) -> None:
        self._home = home
        self._marks = marks
        self._selector = selectors.DefaultSelector()
        self._selector.register(marks, selectors.EVENT_READ)
        self._care = Care(home, entries, self._selector, marks)
        self._exit_code = OK

    def serve(self) -> int:
        """Run until everybody has gone; whatever happens, no child is left behind."""
        try:
            while not self._is_over():
                self._turn()
        except Exception:
            logger.critical("the supervisor failed and stops everything", exc_info=True)
            self._exit_code = FAILED
            self._end_with(Phase.STOPPING)
        finally:
            self._care.leave_nobody()
            self._selector.close()
        logger.info("stopped")
        return self._exit_code

    def _is_over(self) -> bool:
        return self._home.phase in (Phase.DRAINING, Phase.STOPPING) and not any(self._home.filled())

    def _turn(self) -> None:
        for key, _ in self._selector.select(self._wait_s()):
            if isinstance(key.data, Post):
                self._care.listen_to(key.data)
        for mark in self._marks.take():
            self._act(mark)
        self._care.reap()
        now_ns = time.monotonic_ns()
        self._home.rows.beat(SUPERVISOR_ROW, now_ns)
        self._go_on(now_ns)
        self._care.tend(now_ns)

    def _wait_s(self) -> float:
        now_ns = time.monotonic_ns()
        return max(0, min([now_ns + LONGEST_WAIT_NS, *self._care.due_ns()]) - now_ns) / 1e9

    def _act(self, mark: signal.Signals) -> None:
        action, phase = TABLE[mark], self._home.phase
        if action is Action.REFUSE:
            logger.warning("%s is not supported by this version and ignored", mark.name)
        elif action is Action.DRAIN and phase in (Phase.STARTING, Phase.SERVING):
            logger.info("%s: draining for at most %g s", mark.name, self._home.config.drain_timeout / 1e9)
            self._drain(time.monotonic_ns())
        elif action is not Action.LOOK and phase is not Phase.STOPPING:
            logger.info("%s: stopping at once", mark.name)
            self._stop(time.monotonic_ns())

    def _go_on(self, now_ns: int) -> None:
        """From one phase to the next, where that does not come from outside."""
        if self._home.phase is Phase.STARTING:
            self._see_whether_all_are_ready(now_ns)
        elif self._home.phase is Phase.DRAINING and not any(post.child for post in self._home.workers):
            self._drain_controller(now_ns)

    def _see_whether_all_are_ready(self, now_ns: int) -> None:
        hopeless = [post for post in self._home.workers if post.early_ends >= EARLY_ENDS]
        if hopeless:
            logger.critical("giving up: %s ended %d times before it was ready", hopeless[0].name, EARLY_ENDS)
            self._exit_code = FAILED
            self._stop(now_ns)
        elif all(post.ever_ready for post in self._home.workers):
            self._home.phase = Phase.SERVING
            logger.info("ready: %s", summary(self._home.config, len(self._home.workers)))

    def _drain(self, now_ns: int) -> None:
        self._end_with(Phase.DRAINING)
        deadline_ns = now_ns + self._home.config.drain_timeout
        for post in self._home.workers:
            self._drain_post(post, deadline_ns)
        # From now on each socket has only its worker left: it closes when the worker has emptied its queue and lets go,
        # neither before (which would reset who waits there) nor long after (which would let others wait for nobody).
        self._home.sockets.close_workers()

    def _drain_controller(self, now_ns: int) -> None:
        for post in self._home.controllers:
            if post.child and post.child.doom is None:
                self._drain_post(post, now_ns + CONTROLLER_DRAIN_NS)

    def _drain_post(self, post: Post, deadline_ns: int) -> None:
        if post.child:
            self._care.tell(post, Drain(deadline_ns))
            self._home.rows.set_state(post.child.row, State.DRAINING)
            condemn(post.child, deadline_ns + DRAIN_GRACE_NS, "it has not drained in time")

    def _stop(self, now_ns: int) -> None:
        self._end_with(Phase.STOPPING)
        for post, child in self._home.filled():
            self._care.tell(post, Stop())
            condemn(child, now_ns + STOP_GRACE_NS, "it was told to stop and has not")

    def _end_with(self, phase: Phase) -> None:
        """Nobody is born any more."""
        self._home.phase = phase
        for post in self._home.posts:
            post.fork_at_ns = None


def summary(config: Config, workers: int) -> str:
    """`2 workers, listening on 127.0.0.1:8080; admin on http://127.0.0.1:9901`."""
    count = f"{workers} worker{'' if workers == 1 else 's'}"
    binds = ", ".join(str(listener.bind) for listener in config.listeners)
    admin = str(config.admin.bind) if config.admin.bind.is_unix else f"http://{config.admin.bind}"
    return f"{count}, listening on {binds}; admin on {admin}"

"""Hot restart: the new code proves itself, then replaces the old in this very process, and then its workers succeed.

    PREFLIGHT ── a child of the new code exits 0 ──> record written ──> execve, same pid ──> succession (the new code)
        │ it fails, hangs, or the file is wrong
        v
      over: nothing has happened

Descriptors, children and the shared memory are inherited by execve(2) itself.  Signals are held back from here until
the new code has its handlers (the mask survives execve), and those that have arrived and were not acted on are in the
record: none is lost, and none can end it.  So are the operations that wait.
"""

from __future__ import annotations

import logging
import os
import signal
import sys
from collections.abc import Callable, Sequence

from shardproxy.config.plain import encode
from shardproxy.supervisor import record as records
from shardproxy.supervisor.care import Care
from shardproxy.supervisor.operations import Operation, Outcome
from shardproxy.supervisor.preflight import Preflight
from shardproxy.supervisor.processes import Processes
from shardproxy.supervisor.record import Record
from shardproxy.supervisor.requests import Request, pids_of, record_of
from shardproxy.supervisor.signals import Signals
from shardproxy.supervisor.state import Household

LOOK_NS = 20_000_000

logger = logging.getLogger(__name__)


class Restart(Operation):
    """From the preflight to the moment in which this code is no more; what follows is `succession`.

    `hand_over` gives the operations that wait and that the new code can do.
    """

    def __init__(
        self,
        home: Household,
        care: Care,
        request: Request,
        hand_over: Callable[[], Sequence[Request]],
        marks: Signals,
        processes: Processes,
    ) -> None:
        self._home = home
        self._care = care
        self._request = request
        self._hand_over = hand_over
        self._marks = marks
        self._processes = processes
        self._preflight: Preflight | None = None
        self._look_ns = 0
        self._deadline_ns = 0

    def begin(self, now_ns: int) -> Outcome | None:
        if self._home.path is None:
            return Outcome(False, "the proxy was not started with a file")
        self._hurry_the_oldest(now_ns)
        self._deadline_ns = now_ns + self._home.config.restart_timeout
        self._look_ns = now_ns + LOOK_NS
        try:
            self._preflight = self._processes.preflight()
        except OSError as error:
            return _refused(f"the new one cannot be started: {error.strerror}")
        return None

    def due_ns(self) -> int:
        return self._look_ns

    def go_on(self, now_ns: int) -> Outcome | None:
        self._look_ns = now_ns + LOOK_NS
        if self._preflight is None or now_ns < self._deadline_ns and not self._can_go_on(self._preflight):
            return None
        config = self._preflight.config() if self._preflight.is_over else None
        reason = self._preflight.reason() if self._preflight.is_over else "the new one has not proved itself in time"
        self.give_up("")
        if config is None:
            return _refused(reason)
        return self._replace(config)

    def give_up(self, why: str) -> None:
        if self._preflight is not None:
            self._preflight.end()
            self._preflight = None

    def _can_go_on(self, preflight: Preflight) -> bool:
        """The new code would know nothing of a child that has closed its channel, so its end, which is near, comes
        first."""
        return preflight.is_over and all(child.channel.fileno() >= 0 for _, child in self._home.filled())

    def _replace(self, config: bytes) -> Outcome:
        former_mask = signal.pthread_sigmask(signal.SIG_BLOCK, signal.valid_signals())
        record = self._record(config)
        fd = records.leave_behind(record)
        logger.info("the new code is right; generation %d takes over", record.generation)
        try:
            self._processes.execute(sys.executable, [sys.executable, *sys.orig_argv[1:]])
        except OSError as error:
            records.take_back(record, fd)
            self._marks.put_back(record.signals)
            signal.pthread_sigmask(signal.SIG_SETMASK, former_mask)
            return _refused(f"the new one cannot be executed: {error.strerror}")

    def _record(self, config: bytes) -> Record:
        home, askers = self._home, pids_of(self._request)
        return Record(
            pid=os.getpid(),
            generation=home.generation + 1,
            version=home.version + 1,
            path=str(home.path) if home.path else None,
            config=config,
            former_config=encode(home.config),
            names=home.slots.in_order(),
            segment=home.memory.segment.fd,
            sockets=records.sockets_of(home),
            children=records.children_of(home),
            workers=len(home.workers),
            asker=askers[0] if askers else None,
            bells=home.memory.bells,
            edited=tuple(sorted(home.edited)),
            spans=home.slots.spans(),
            other_askers=askers[1:],
            waiting=tuple(record_of(request) for request in self._hand_over()),
            signals=bytes(self._marks.take_all()),
        )

    def _hurry_the_oldest(self, now_ns: int) -> None:
        """No more than `max_generations` drain at a time."""
        draining = sorted({child.generation for post, child in self._home.filled() if post not in self._home.posts})
        for generation in draining[: max(0, len(draining) - self._home.config.max_generations + 1)]:
            for post, child in self._home.filled():
                if child.generation == generation and post not in self._home.posts:
                    self._care.drain(post, now_ns)


def _refused(reason: str) -> Outcome:
    return Outcome(False, f"the old one serves on: {reason}")

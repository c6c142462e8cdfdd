"""Active checks of endpoints: made once, here, for all workers, which read the outcome from decision cells.

A controller that follows another one finds the decisions of its predecessor in the cells and goes on from them.
"""

from __future__ import annotations

import asyncio
import logging
import random
import time
from dataclasses import dataclass

from shardproxy.config.schema import Config, HealthCheck
from shardproxy.config.units import Address
from shardproxy.control.background import background
from shardproxy.controller.failures import Failures, forever
from shardproxy.controller.probes import Probe, probe_of
from shardproxy.controller.reasons import Reason
from shardproxy.controller.standing import Standing
from shardproxy.shm import names
from shardproxy.shm.decisions import CHECKED, FAILED_CHECK, Decisions
from shardproxy.shm.segment import Segment
from shardproxy.shm.slots import SlotKind, Slots

# Checks that run at a time, so that thousands of endpoints do not take all descriptors at once.
MOST_AT_A_TIME = 256

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Subject:
    """What is checked, and how; two configurations that agree on it share the check and what it has found."""

    cluster: str
    address: Address
    check: HealthCheck
    slot: int

    def __str__(self) -> str:
        return f"cluster {self.cluster}, endpoint {self.address}"


class Health:
    """Keeps one checker running for every endpoint that is to be checked; only inside a running loop."""

    def __init__(self, segment: Segment, failures: Failures) -> None:
        self._decisions = Decisions(segment)
        self._failures = failures
        self._turns = asyncio.Semaphore(MOST_AT_A_TIME)
        self._running: dict[Subject, asyncio.Task[None]] = {}

    def follow(self, config: Config, slots: Slots) -> None:
        """Check what `config` wants checked.  What is not to be checked any more is in use again."""
        wanted = dict.fromkeys(subjects(config, slots))
        for subject in [subject for subject in self._running if subject not in wanted]:
            self._running.pop(subject).cancel()
        self._forget_all_but({subject.slot for subject in wanted}, slots)
        for subject in wanted:
            if subject not in self._running:
                checker = Checker(subject, self._decisions, self._turns)
                self._running[subject] = background(checker.run(self._failures))

    def stop(self) -> None:
        """Write nothing from now on; the decisions stand."""
        for task in self._running.values():
            task.cancel()
        self._running.clear()

    def _forget_all_but(self, kept: set[int], slots: Slots) -> None:
        for slot in slots.names(SlotKind.DECISION).values():
            if slot not in kept:
                self._decisions.withdraw(slot, FAILED_CHECK | CHECKED)


class Checker:
    """The checks of one endpoint, one a `turn`.

    A turn that fails is a fault of ours, or a shortage: it says nothing of the endpoint, and is no failed check.
    """

    def __init__(self, subject: Subject, decisions: Decisions, turns: asyncio.Semaphore) -> None:
        self._subject = subject
        self._check = subject.check
        self._decisions = decisions
        self._turns = turns
        self._probe: Probe = probe_of(subject.check, subject.address)
        self.standing = _standing(subject, decisions)

    async def run(self, failures: Failures) -> None:
        await forever(f"the health check of {self._subject}", self.turn, failures, again_s=self._check.interval / 1e9)

    async def turn(self) -> float:
        """One check; when the next is due, in seconds from now."""
        async with self._turns:
            begin = time.monotonic()
            reason = await self._probe.ask()
        if reason is not None:
            self._conclude(reason)
        return max(0.0, begin + self._pause_s() - time.monotonic())

    def _conclude(self, reason: Reason) -> None:
        is_news = self.standing.note(reason.is_good)
        if is_news or not self._is_published():
            self._publish(reason, is_news=is_news)

    def _is_published(self) -> bool:
        """Not if another controller, which was to follow and then did not, has come to a conclusion of its own."""
        return bool(self._decisions.flags(self._subject.slot) & FAILED_CHECK) is self.standing.is_failed

    def _publish(self, reason: Reason, *, is_news: bool) -> None:
        slot, now_ns = self._subject.slot, time.monotonic_ns()
        flags, since_ns = self._decisions.flags(slot), self._decisions.since_ns(slot)
        wanted = flags & ~FAILED_CHECK | CHECKED | (FAILED_CHECK if self.standing.is_failed else 0)
        self._decisions.decide(slot, wanted, reason.encode(), now_ns)
        if is_news and self.standing.is_failed:
            logger.warning("%s is unhealthy: %s", self._subject, reason)
        elif is_news and flags & FAILED_CHECK:
            logger.info("%s is healthy again after %.1f s", self._subject, (now_ns - since_ns) / 1e9)

    def _pause_s(self) -> float:
        """From the start of a check to the next; spread by chance, so that checks do not all come at one moment."""
        check = self._check
        interval = check.interval
        if self.standing.is_failed and check.unhealthy_interval is not None:
            interval = check.unhealthy_interval
        return interval / 1e9 * (1 + random.uniform(-check.jitter, check.jitter) / 100)


def subjects(config: Config, slots: Slots) -> list[Subject]:
    """All that is to be checked."""
    return [
        Subject(
            cluster.name,
            endpoint.address,
            cluster.health_check,
            slots.decision(names.endpoint_decision(cluster.name, str(endpoint.address))),
        )
        for cluster in config.clusters
        if cluster.health_check is not None
        for endpoint in cluster.endpoints
    ]


def _standing(subject: Subject, decisions: Decisions) -> Standing:
    """As the controller before has left it."""
    flags = decisions.flags(subject.slot)
    return Standing(
        rise=subject.check.healthy,
        fall=subject.check.unhealthy,
        is_known=bool(flags & (CHECKED | FAILED_CHECK)),
        is_failed=bool(flags & FAILED_CHECK),
    )

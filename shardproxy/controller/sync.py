"""Limits that hold over several machines: leases tokens from their store, so that no worker ever waits for a network.

    workers: asked ──> demand ──> trip to the store, 25 ms after the last ──> lease: tokens left, until when ──> workers

Each answer makes the lease hold for half a second more. When none comes, nobody has to do anything: the time is over,
and the workers do what `on_store_failure` says, also if it is the controller that is gone.
"""

from __future__ import annotations

import asyncio
import hashlib
import logging
import random
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Protocol

from shardproxy.config.limits import RateLimit, burst_of
from shardproxy.config.schema import Config
from shardproxy.config.stores import Store
from shardproxy.control.background import background
from shardproxy.controller.failures import Failures, forever
from shardproxy.limits.leasing import Demand
from shardproxy.shm import names
from shardproxy.shm.buckets import Bucket, Buckets
from shardproxy.shm.metrics import Metrics
from shardproxy.shm.segment import Segment
from shardproxy.shm.slots import Slots
from shardproxy.shm.words import Words

if TYPE_CHECKING:
    from shardproxy.controller.redis_store import Grant

READER = 0  # totals are read, nothing is counted
TRIP_EVERY_S = 0.025
JITTER = 0.25  # so that no machine comes always just before or just behind another, and takes all
IDLE_NS = 100_000_000  # from one trip to the next while nobody asks
HOLDS_NS = 500_000_000
AGAIN_S = 0.1

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Subject:
    """One limit, and where its words, its counter and its bucket are."""

    name: str
    store: Store
    password_file: str | None
    on_failure: str
    rate: float
    burst: int
    lease: int
    until: int
    machines: int
    asked: int
    bucket: int


class TokenStore(Protocol):
    """See `redis_store.RedisStore`."""

    async def open(self) -> None: ...

    async def lease(self, limit: str, held: int, wanted: int, rate: float, burst: int) -> Grant: ...

    async def close(self) -> None: ...


@dataclass
class Syncing:
    """Leases tokens of one limit. Its cost: 40 trips a second, 10 while nobody asks, with 0.4 ms of CPU each.

    `clock` is CLOCK_MONOTONIC, in ns.
    """

    subject: Subject
    store: TokenStore
    words: Words
    metrics: Metrics
    bucket: Bucket
    demand: Demand = field(default_factory=Demand)
    asked: int = 0
    sent_ns: int = 0
    is_known: bool = False  # that it is shared, or that it is not: what the log has said last
    is_missed: bool = False
    is_open: bool = False
    clock: Callable[[], int] = time.monotonic_ns

    def __post_init__(self) -> None:
        self.asked = self.metrics.counter_total(self.subject.asked)

    async def run(self, failures: Failures) -> None:
        try:
            await forever(f"the sharing of rate limit {self.subject.name}", self.turn, failures, again_s=AGAIN_S)
        finally:
            await self.store.close()

    async def turn(self) -> float:
        """A trip to the store, if one is due; when to look again, in seconds from now."""
        from shardproxy.controller.redis_store import StoreLost

        is_open, self.is_open = self.is_open, False  # whatever happens now, the store is opened anew
        try:
            await self._sync(is_open)
        except StoreLost as lost:
            self._mourn(str(lost))
            return AGAIN_S
        self.is_open = True
        return TRIP_EVERY_S * random.uniform(1 - JITTER, 1 + JITTER)

    async def _sync(self, is_open: bool) -> None:
        if not is_open:
            await self.store.open()
            self.sent_ns = 0
        if self._is_due():
            await self._trip()
            self._rejoice()

    def _is_due(self) -> bool:
        is_asked = self.metrics.counter_total(self.subject.asked) != self.asked
        return is_asked or self.clock() - self.sent_ns >= IDLE_NS

    async def _trip(self) -> None:
        """What is at hand beyond what is wanted is taken from the workers before it is given back to the others."""
        subject = self.subject
        held = self.words.load(subject.lease)
        total = self.metrics.counter_total(subject.asked)
        self.demand.note(total - self.asked + max(0, -held))
        self.asked = total
        wanted = self.demand.wanted(subject.burst)
        kept = min(held, max(wanted, self._spare()))
        self.words.add(subject.lease, kept - held)
        self.sent_ns = sent_ns = self.clock()
        grant = await self.store.lease(subject.name, held - self._owed(sent_ns), wanted, subject.rate, subject.burst)
        self.words.add(subject.lease, grant.tokens - kept)
        self.words.store(subject.machines, grant.machines)
        self.words.store(subject.until, sent_ns + HOLDS_NS)
        self._follow(grant.left, sent_ns)

    def _spare(self) -> int:
        """What the store leaves to a machine that wants nothing; what it says in the end counts."""
        return max(1, self.subject.burst // 16 // max(1, self.words.load(self.subject.machines)))

    def _owed(self, now_ns: int) -> int:
        """What this machine has taken from its own bucket while the store did not answer: it pays that to all."""
        is_local = self.subject.on_failure == "local" and now_ns >= self.words.load(self.subject.until)
        return int(self.bucket.burst - self.bucket.tokens(now_ns)) if is_local and self.is_missed else 0

    def _follow(self, left: int, now_ns: int) -> None:
        """The machine's own bucket shows what is left for all, and goes on from there when it has to stand in."""
        surplus = int(self.bucket.tokens(now_ns)) - left
        if surplus > 0:
            self.bucket.take(now_ns, surplus)
        elif surplus < 0:
            self.bucket.give_back(-surplus)

    def _mourn(self, why: str) -> None:
        """Once, and not for a store that comes back in time."""
        subject = self.subject
        if not self.is_missed and self.clock() >= self.words.load(subject.until):
            self.is_known = self.is_missed = True
            what = (subject.name, subject.on_failure, subject.store, why)
            logger.warning("the rate limit %s is %s now, since %s does not answer: %s", *what)

    def _rejoice(self) -> None:
        if self.is_missed or not self.is_known:
            logger.info("the rate limit %s is shared by %s", self.subject.name, self.subject.store)
        self.is_known, self.is_missed = True, False


class SharedLimits:
    """Keeps the limits that have a store; only inside a running loop."""

    def __init__(self, segment: Segment, failures: Failures) -> None:
        self._failures = failures
        self._words, self._metrics, self._buckets = Words(segment), Metrics(segment, READER), Buckets(segment)
        # What the segment's secret is must stay here; a digest of it is this machine's name for as long as it runs.
        self._machine = hashlib.blake2b(segment.secret, digest_size=8).hexdigest()
        self._running: dict[Subject, asyncio.Task[None]] = {}

    def follow(self, config: Config, slots: Slots) -> None:
        """Lease for the limits of `config`."""
        wanted = [subject_of(limit, limit.store, slots) for limit in config.rate_limits if limit.store is not None]
        for former in [former for former in self._running if former not in wanted]:
            self._running.pop(former).cancel()
        for subject in wanted:
            if subject not in self._running:
                self._running[subject] = background(self._syncing(subject).run(self._failures))

    def _syncing(self, subject: Subject) -> Syncing:
        from shardproxy.controller.redis_store import RedisStore  # an extra, which only those have who need it

        bucket = Bucket(self._buckets, subject.bucket, subject.rate, subject.burst)
        store = RedisStore(subject.store, self._machine, subject.password_file)
        return Syncing(subject, store, self._words, self._metrics, bucket)

    def stop(self) -> None:
        """Lease nothing from now on; who follows goes on with what is at hand."""
        for task in self._running.values():
            task.cancel()
        self._running.clear()


def subject_of(limit: RateLimit, store: Store, slots: Slots) -> Subject:
    """Where the numbers of a limit are."""
    return Subject(
        name=limit.name,
        store=store,
        password_file=limit.store_password_file,
        on_failure=limit.on_store_failure,
        rate=limit.rate,
        burst=burst_of(limit),
        lease=slots.word(names.rate_limit_lease(limit.name)),
        until=slots.word(names.rate_limit_leased_until(limit.name)),
        machines=slots.word(names.rate_limit_machines(limit.name)),
        asked=slots.counter(names.rate_limit_asked(limit.name)),
        bucket=slots.bucket(names.rate_limit(limit.name)),
    )

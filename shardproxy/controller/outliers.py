"""Passive ejection: endpoints whose requests go badly, counted over all workers, get none for a while.

Once an interval the sums of the workers' counters are compared with those of the interval before.  Failures in a row
are counted by the workers in words that they share (`balancing.runs`); a run that is long enough stays in its word
until it was seen here, up to 50 ms later: nobody's ejection waits for the interval.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable
from dataclasses import dataclass, field

from shardproxy.config.schema import Cluster, Config, OutlierDetection
from shardproxy.control.background import background
from shardproxy.controller.ejection import Sample, ejection_ns, may_eject, outliers
from shardproxy.controller.failures import Failures, forever
from shardproxy.controller.reasons import Reason, Why
from shardproxy.shm import names
from shardproxy.shm.decisions import EJECTED, Decisions
from shardproxy.shm.metrics import Metrics
from shardproxy.shm.segment import Segment
from shardproxy.shm.slots import SlotKind, Slots
from shardproxy.shm.words import Words

READER = 0  # totals are read, nothing is counted
LOOK_AT_RUNS_S = 0.05  # one load for each endpoint; the most by which an ejection is later than its last failure

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Run:
    """A word that counts failures in a row, and from how many on they eject."""

    word: int
    limit: int
    why: Why


@dataclass(frozen=True)
class Subject:
    """One endpoint: its decision's slot, and its counters'."""

    label: str
    slot: int
    requests: int
    unreached: int
    failures: int
    errors: int
    runs: tuple[Run, ...] = ()


@dataclass
class Record:
    """What is remembered of one endpoint: its counts when the interval began, and its ejections.

    `times` is how often in a row it was ejected; `until_ns` is 0 while it is not.
    """

    requests: int = 0
    bad: int = 0
    times: int = 0
    until_ns: int = 0


@dataclass(frozen=True)
class Team:
    """The endpoints of one cluster, which are compared with each other."""

    cluster: str
    rules: OutlierDetection
    subjects: tuple[Subject, ...]


@dataclass
class Watching:
    """The looks at one team, one at the end of each interval; `records` outlive it.

    `clock` is CLOCK_MONOTONIC, in ns.
    """

    team: Team
    metrics: Metrics
    decisions: Decisions
    words: Words
    records: dict[int, Record] = field(default_factory=dict)
    clock: Callable[[], int] = time.monotonic_ns
    next_ns: int = 0

    async def run(self, failures: Failures) -> None:
        await forever(f"outlier detection in cluster {self.team.cluster}", self.turn, failures)

    async def turn(self) -> float:
        """Look at what is due; when the next look is, in seconds from now."""
        now_ns = self.clock()
        if not self.next_ns:
            self.begin(now_ns)
            self.next_ns = now_ns + self.team.rules.interval
        self.look_at_runs(now_ns)
        if now_ns >= self.next_ns:
            self.next_ns = now_ns + self.team.rules.interval
            self.look(now_ns)
        return min(LOOK_AT_RUNS_S, max(0, self.next_ns - self.clock()) / 1e9)

    def look(self, now_ns: int) -> None:
        """End one interval: let back in whose time is over, then eject."""
        samples = {subject.slot: self._sample(subject) for subject in self.team.subjects}
        out = {subject.slot for subject in self.team.subjects if self.records[subject.slot].until_ns}
        for subject in self.team.subjects:
            self._let_in(subject, now_ns)
        usable = {slot: one for slot, one in samples.items() if one.requests and not self.decisions.is_out(slot)}
        found = outliers(usable, self.team.rules)
        subjects = {subject.slot: subject for subject in self.team.subjects}
        for slot, reason in found.items():
            self._eject(subjects[slot], reason, now_ns)
        for slot in subjects.keys() - out:
            self._forgive(slot)

    def look_at_runs(self, now_ns: int) -> None:
        """Eject who has failed often enough in a row; who may not be ejected begins anew, as in Envoy."""
        for subject in self.team.subjects:
            for run in subject.runs:
                length = self.words.load(run.word)
                if length >= run.limit and not self.records[subject.slot].until_ns:
                    self._eject(subject, Reason(run.why, length), now_ns)
                    self.words.store(run.word, 0)

    def begin(self, now_ns: int) -> None:
        """Whoever the predecessor has ejected serves the rest of its first ejection."""
        for subject in self.team.subjects:
            is_new = subject.slot not in self.records
            record = self.records.setdefault(subject.slot, Record())
            if is_new:
                self._sample(subject)
            if is_new and self.decisions.flags(subject.slot) & EJECTED:
                since_ns = self.decisions.since_ns(subject.slot)
                record.times, record.until_ns = 1, min(since_ns, now_ns) + ejection_ns(self.team.rules, 1)

    def _sample(self, subject: Subject) -> Sample:
        """What has been counted since the last time."""
        total, record = self.metrics.counter_total, self.records[subject.slot]
        unreached = total(subject.unreached)
        requests = total(subject.requests) + unreached
        bad = unreached + total(subject.failures) + total(subject.errors)
        seen, failed = requests - record.requests, bad - record.bad
        record.requests, record.bad = requests, bad
        return Sample(max(seen, 0), max(seen - max(failed, 0), 0))

    def _let_in(self, subject: Subject, now_ns: int) -> None:
        record = self.records[subject.slot]
        if record.until_ns and now_ns >= record.until_ns:
            record.until_ns = 0
            for run in subject.runs:  # what was under way when it was ejected, and has failed since
                self.words.store(run.word, 0)
            flags = self.decisions.flags(subject.slot) & ~EJECTED
            self.decisions.decide(subject.slot, flags, Reason(Why.SERVED).encode(), now_ns)
            logger.info("%s is let in again", subject.label)

    def _eject(self, subject: Subject, reason: Reason, now_ns: int) -> None:
        ejected = sum(self.records[each.slot].until_ns > 0 for each in self.team.subjects)
        if not may_eject(ejected, len(self.team.subjects), self.team.rules.max_ejection_percent):
            logger.debug("%s is not ejected, since too many others are: %s", subject.label, reason)
            return
        record = self.records[subject.slot]
        record.times += 1
        lasts_ns = ejection_ns(self.team.rules, record.times)
        record.until_ns = now_ns + lasts_ns
        self.decisions.decide(subject.slot, self.decisions.flags(subject.slot) | EJECTED, reason.encode(), now_ns)
        logger.warning("%s is ejected for %.0f s: %s", subject.label, lasts_ns / 1e9, reason)

    def _forgive(self, slot: int) -> None:
        """Each whole interval in use makes the next ejection shorter by one."""
        record = self.records[slot]
        if record.times and not record.until_ns:
            record.times -= 1


class Outliers:
    """Keeps watching the clusters that want it; only inside a running loop."""

    def __init__(self, segment: Segment, failures: Failures) -> None:
        self._failures = failures
        self._metrics = Metrics(segment, READER)
        self._decisions = Decisions(segment)
        self._words = Words(segment)
        self._records: dict[int, Record] = {}
        self._running: dict[Team, asyncio.Task[None]] = {}

    def follow(self, config: Config, slots: Slots) -> None:
        """Watch what `config` wants watched.  What is not to be watched any more is in use again."""
        wanted = [team(cluster, slots) for cluster in config.clusters if cluster.outlier_detection is not None]
        for former in [former for former in self._running if former not in wanted]:
            self._running.pop(former).cancel()
            self._end_runs(former, wanted)
        self._forget_all_but({subject.slot for each in wanted for subject in each.subjects}, slots)
        for each in wanted:
            if each not in self._running:
                watching = Watching(each, self._metrics, self._decisions, self._words, self._records)
                self._running[each] = background(watching.run(self._failures))

    def stop(self) -> None:
        """Write nothing from now on; the decisions stand."""
        for task in self._running.values():
            task.cancel()
        self._running.clear()

    def _end_runs(self, former: Team, wanted: list[Team]) -> None:
        """Of words that nobody looks at any more; they may be looked at again, by a later configuration."""
        kept = {run.word for team in wanted for subject in team.subjects for run in subject.runs}
        for run in (run for subject in former.subjects for run in subject.runs if run.word not in kept):
            self._words.store(run.word, 0)

    def _forget_all_but(self, kept: set[int], slots: Slots) -> None:
        for slot in slots.names(SlotKind.DECISION).values():
            if slot not in kept:
                self._records.pop(slot, None)
                self._decisions.withdraw(slot, EJECTED)


def team(cluster: Cluster, slots: Slots) -> Team:
    """Everything that is watched in a cluster that has `outlier_detection`."""
    rules = cluster.outlier_detection
    assert rules is not None
    keys = [(cluster.name, str(endpoint.address)) for endpoint in cluster.endpoints]
    return Team(cluster.name, rules, tuple(_subject(*key, slots, rules) for key in keys))


def _subject(cluster: str, address: str, slots: Slots, rules: OutlierDetection) -> Subject:
    return Subject(
        label=f"cluster {cluster}, endpoint {address}",
        slot=slots.decision(names.endpoint_decision(cluster, address)),
        requests=slots.counter(names.endpoint_requests(cluster, address)),
        unreached=slots.counter(names.endpoint_unreached(cluster, address)),
        failures=slots.counter(names.endpoint_failures(cluster, address)),
        errors=slots.counter(names.endpoint_errors(cluster, address)),
        runs=_runs(cluster, address, slots, rules),
    )


def _runs(cluster: str, address: str, slots: Slots, rules: OutlierDetection) -> tuple[Run, ...]:
    errors = slots.word(names.endpoint_errors_run(cluster, address))
    gateway = slots.word(names.endpoint_gateway_run(cluster, address))
    every = (
        Run(errors, rules.consecutive_5xx, Why.ERRORS_RUN),
        Run(gateway, rules.consecutive_gateway_failure, Why.GATEWAY_RUN),
    )
    return tuple(run for run in every if run.limit)

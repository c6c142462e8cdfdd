"""Adaptive concurrency: looks at how long requests take, over all workers, and publishes how many may be under way.

A controller that follows another one goes on from the limit that stands in the shared memory.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from dataclasses import dataclass, field

from shardproxy.config.schema import Adaptive, Cluster, Config
from shardproxy.control.background import background
from shardproxy.controller.failures import Failures, forever
from shardproxy.controller.watching import READER, Places, Watch, places_of
from shardproxy.limits.concurrency import Aimd, Concurrency, Gradient, Look
from shardproxy.shm import names
from shardproxy.shm.gauges import Gauges
from shardproxy.shm.segment import Segment
from shardproxy.shm.slots import Slots
from shardproxy.shm.words import Words

LATE_S = 5.0  # what happened while nobody looked says nothing about now


@dataclass(frozen=True)
class Subject:
    """One cluster, and where its numbers are: the limit's word, the gauge of its requests, and what it has done."""

    cluster: str
    rules: Adaptive
    limit: int
    active: int
    places: Places


@dataclass
class Finding:
    """The looks at one cluster. `clock` counts seconds."""

    subject: Subject
    gauges: Gauges
    words: Words
    watch: Watch
    concurrency: Concurrency
    clock: Callable[[], float] = time.monotonic
    looked: float = field(init=False)

    def __post_init__(self) -> None:
        self.looked = self.clock()

    async def run(self, failures: Failures) -> None:
        what, interval_s = f"adaptive concurrency of cluster {self.subject.cluster}", self.subject.rules.interval / 1e9
        await forever(what, self.turn, failures, after_s=interval_s, again_s=interval_s)

    async def turn(self) -> float:
        """Look once, and publish the limit; when the next look is, in seconds from now."""
        interval_s, look, now = self.subject.rules.interval / 1e9, self._take(), self.clock()
        if now - self.looked < LATE_S + interval_s:
            self.words.store(self.subject.limit, self.concurrency.look(look))
        self.looked = now
        return interval_s

    def _take(self) -> Look:
        seen = self.watch.take()
        return Look(seen.ended, seen.quantile_ns(0.5), self.gauges.total(self.subject.active), seen.failed_share)


class AdaptiveLimits:
    """Keeps the limits of the clusters that want it; only inside a running loop."""

    def __init__(self, segment: Segment, failures: Failures) -> None:
        self._failures = failures
        self._segment, self._gauges, self._words = segment, Gauges(segment, READER), Words(segment)
        self._running: dict[Subject, asyncio.Task[None]] = {}

    def follow(self, config: Config, slots: Slots) -> None:
        """Find the limits that `config` wants found."""
        wanted = [subject_of(cluster, slots) for cluster in config.clusters if cluster.adaptive is not None]
        for former in [former for former in self._running if former not in wanted]:
            self._running.pop(former).cancel()
        for subject in wanted:
            if subject not in self._running:
                concurrency = concurrency_of(subject.rules, self._words.load(subject.limit))
                watch = Watch(self._segment, subject.places)
                finding = Finding(subject, self._gauges, self._words, watch, concurrency)
                self._running[subject] = background(finding.run(self._failures))

    def stop(self) -> None:
        """Write nothing from now on; the limits stand."""
        for task in self._running.values():
            task.cancel()
        self._running.clear()


def concurrency_of(rules: Adaptive, present: int) -> Concurrency:
    """Going on from `present`; 0: from where the rules say."""
    start = float(max(rules.min, min(rules.max, present or rules.start)))
    if rules.policy == "aimd" and rules.latency is not None:
        return Aimd(rules.min, rules.max, start, rules.latency, rules.failures / 100)
    return Gradient(rules.min, rules.max, start, rules.tolerance / 100)


def subject_of(cluster: Cluster, slots: Slots) -> Subject:
    """Where the numbers of a cluster that has `adaptive` are."""
    assert cluster.adaptive is not None
    return Subject(
        cluster.name,
        cluster.adaptive,
        slots.word(names.cluster_limit(cluster.name)),
        slots.gauge(names.cluster_requests(cluster.name)),
        places_of(cluster, slots),
    )

"""Adaptive concurrency: looks at how long requests take, over all workers, and publishes how many may be under way.

A controller that follows another one goes on from the limit that stands in the shared memory.
"""

from __future__ import annotations

import asyncio
import logging
import time
from dataclasses import dataclass, field

from shardproxy.config.schema import Adaptive, Cluster, Config
from shardproxy.limits.concurrency import Aimd, Concurrency, Gradient, Look
from shardproxy.shm import names
from shardproxy.shm.gauges import Gauges
from shardproxy.shm.metrics import Metrics, quantile
from shardproxy.shm.segment import Segment
from shardproxy.shm.slots import Slots
from shardproxy.shm.words import Words

READER = 0  # totals are read, nothing is counted
LATE_S = 5.0  # what happened while nobody looked says nothing about now

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Subject:
    """One cluster, and where its numbers are: the limit's word, the gauge of its requests, and of each endpoint the
    histogram of times and the counters of what went wrong."""

    rules: Adaptive
    limit: int
    active: int
    times: tuple[int, ...]
    failures: tuple[int, ...]


@dataclass
class Finding:
    """The looks at one cluster."""

    subject: Subject
    gauges: Gauges
    metrics: Metrics
    words: Words
    concurrency: Concurrency
    counts: list[int] = field(default_factory=list)
    failed: int = 0

    async def run(self) -> None:
        self._take()
        looked = time.monotonic()
        while True:
            await asyncio.sleep(self.subject.rules.interval / 1e9)
            try:
                look, now = self._take(), time.monotonic()
                if now - looked < LATE_S:
                    self.words.store(self.subject.limit, self.concurrency.look(look))
                looked = now
            except Exception:  # whatever it is, the next look must come
                logger.exception("an adaptive limit cannot be found out")

    def _take(self) -> Look:
        """What has been counted since the last time."""
        counts = [sum(part) for part in zip(*map(self.metrics.histogram_total, self.subject.times), strict=True)]
        new = [max(0, now - before) for now, before in zip(counts, self.counts or counts, strict=True)]
        failed = sum(map(self.metrics.counter_total, self.subject.failures))
        new_failed = max(0, failed - self.failed) if self.counts else 0
        self.counts, self.failed = counts, failed
        ended = sum(new)
        share = new_failed / max(ended, new_failed, 1)
        return Look(ended, quantile(new, 0.5), self.gauges.total(self.subject.active), share)


class AdaptiveLimits:
    """Keeps the limits of the clusters that want it; only inside a running loop."""

    def __init__(self, segment: Segment) -> None:
        self._gauges, self._metrics, self._words = Gauges(segment, READER), Metrics(segment, READER), Words(segment)
        self._running: dict[Subject, asyncio.Task[None]] = {}

    def follow(self, config: Config, slots: Slots) -> None:
        """Find the limits that `config` wants found."""
        wanted = [subject_of(cluster, slots) for cluster in config.clusters if cluster.adaptive is not None]
        for former in [former for former in self._running if former not in wanted]:
            self._running.pop(former).cancel()
        for subject in wanted:
            if subject not in self._running:
                concurrency = concurrency_of(subject.rules, self._words.load(subject.limit))
                finding = Finding(subject, self._gauges, self._metrics, self._words, concurrency)
                self._running[subject] = asyncio.create_task(finding.run())

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
    keys = [(cluster.name, str(endpoint.address)) for endpoint in cluster.endpoints]
    bad = (names.endpoint_failures, names.endpoint_errors, names.endpoint_unreached)
    return Subject(
        cluster.adaptive,
        slots.word(names.cluster_limit(cluster.name)),
        slots.gauge(names.cluster_requests(cluster.name)),
        tuple(slots.histogram(names.endpoint_time(*key)) for key in keys),
        tuple(slots.counter(name(*key)) for key in keys for name in bad),
    )

"""Adaptive rates: looks at how a cluster fares, over all workers, and publishes how fast a limit's tokens come.

A controller that follows another one goes on from the rate that stands in the shared memory.
"""

from __future__ import annotations

import asyncio
import logging
import time
from dataclasses import dataclass

from shardproxy.config.adaptive import AdaptiveRate
from shardproxy.config.schema import Config, RateLimit
from shardproxy.control.background import background
from shardproxy.controller.watching import READER, Places, Watch, places_of
from shardproxy.limits.pace import Pace, RateLook
from shardproxy.shm import names
from shardproxy.shm.buckets import TICKS_PER_S
from shardproxy.shm.metrics import Metrics
from shardproxy.shm.segment import Segment
from shardproxy.shm.slots import Slots
from shardproxy.shm.words import Words

LATE_S = 5.0  # what happened while nobody looked says nothing about now

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Subject:
    """One limit, and where its numbers are: the word of its tokens' interval, what it admitted, and its cluster's."""

    rules: AdaptiveRate
    start: float
    interval: int
    admitted: int
    places: Places


class Pacing:
    """The looks for one limit."""

    def __init__(self, segment: Segment, subject: Subject) -> None:
        self._subject, self._words, self._metrics = subject, Words(segment), Metrics(segment, READER)
        self._watch = Watch(segment, subject.places)
        self._pace = pace_of(subject, present_rate(self._words, subject.interval))
        self._admitted = self._metrics.counter_total(subject.admitted)
        self._publish(self._pace.rate)

    async def run(self) -> None:
        looked = time.monotonic()
        while True:
            await asyncio.sleep(self._subject.rules.interval / 1e9)
            try:
                now = time.monotonic()
                look = self._take(now - looked)
                if look.seconds < LATE_S + self._subject.rules.interval / 1e9:
                    self._publish(self._pace.look(look))
                looked = now
            except Exception:  # whatever it is, the next look must come
                logger.exception("an adaptive rate cannot be found out")

    def _take(self, seconds: float) -> RateLook:
        before, self._admitted = self._admitted, self._metrics.counter_total(self._subject.admitted)
        seen = self._watch.take()
        ended = max(seen.ended, seen.failed)
        return RateLook(seconds, self._admitted - before, ended, seen.quantile_ns(0.95), seen.failed_share)

    def _publish(self, rate: float) -> None:
        self._words.store(self._subject.interval, round(TICKS_PER_S / rate))


class AdaptiveRates:
    """Keeps the rates of the limits that want it; only inside a running loop."""

    def __init__(self, segment: Segment) -> None:
        self._segment = segment
        self._running: dict[Subject, asyncio.Task[None]] = {}

    def follow(self, config: Config, slots: Slots) -> None:
        """Find the rates that `config` wants found."""
        wanted = [subject_of(limit, config, slots) for limit in config.rate_limits if limit.adaptive is not None]
        for former in [former for former in self._running if former not in wanted]:
            self._running.pop(former).cancel()
        for subject in wanted:
            if subject not in self._running:
                self._running[subject] = background(Pacing(self._segment, subject).run())

    def stop(self) -> None:
        """Write nothing from now on; the rates stand."""
        for task in self._running.values():
            task.cancel()
        self._running.clear()


def pace_of(subject: Subject, present: float) -> Pace:
    """Going on from `present`; 0: from where the rules say."""
    rules = subject.rules
    start = max(rules.min, min(rules.max, present or subject.start))
    return Pace(rules.min, rules.max, start, rules.failures / 100, rules.latency or 0, rules.max * rules.step / 100)


def present_rate(words: Words, interval: int) -> float:
    """As it was found out; 0: not yet."""
    ticks = words.load(interval)
    return TICKS_PER_S / ticks if ticks > 0 else 0.0


def subject_of(limit: RateLimit, config: Config, slots: Slots) -> Subject:
    """Where the numbers of a limit that has `adaptive` are."""
    rules = limit.adaptive
    assert rules is not None
    cluster = next(cluster for cluster in config.clusters if cluster.name == rules.cluster)
    return Subject(
        rules,
        limit.rate,
        slots.word(names.rate_limit_interval(limit.name)),
        slots.counter(names.rate_limit_admitted(limit.name)),
        places_of(cluster, slots),
    )

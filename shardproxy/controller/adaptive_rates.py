"""Adaptive rates: looks at how a cluster fares, over all workers, and publishes how fast a limit's tokens come.

A controller that follows another one goes on from the rate that stands in the shared memory.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from dataclasses import dataclass

from shardproxy.config.adaptive import AdaptiveRate
from shardproxy.config.schema import Config, RateLimit
from shardproxy.control.background import background
from shardproxy.controller.failures import Failures, forever
from shardproxy.controller.watching import READER, Places, Watch, places_of
from shardproxy.limits.pace import Pace, RateLook
from shardproxy.shm import names
from shardproxy.shm.buckets import TICKS_PER_S
from shardproxy.shm.metrics import Metrics
from shardproxy.shm.segment import Segment
from shardproxy.shm.slots import Slots
from shardproxy.shm.words import Words

LATE_S = 5.0  # what happened while nobody looked says nothing about now


@dataclass(frozen=True)
class Subject:
    """One limit, and where its numbers are: the word of its tokens' interval, what it admitted, and its cluster's."""

    name: str
    rules: AdaptiveRate
    start: float
    interval: int
    admitted: int
    places: Places


class Pacing:
    """The looks for one limit. `clock` counts seconds."""

    def __init__(self, segment: Segment, subject: Subject, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock, self._looked = clock, clock()
        self._subject, self._words, self._metrics = subject, Words(segment), Metrics(segment, READER)
        self._watch = Watch(segment, subject.places)
        self._pace = pace_of(subject, present_rate(self._words, subject.interval))
        self._admitted = self._metrics.counter_total(subject.admitted)
        self._publish(self._pace.rate)

    async def run(self, failures: Failures) -> None:
        what, interval_s = f"the adaptive rate of limit {self._subject.name}", self._subject.rules.interval / 1e9
        await forever(what, self.turn, failures, after_s=interval_s, again_s=interval_s)

    async def turn(self) -> float:
        """Look once, and publish the rate; when the next look is, in seconds from now."""
        interval_s, now = self._subject.rules.interval / 1e9, self._clock()
        look, self._looked = self._take(now - self._looked), now
        if look.seconds < LATE_S + interval_s:
            self._publish(self._pace.look(look))
        return interval_s

    def _take(self, seconds: float) -> RateLook:
        before, self._admitted = self._admitted, self._metrics.counter_total(self._subject.admitted)
        seen = self._watch.take()
        ended = max(seen.ended, seen.failed)
        return RateLook(seconds, self._admitted - before, ended, seen.quantile_ns(0.95), seen.failed_share)

    def _publish(self, rate: float) -> None:
        self._words.store(self._subject.interval, round(TICKS_PER_S / rate))


class AdaptiveRates:
    """Keeps the rates of the limits that want it; only inside a running loop."""

    def __init__(self, segment: Segment, failures: Failures) -> None:
        self._segment, self._failures = segment, failures
        self._running: dict[Subject, asyncio.Task[None]] = {}

    def follow(self, config: Config, slots: Slots) -> None:
        """Find the rates that `config` wants found."""
        wanted = [subject_of(limit, config, slots) for limit in config.rate_limits if limit.adaptive is not None]
        for former in [former for former in self._running if former not in wanted]:
            self._running.pop(former).cancel()
        for subject in wanted:
            if subject not in self._running:
                self._running[subject] = background(Pacing(self._segment, subject).run(self._failures))

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
        limit.name,
        rules,
        limit.rate,
        slots.word(names.rate_limit_interval(limit.name)),
        slots.counter(names.rate_limit_admitted(limit.name)),
        places_of(cluster, slots),
    )

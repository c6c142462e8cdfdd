"""How long a cluster's slow responses take: for routes that hedge, over all workers, published once a second.

What was seen fades (a twentieth each second), so that the figure is that of the last half minute or so.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field

from shardproxy.config.routes import hedged_clusters
from shardproxy.config.schema import Config
from shardproxy.control.background import background
from shardproxy.controller.failures import Failures, forever
from shardproxy.controller.watching import Places, Watch, places_of
from shardproxy.shm import names
from shardproxy.shm.metrics import quantile
from shardproxy.shm.segment import Segment
from shardproxy.shm.slots import Slots
from shardproxy.shm.words import Words

INTERVAL_S = 1.0
KEPT = 0.95  # of what was seen, with each look
ENOUGH = 100  # responses; fewer say little about the slowest five of a hundred


@dataclass(frozen=True)
class Subject:
    """One cluster, where its numbers are, and the word of what so many percent of its responses took."""

    cluster: str
    percentile: int
    word: int
    places: Places


class Slowness:
    """Fading counts of how long responses took."""

    def __init__(self) -> None:
        self._counts: list[float] = []

    def note(self, counts: list[int]) -> None:
        """Those that ended since the last time, as in a histogram."""
        former = self._counts or [0.0] * len(counts)
        self._counts = [KEPT * before + new for before, new in zip(former, counts, strict=True)]

    def quantile_ns(self, share: float) -> int:
        """0: too few to tell."""
        return round(quantile([round(count) for count in self._counts], share)) if sum(self._counts) >= ENOUGH else 0


@dataclass
class Looking:
    """The looks at one cluster."""

    subject: Subject
    words: Words
    watch: Watch
    slowness: Slowness = field(default_factory=Slowness)

    async def run(self, failures: Failures) -> None:
        what = f"the hedging delay of cluster {self.subject.cluster}"
        await forever(what, self.turn, failures, after_s=INTERVAL_S, again_s=INTERVAL_S)

    async def turn(self) -> float:
        """Look once, and publish what was found; when the next look is, in seconds from now."""
        self.slowness.note(self.watch.take().counts)
        found = self.slowness.quantile_ns(self.subject.percentile / 100)
        if found:
            self.words.store(self.subject.word, found)
        return INTERVAL_S


class Delays:
    """Keeps what the routes of a configuration hedge after; only inside a running loop."""

    def __init__(self, segment: Segment, failures: Failures) -> None:
        self._segment, self._words, self._failures = segment, Words(segment), failures
        self._running: dict[Subject, asyncio.Task[None]] = {}

    def follow(self, config: Config, slots: Slots) -> None:
        wanted = subjects_of(config, slots)
        for former in [former for former in self._running if former not in wanted]:
            self._running.pop(former).cancel()
        for subject in wanted:
            if subject not in self._running:
                looking = Looking(subject, self._words, Watch(self._segment, subject.places))
                self._running[subject] = background(looking.run(self._failures))

    def stop(self) -> None:
        """Write nothing from now on."""
        for task in self._running.values():
            task.cancel()
        self._running.clear()


def subjects_of(config: Config, slots: Slots) -> list[Subject]:
    """Each once, however many routes hedge after it."""
    places = {cluster.name: places_of(cluster, slots) for cluster in config.clusters}
    return [
        Subject(name, percentile, slots.word(names.cluster_slowness(name, percentile)), places[name])
        for name, percentile in hedged_clusters(route for listener in config.listeners for route in listener.routes)
    ]

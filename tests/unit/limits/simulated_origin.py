"""An origin that serves `places` requests at a time and lets the others queue, simulated event by event."""

from __future__ import annotations

import heapq
import random
from dataclasses import dataclass, field

from shardproxy.limits.concurrency import Concurrency, Look

LOOK_S = 0.2


@dataclass
class Run:
    """What came of it: when each request ended, and how long it took, in seconds; limits at the end of each look."""

    ends: list[float] = field(default_factory=list)
    latencies: list[float] = field(default_factory=list)
    limits: list[int] = field(default_factory=list)
    refused: int = 0

    def goodput(self, since: float, until: float) -> float:
        return sum(since <= end < until for end in self.ends) / (until - since)

    def p99(self, since: float, until: float) -> float:
        there = [each for end, each in zip(self.ends, self.latencies, strict=True) if since <= end < until]
        return sorted(there)[int(len(there) * 0.99)]


@dataclass
class Origin:
    places: int
    service_s: float
    seed: int = 1
    is_uneven: bool = False
    """Exponential service times, otherwise within 30 % of `service_s`."""

    def run(self, concurrency: Concurrency | None, rate: float, seconds: float, *, change_at: float = 1e9) -> Run:
        """Poisson arrivals at `rate`; from `change_at` on only half the places are there. Without `concurrency` all
        are admitted."""
        dice, run, now = random.Random(self.seed), Run(), 0.0
        free: list[float] = [0.0] * self.places  # when each place is free again
        under_way: list[float] = []
        limit, next_look, has_changed = 10**9, 0.0, False
        while (now := now + dice.expovariate(rate)) < seconds:
            if not has_changed and now >= change_at:
                has_changed, free = True, sorted(free)[self.places // 2 :]
                heapq.heapify(free)
            while under_way and under_way[0] <= now:
                heapq.heappop(under_way)
            if concurrency is not None and now >= next_look:
                limit = self._look(concurrency, run, len(under_way), now)
                next_look = now + LOOK_S
            if len(under_way) >= limit:
                run.refused += 1
                continue
            begin = max(now, heapq.heappop(free))
            end = begin + self.service_s * (dice.expovariate(1) if self.is_uneven else dice.uniform(0.7, 1.3))
            heapq.heappush(free, end)
            heapq.heappush(under_way, end)
            run.ends.append(end)
            run.latencies.append(end - now)
        return run

    def _look(self, concurrency: Concurrency, run: Run, active: int, now: float) -> int:
        ended = sorted(
            latency
            for end, latency in zip(run.ends[-5000:], run.latencies[-5000:], strict=True)
            if now - LOOK_S < end <= now
        )
        middle = ended[len(ended) // 2] if ended else 0.0
        limit = concurrency.look(Look(len(ended), middle * 1e9, active))
        run.limits.append(limit)
        return limit

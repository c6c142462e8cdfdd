"""Dry runs of rate limits: looks at what is asked for, and says in `/stats` which limit would have borne it."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field

from shardproxy.config.schema import Config
from shardproxy.control.background import background
from shardproxy.controller.failures import Failures, forever
from shardproxy.controller.stats import Suggestion
from shardproxy.controller.watching import READER
from shardproxy.limits.demand import LOOK_S, Demand
from shardproxy.shm import names
from shardproxy.shm.metrics import Metrics
from shardproxy.shm.segment import Segment
from shardproxy.shm.slots import Slots


@dataclass
class Trial:
    """One limit: where what it admitted is counted (in a dry run, all), how much that was, and when."""

    admitted: int
    total: int
    demand: Demand = field(default_factory=Demand)


class DryRuns:
    """Watches the dry limits of a configuration; only inside a running loop."""

    def __init__(self, segment: Segment, failures: Failures) -> None:
        self._failures = failures
        self._metrics = Metrics(segment, READER)
        self._trials: dict[str, Trial] = {}
        self._looking: asyncio.Task[None] | None = None

    def follow(self, config: Config, slots: Slots) -> None:
        wanted = {limit.name for limit in config.rate_limits if limit.dry_run and limit.key is None}
        kept = {name: trial for name, trial in self._trials.items() if name in wanted}
        for name in wanted - kept.keys():
            slot = slots.counter(names.rate_limit_admitted(name))
            kept[name] = Trial(slot, self._metrics.counter_total(slot))
        self._trials = kept
        if kept and self._looking is None:
            looking = forever("the look at dry limits", self.turn, self._failures, after_s=LOOK_S, again_s=LOOK_S)
            self._looking = background(looking)

    def suggestions(self) -> dict[str, Suggestion]:
        """By limit; of those of which enough is known."""
        found = {name: trial.demand.suggestion() for name, trial in self._trials.items()}
        return {name: Suggestion(rate=round(one[0], 3), burst=one[1]) for name, one in found.items() if one is not None}

    def stop(self) -> None:
        if self._looking is not None:
            self._looking.cancel()

    async def turn(self) -> float:
        """Look once at every limit; when the next look is, in seconds from now."""
        for trial in self._trials.values():
            before, trial.total = trial.total, self._metrics.counter_total(trial.admitted)
            trial.demand.note(max(0, trial.total - before))
        return LOOK_S

"""What the controller shows at the moment: the configuration that is served, its slots, and what was done last."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TypeAlias

from msgspec.structs import replace

from shardproxy.config.schema import Config
from shardproxy.control.messages import Answer
from shardproxy.control.plan import Plan
from shardproxy.control.seat import Seat
from shardproxy.controller.discovery.watching import Discovery
from shardproxy.controller.dry_runs import DryRuns
from shardproxy.controller.failures import Failures
from shardproxy.controller.readiness import why_not_ready
from shardproxy.controller.reading import read
from shardproxy.controller.resources import Resources
from shardproxy.controller.stats import LastOperation, Stats
from shardproxy.shm.gauges import Gauges
from shardproxy.shm.held import Held
from shardproxy.shm.segment import Segment
from shardproxy.shm.slots import Slots

Follower: TypeAlias = Callable[[Config, Slots], None]


@dataclass
class View:
    """One of these, for as long as the controller lives; `serve` changes what it shows, and tells the `followers`."""

    segment: Segment
    config: Config
    slots: Slots
    version: int
    resources: Resources
    failures: Failures = field(default_factory=Failures)
    followers: dict[str, Follower] = field(default_factory=dict)
    discovery: Discovery | None = None
    dry_runs: DryRuns | None = None
    held: Held | None = None
    _news: Answer | None = None
    _news_ns: int = 0

    @classmethod
    def of(cls, seat: Seat, failures: Failures) -> View:
        view = cls(seat.segment, seat.config, seat.slots, seat.version, Resources(), failures)
        view.held = Held(Gauges(seat.segment, seat.row), seat.slots, seat.version)
        return view

    def serve(self, plan: Plan) -> None:
        """Another configuration is being served."""
        self.config, self.slots, self.version = plan.config, plan.slots, plan.version
        self.lead()
        if self.held is not None:
            self.held = self.held.of(plan.version, plan.slots)

    def lead(self) -> None:
        """Tell each of the followers what is served; one that fails does not keep the others from following."""
        for name, follow in self.followers.items():
            try:
                follow(self.config, self.slots)
            except Exception as error:
                what = f"the taking over of configuration {self.version} by {name}"
                self.failures.note(what, error, "the next reload tries it again")

    def note(self, news: Answer) -> None:
        """What an operation has come to, whoever asked for it."""
        self._news, self._news_ns = news, time.monotonic_ns()

    def why_not_ready(self) -> str | None:
        reason = why_not_ready(self.segment, self.segment.workers_wanted)
        return reason or (self.discovery.why_not_ready() if self.discovery is not None else None)

    def stats(self) -> Stats:
        stats = read(self.segment, self.slots, self.config, self.version, self.resources, self._last_operation())
        if self.discovery is not None:
            stats = replace(stats, sources=self.discovery.stats())
        suggestions = self.dry_runs.suggestions() if self.dry_runs is not None else {}
        limits = {name: replace(one, suggestion=suggestions.get(name)) for name, one in stats.rate_limits.items()}
        return replace(stats, rate_limits=limits)

    def _last_operation(self) -> LastOperation | None:
        if self._news is None:
            return None
        age_s = round((time.monotonic_ns() - self._news_ns) / 1e9, 3)
        return LastOperation(is_done=self._news.is_done, text=self._news.text, age_s=age_s)

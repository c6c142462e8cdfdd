"""A bandwidth limit of the configuration, compiled: one thing for each direction."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

from shardproxy.config import schema
from shardproxy.config.bandwidth import burst_bytes
from shardproxy.limits.bandwidth import Bandwidth
from shardproxy.limits.tables import bandwidth_table_of
from shardproxy.proxy.pacing import BandwidthPlan
from shardproxy.shm import names
from shardproxy.shm.keyed import KeyedBuckets
from shardproxy.shm.slots import Slots
from shardproxy.worker.build_limits import key_of
from shardproxy.worker.snapshot import Worksite


class BothWays(NamedTuple):
    """A limit's two directions; None: not limited."""

    down: Bandwidth | None
    up: Bandwidth | None


@dataclass(frozen=True)
class BandwidthBuilder:
    site: Worksite
    slots: Slots

    def limit(self, limit: schema.BandwidthLimit) -> BothWays:
        return BothWays(self.bandwidth(limit, "down", limit.down), self.bandwidth(limit, "up", limit.up))

    def bandwidth(self, limit: schema.BandwidthLimit, direction: str, rate: int | None) -> Bandwidth | None:
        if rate is None:
            return None
        key = limit.name, direction
        return Bandwidth(
            limit.name,
            rate,
            burst_bytes(limit, rate),
            keyed=None if limit.per_connection else self.table(limit, direction, rate),
            key=None if limit.key is None else key_of(limit.key),
            is_dry=limit.dry_run,
            passed=self.slots.counter(names.bandwidth_passed(*key)),
            held=self.slots.counter(names.bandwidth_held(*key)),
            waited=self.slots.counter(names.bandwidth_waited(*key)),
            evicted=self.slots.counter(names.bandwidth_evicted(*key)),
            waiting=self.slots.gauge(names.bandwidth_waiting(*key)),
        )

    def table(self, limit: schema.BandwidthLimit, direction: str, rate: int) -> KeyedBuckets:
        return bandwidth_table_of(limit, direction, rate, self.site.segment, self.slots)


def plan_of(chosen: list[BothWays]) -> BandwidthPlan | None:
    """Of a route that names these."""
    if not chosen:
        return None
    up, down = [one.up for one in chosen if one.up], [one.down for one in chosen if one.down]
    return BandwidthPlan(up, down)

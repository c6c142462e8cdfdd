"""What bandwidth limits have done, read from the shared memory."""

from __future__ import annotations

from dataclasses import dataclass

from shardproxy.config.bandwidth import BandwidthLimit, burst_bytes
from shardproxy.controller.stats import BandwidthStats, FlowStats, KeyStats
from shardproxy.limits.tables import bandwidth_table_of
from shardproxy.shm import names
from shardproxy.shm.gauges import Gauges
from shardproxy.shm.metrics import Metrics
from shardproxy.shm.segment import Segment
from shardproxy.shm.slots import Slots


@dataclass(frozen=True)
class BandwidthReading:
    segment: Segment
    slots: Slots
    metrics: Metrics
    gauges: Gauges
    now_ns: int

    def limit(self, limit: BandwidthLimit) -> BandwidthStats:
        down, up = self._flow(limit, "down", limit.down), self._flow(limit, "up", limit.up)
        return BandwidthStats(down=down, up=up, dry_run=limit.dry_run)

    def _flow(self, limit: BandwidthLimit, direction: str, rate: int | None) -> FlowStats | None:
        if rate is None:
            return None
        key = limit.name, direction
        return FlowStats(
            rate=rate,
            burst=burst_bytes(limit, rate),
            passed_bytes=self._count(names.bandwidth_passed(*key)),
            held_bytes=self._count(names.bandwidth_held(*key)),
            waited_s=round(self._count(names.bandwidth_waited(*key)) / 1e9, 3),
            waiting=self.gauges.total(self.slots.gauge(names.bandwidth_waiting(*key))),
            keys=None if limit.key is None else self._keys(limit, direction, rate),
        )

    def _keys(self, limit: BandwidthLimit, direction: str, rate: int) -> KeyStats:
        table = bandwidth_table_of(limit, direction, rate, self.segment, self.slots)
        evictions = self._count(names.bandwidth_evicted(limit.name, direction))
        return KeyStats(capacity=table.keys, occupied=table.sweep(self.now_ns), evictions=evictions)

    def _count(self, name: str) -> int:
        return self.metrics.counter_total(self.slots.counter(name))

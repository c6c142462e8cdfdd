"""Says in shared memory which endpoints a worker's configurations know, so that nobody else gets their slots."""

from __future__ import annotations

from collections.abc import Sequence

from shardproxy.balancing.cluster import Cluster
from shardproxy.shm.gauges import Gauges


class Held:
    """Counts in each of the gauges for as long as it lives; a process that dies has its counts cleared."""

    def __init__(self, gauges: Gauges, slots: Sequence[int]) -> None:
        self._gauges = gauges
        self._slots = tuple(slots)
        for slot in self._slots:
            gauges.add(slot, 1)

    def __repr__(self) -> str:
        return f"<Held endpoints={len(self._slots)}>"

    def __del__(self) -> None:
        for slot in self._slots:
            self._gauges.add(slot, -1)


class HeldCluster(Cluster):
    """A cluster's balancing, which the last request that uses it lets go, and `held` with it."""

    held: Held

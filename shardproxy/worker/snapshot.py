"""What a worker serves, and where it is built."""

from __future__ import annotations

from collections.abc import Callable, Collection
from dataclasses import dataclass, field

from shardproxy.config import schema
from shardproxy.config.units import Address
from shardproxy.proxy.attempts import Attempt
from shardproxy.proxy.pool import EndpointPool
from shardproxy.proxy.process import Process
from shardproxy.proxy.queue import Queue, QueueNumbers
from shardproxy.proxy.runtime import ClusterRuntime, ListenerRuntime
from shardproxy.proxy.upstream import Upstream
from shardproxy.proxy.watching import Watch
from shardproxy.shm.gauges import Gauges
from shardproxy.shm.metrics import Metrics
from shardproxy.shm.segment import Segment
from shardproxy.shm.waiters import Waiters
from shardproxy.worker.log_files import LogFiles

# What a pool depends on: two configurations that agree on it share the pool, and its connections stay warm.
PoolKey = tuple[str, str, int, schema.Keepalive, int | None, int | None, str | None]

# Of a subset: its cluster with only its endpoints, and its labels in order.
SubsetKey = tuple[schema.Cluster, tuple[str, ...]]


@dataclass(frozen=True)
class Snapshot:
    """What a worker serves: a runtime per listener, by name; and what the next configuration may take over as it is."""

    listeners: dict[str, ListenerRuntime]
    clusters: dict[schema.Cluster, ClusterRuntime] = field(default_factory=dict)
    pools: dict[PoolKey, EndpointPool] = field(default_factory=dict)
    zone: str | None = None
    subsets: dict[SubsetKey, ClusterRuntime] = field(default_factory=dict)


@dataclass(frozen=True)
class Worksite:
    """What does not change with the configuration; `queues` by cluster, since those who wait outlive a reload, and
    where each of them counts.
    """

    process: Process
    segment: Segment
    gauges: Gauges
    metrics: Metrics
    waiters: Waiters
    queues: dict[str, Queue] = field(default_factory=dict)
    queue_numbers: dict[str, QueueNumbers] = field(default_factory=dict)
    logs: LogFiles = field(default_factory=LogFiles)
    connector: Callable[[Watch, Address, Upstream], object] = Attempt

    def forget_queues(self, clusters: Collection[str]) -> None:
        """Keep those of `clusters`, and those in which somebody still waits."""
        for name in [name for name, queue in self.queues.items() if name not in clusters and queue.is_empty]:
            del self.queues[name], self.queue_numbers[name]

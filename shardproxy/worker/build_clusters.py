"""A cluster of the configuration, compiled into its balancing, its pools and its numbers."""

from __future__ import annotations

import os
from dataclasses import dataclass, field

from shardproxy.balancing.cluster import Cluster, EndpointSpec, Health
from shardproxy.balancing.levels import Levels
from shardproxy.config import schema
from shardproxy.config.levels import levels_of
from shardproxy.proxy.pool import EndpointPool
from shardproxy.proxy.queue import Queue, QueueNumbers
from shardproxy.proxy.runtime import ClusterRuntime, EndpointMetrics
from shardproxy.shm import names
from shardproxy.shm.decisions import Decisions
from shardproxy.shm.slots import Slots
from shardproxy.worker.snapshot import PoolKey, Snapshot, Worksite

PROXY_VERSIONS = {None: 0, "v1": 1, "v2": 2}


@dataclass(frozen=True)
class ClusterBuilder:
    """`former` is what is being served; `pools` are those that have been asked for, its own among them."""

    site: Worksite
    slots: Slots
    former: Snapshot
    zone: str | None = None
    pools: dict[PoolKey, EndpointPool] = field(default_factory=dict)

    def cluster(self, cluster: schema.Cluster) -> ClusterRuntime:
        """The former one, if nothing of it has changed: the turn of a round robin goes on where it was."""
        pools = [self.pool(cluster, endpoint) for endpoint in cluster.endpoints]
        former = self.former.clusters.get(cluster) if self.former.zone == self.zone else None
        return former or self.new_cluster(cluster, pools)

    def new_cluster(self, cluster: schema.Cluster, pools: list[EndpointPool]) -> ClusterRuntime:
        slots = self.slots
        balancing = Cluster(
            self.site.gauges,
            [self.endpoint(cluster.name, endpoint) for endpoint in cluster.endpoints],
            policy=cluster.balance,
            requests=slots.gauge(names.cluster_requests(cluster.name)),
            requests_cap=cluster.max_requests,
            seed=int.from_bytes(os.urandom(8), "little"),
            health=self.health(cluster),
        )
        metrics = [self.endpoint_metrics(cluster.name, endpoint) for endpoint in cluster.endpoints]
        if cluster.queue is None:
            return ClusterRuntime(cluster.name, balancing, pools, metrics)
        terms = cluster.queue
        return ClusterRuntime(
            cluster.name, balancing, pools, metrics, self.queue(cluster.name), terms.max, terms.timeout
        )

    def queue(self, cluster: str) -> Queue:
        """The one that there is: it belongs to the name."""
        site, slots = self.site, self.slots
        if cluster not in site.queues:
            numbers = QueueNumbers(
                slots.queue(names.cluster_queue(cluster)),
                slots.queue(names.cluster_queue_end(cluster)),
                slots.queue(names.cluster_queue_asking(cluster)),
                slots.gauge(names.cluster_waiting(cluster)),
                slots.counter(names.cluster_queued(cluster)),
                slots.counter(names.cluster_queue_timeouts(cluster)),
                slots.counter(names.cluster_queue_refused(cluster)),
                slots.histogram(names.cluster_wait_time(cluster)),
            )
            site.queues[cluster] = Queue(site.process.wheel, site.gauges, site.metrics, site.waiters, numbers)
        return site.queues[cluster]

    def health(self, cluster: schema.Cluster) -> Health | None:
        """None if nobody looks after it; choosing then costs nothing more."""
        if cluster.health_check is None and cluster.outlier_detection is None:
            return None
        panics = self.slots.counter(names.cluster_panics(cluster.name))
        decisions, levels = Decisions(self.site.segment), self.levels(cluster)
        return Health(decisions, cluster.panic_threshold, self.site.metrics, panics, levels)

    def levels(self, cluster: schema.Cluster) -> Levels | None:
        """None if all endpoints are of one."""
        level_of = levels_of(cluster, self.zone)
        if not any(level_of):
            return None
        addresses = [str(endpoint.address) for endpoint in cluster.endpoints]
        return Levels(
            level_of,
            [self.slots.decision(names.endpoint_decision(cluster.name, address)) for address in addresses],
            overprovisioning=cluster.overprovisioning,
            panic_threshold=cluster.panic_threshold,
        )

    def endpoint(self, cluster: str, endpoint: schema.Endpoint) -> EndpointSpec:
        key = cluster, str(endpoint.address)
        active = self.slots.gauge(names.endpoint_active(*key))
        decision = self.slots.decision(names.endpoint_decision(*key))
        return EndpointSpec(active, endpoint.weight, endpoint.max_requests, decision)

    def endpoint_metrics(self, cluster: str, endpoint: schema.Endpoint) -> EndpointMetrics:
        slots, address = self.slots, str(endpoint.address)
        return EndpointMetrics(
            slots.counter(names.endpoint_requests(cluster, address)),
            slots.counter(names.endpoint_failures(cluster, address)),
            slots.counter(names.endpoint_unreached(cluster, address)),
            slots.counter(names.endpoint_errors(cluster, address)),
            slots.histogram(names.endpoint_time(cluster, address)),
        )

    def pool(self, cluster: schema.Cluster, endpoint: schema.Endpoint) -> EndpointPool:
        key = pool_key(cluster, endpoint)
        self.pools[key] = self.former.pools.get(key) or self.new_pool(cluster, endpoint)
        return self.pools[key]

    def new_pool(self, cluster: schema.Cluster, endpoint: schema.Endpoint) -> EndpointPool:
        slots = self.slots
        return EndpointPool(
            self.site.process,
            endpoint.address,
            connect_timeout_ns=cluster.connect_timeout,
            idle_ns=cluster.keepalive.idle_timeout,
            max_idle=cluster.keepalive.max_idle,
            max_requests=cluster.keepalive.max_requests,
            connections=slots.gauge(names.endpoint_connections(cluster.name, str(endpoint.address))),
            cluster_connections=slots.gauge(names.cluster_connections(cluster.name)),
            max_connections=cluster.max_connections,
            proxy_version=PROXY_VERSIONS[cluster.proxy_protocol],
        )


def pool_key(cluster: schema.Cluster, endpoint: schema.Endpoint) -> PoolKey:
    return (
        cluster.name,
        str(endpoint.address),
        cluster.connect_timeout,
        cluster.keepalive,
        cluster.max_connections,
        cluster.proxy_protocol,
    )

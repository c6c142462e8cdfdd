"""A cluster of the configuration, compiled into its balancing, its pools and its numbers."""

from __future__ import annotations

from dataclasses import dataclass, field

from shardproxy.balancing.runs import Runs, RunSlots
from shardproxy.config import schema
from shardproxy.config.clusters import in_use
from shardproxy.proxy.pool import EndpointPool
from shardproxy.proxy.queue import Queue, QueueNumbers
from shardproxy.proxy.runtime import ClusterRuntime, EndpointMetrics
from shardproxy.shm import names
from shardproxy.shm.slots import Slots
from shardproxy.shm.words import Words
from shardproxy.worker.build_balancing import BalancingBuilder
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
        pools = [self.pool(cluster, endpoint) for endpoint in in_use(cluster)]
        for pool in pools:
            pool.share_cap(pools)
        former = self.former.clusters.get(cluster) if self.former.zone == self.zone else None
        return former or self.new_cluster(cluster, pools)

    def subset(self, part: schema.Cluster, labels: tuple[str, ...]) -> ClusterRuntime:
        """Of a cluster that is built already: its pools, over `part` of its endpoints."""
        former = self.former.subsets.get((part, labels)) if self.former.zone == self.zone else None
        return former or self.new_cluster(part, [self.pool(part, endpoint) for endpoint in in_use(part)], labels)

    def new_cluster(
        self, cluster: schema.Cluster, pools: list[EndpointPool], labels: tuple[str, ...] = ()
    ) -> ClusterRuntime:
        former = self.former_addresses(cluster.name)
        balancing = BalancingBuilder(self.site, self.slots, self.zone, labels).cluster(cluster, former)
        metrics = [self.endpoint_metrics(cluster.name, endpoint) for endpoint in in_use(cluster)]
        runs = self.runs(cluster)
        if cluster.queue is None:
            return ClusterRuntime(cluster.name, balancing, pools, metrics, runs=runs)
        terms = cluster.queue
        return ClusterRuntime(
            cluster.name, balancing, pools, metrics, self.queue(cluster.name), terms.max, terms.timeout, runs
        )

    def queue(self, cluster: str) -> Queue:
        """The one that there is: it belongs to the name, as long as that has the same slots."""
        site, slots = self.site, self.slots
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
        if site.queue_numbers.get(cluster) != numbers:
            site.queues[cluster] = Queue(site.process.wheel, site.gauges, site.metrics, site.waiters, numbers)
            site.queue_numbers[cluster] = numbers
        return site.queues[cluster]

    def former_addresses(self, name: str) -> frozenset[str] | None:
        """Of the cluster of that name that is being served; None if there is none."""
        for former in self.former.clusters:
            if former.name == name:
                return frozenset(str(endpoint.address) for endpoint in former.endpoints)
        return None

    def runs(self, cluster: schema.Cluster) -> Runs | None:
        """None if no number of failures in a row ejects."""
        rules = cluster.outlier_detection
        if rules is None or not (rules.consecutive_5xx or rules.consecutive_gateway_failure):
            return None
        keys = [(cluster.name, str(endpoint.address)) for endpoint in in_use(cluster)]
        errors, gateway = names.endpoint_errors_run, names.endpoint_gateway_run
        return Runs(
            Words(self.site.segment),
            [
                RunSlots(
                    self.slots.word(errors(*key)) if rules.consecutive_5xx else None,
                    self.slots.word(gateway(*key)) if rules.consecutive_gateway_failure else None,
                )
                for key in keys
            ],
            errors_limit=rules.consecutive_5xx,
            gateway_limit=rules.consecutive_gateway_failure,
        )

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
        if key not in self.pools:
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
            endpoint_max_connections=endpoint.max_connections,
            proxy_version=PROXY_VERSIONS[cluster.proxy_protocol],
            connector=self.site.connector,
        )


def pool_key(cluster: schema.Cluster, endpoint: schema.Endpoint) -> PoolKey:
    return (
        cluster.name,
        str(endpoint.address),
        cluster.connect_timeout,
        cluster.keepalive,
        cluster.max_connections,
        endpoint.max_connections,
        cluster.proxy_protocol,
    )

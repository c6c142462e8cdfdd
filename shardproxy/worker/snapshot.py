"""The configuration, compiled into what the data path reads; builds everything or raises, and changes nothing."""

from __future__ import annotations

import os
from dataclasses import dataclass, field

from shardproxy.balancing.cluster import Cluster, EndpointSpec, Health
from shardproxy.config import schema
from shardproxy.http1.forwarding import TrustedProxies
from shardproxy.limits.rates import RateLimit, RateLimits
from shardproxy.proxy.pool import EndpointPool
from shardproxy.proxy.process import Process
from shardproxy.proxy.retries import RetryBudget, RetryPolicy
from shardproxy.proxy.runtime import ClusterRuntime, EndpointMetrics, ListenerRuntime, RouteRuntime
from shardproxy.routing.compile import compile_routes
from shardproxy.shm import names
from shardproxy.shm.buckets import Bucket, Buckets
from shardproxy.shm.decisions import Decisions
from shardproxy.shm.gauges import Gauges
from shardproxy.shm.metrics import Metrics
from shardproxy.shm.segment import Segment
from shardproxy.shm.slots import Slots

MOST_BACKOFFS = 10  # of base: where the back-off stops growing if the route does not say (Envoy)
PROXY_VERSIONS = {None: 0, "v1": 1, "v2": 2}

# What a pool depends on: two configurations that agree on it share the pool, and its connections stay warm.
PoolKey = tuple[str, str, int, schema.Keepalive, int | None, str | None]


@dataclass(frozen=True)
class Snapshot:
    """What a worker serves: a runtime per listener, by name; and what the next configuration may take over as it is."""

    listeners: dict[str, ListenerRuntime]
    clusters: dict[schema.Cluster, ClusterRuntime] = field(default_factory=dict)
    pools: dict[PoolKey, EndpointPool] = field(default_factory=dict)


@dataclass(frozen=True)
class Worksite:
    """What does not change with the configuration."""

    process: Process
    segment: Segment
    gauges: Gauges
    metrics: Metrics


@dataclass(frozen=True)
class Compiler:
    """Holds what every step of the compilation needs; `former` is what is being served."""

    site: Worksite
    config: schema.Config
    slots: Slots
    former: Snapshot
    pools: dict[PoolKey, EndpointPool] = field(default_factory=dict)

    def compile(self) -> Snapshot:
        clusters = {cluster.name: self.cluster(cluster) for cluster in self.config.clusters}
        buckets = Buckets(self.site.segment)
        limits = {limit.name: self.rate_limit(limit, buckets) for limit in self.config.rate_limits}
        listeners = {listener.name: self.listener(listener, clusters, limits) for listener in self.config.listeners}
        return Snapshot(listeners, {cluster: clusters[cluster.name] for cluster in self.config.clusters}, self.pools)

    def rate_limit(self, limit: schema.RateLimit, buckets: Buckets) -> RateLimit:
        slots = self.slots
        return RateLimit(
            Bucket(buckets, slots.bucket(names.rate_limit(limit.name)), limit.rate, schema.burst_of(limit)),
            slots.counter(names.rate_limit_admitted(limit.name)),
            slots.counter(names.rate_limit_refused(limit.name)),
        )

    def cluster(self, cluster: schema.Cluster) -> ClusterRuntime:
        """The former one, if nothing of it has changed: the turn of a round robin goes on where it was."""
        pools = [self.pool(cluster, endpoint) for endpoint in cluster.endpoints]
        return self.former.clusters.get(cluster) or self.new_cluster(cluster, pools)

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
        return ClusterRuntime(cluster.name, balancing, pools, metrics)

    def health(self, cluster: schema.Cluster) -> Health | None:
        """None if nobody looks after it; choosing then costs nothing more."""
        if cluster.health_check is None and cluster.outlier_detection is None:
            return None
        panics = self.slots.counter(names.cluster_panics(cluster.name))
        return Health(Decisions(self.site.segment), cluster.panic_threshold, self.site.metrics, panics)

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

    def listener(
        self, listener: schema.Listener, clusters: dict[str, ClusterRuntime], limits: dict[str, RateLimit]
    ) -> ListenerRuntime:
        slots, timeouts = self.slots, listener.timeouts
        return ListenerRuntime(
            listener.name,
            compile_routes(listener.routes),
            [self.route(route, clusters, limits) for route in listener.routes],
            max_head=listener.max_head,
            max_fields=listener.max_fields,
            max_body=listener.max_body,
            request_head_ns=timeouts.request_head,
            request_body_ns=timeouts.request_body,
            idle_ns=timeouts.idle,
            stream_idle_ns=timeouts.stream_idle,
            tunnel_idle_ns=timeouts.tunnel_idle,
            min_body_rate=timeouts.min_body_rate or 0,
            normalize_path=listener.normalize_path,
            merge_slashes=listener.merge_slashes,
            escaped_slashes=listener.escaped_slashes,
            connections=slots.gauge(names.listener_connections(listener.name)),
            max_connections=listener.max_connections,
            max_connections_per_client=listener.max_connections_per_client,
            proxy_protocol=listener.proxy_protocol,
            trusted=trusted_proxies(listener),
            forwarded=listener.forwarded,
            client_field=(listener.client_address_field or "").encode(),
            waits_when_full=listener.on_full == "wait",
            accepted=slots.counter(names.listener_accepted(listener.name)),
            via=f"Via: 1.1 {listener.via}\r\n".encode() if listener.via else b"",
            scheme=b"http",
        )

    def route(
        self, route: schema.Route, clusters: dict[str, ClusterRuntime], limits: dict[str, RateLimit]
    ) -> RouteRuntime:
        chosen = [limits[name] for name in route.rate_limits]
        rate_limits = RateLimits(chosen, self.site.metrics) if chosen else None
        upgrades = [protocol.lower().encode() for protocol in route.upgrade]
        return RouteRuntime(clusters[route.cluster], rate_limits, route.timeout, upgrades, self.retry(route))

    def retry(self, route: schema.Route) -> RetryPolicy | None:
        retry = route.retry
        if retry is None:
            return None
        base = retry.backoff.base
        return RetryPolicy(
            self.retry_budget(next(one for one in self.config.clusters if one.name == route.cluster)),
            retry.on,
            statuses=retry.statuses,
            attempts=retry.attempts,
            timeout_ns=route.timeout,
            per_try_ns=retry.per_try_timeout or 0,
            base_ns=base,
            max_ns=retry.backoff.max or MOST_BACKOFFS * base,
            max_body=retry.max_body,
        )

    def retry_budget(self, cluster: schema.Cluster) -> RetryBudget:
        slots, name = self.slots, cluster.name
        return RetryBudget(
            self.site.gauges,
            self.site.metrics,
            [slots.gauge(names.endpoint_active(name, str(one.address))) for one in cluster.endpoints],
            percent=cluster.retry_budget.percent,
            min_concurrency=cluster.retry_budget.min_concurrency,
            retries=slots.gauge(names.cluster_retries_active(name)),
            granted=slots.counter(names.cluster_retries(name)),
            refused=slots.counter(names.cluster_retries_refused(name)),
        )


def trusted_proxies(listener: schema.Listener) -> TrustedProxies | None:
    """None if none are configured."""
    proxies = listener.trusted_proxies
    if isinstance(proxies, int):
        return TrustedProxies(hops=proxies)
    return TrustedProxies(proxies) if proxies else None


def pool_key(cluster: schema.Cluster, endpoint: schema.Endpoint) -> PoolKey:
    return (
        cluster.name,
        str(endpoint.address),
        cluster.connect_timeout,
        cluster.keepalive,
        cluster.max_connections,
        cluster.proxy_protocol,
    )


def build(site: Worksite, config: schema.Config, slots: Slots, former: Snapshot | None = None) -> Snapshot:
    """The snapshot of `config`, whose slots have all been assigned; what has not changed is taken from `former`."""
    return Compiler(site, config, slots, former or Snapshot({})).compile()

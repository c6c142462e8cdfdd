"""The configuration, compiled into what the data path reads; builds everything or raises, and changes nothing."""

from __future__ import annotations

from dataclasses import dataclass

from shardproxy.config import schema
from shardproxy.http1.forwarding import TrustedProxies
from shardproxy.proxy.access import AccessLog
from shardproxy.proxy.runtime import ListenerRuntime
from shardproxy.routing.compile import compile_routes
from shardproxy.shm import names
from shardproxy.shm.held import Held
from shardproxy.shm.slots import Slots
from shardproxy.worker.build_bandwidth import BandwidthBuilder
from shardproxy.worker.build_clusters import ClusterBuilder
from shardproxy.worker.build_limits import LimitBuilder
from shardproxy.worker.build_routes import RouteBuilder
from shardproxy.worker.build_subsets import SubsetBuilder
from shardproxy.worker.held import HeldListener
from shardproxy.worker.snapshot import Snapshot, Worksite

NOTHING = Snapshot({})  # what a worker that begins has served before


@dataclass(frozen=True)
class SnapshotBuilder:
    """Holds what every step needs; `former` is what is being served."""

    site: Worksite
    config: schema.Config
    slots: Slots
    former: Snapshot
    held: Held

    def build(self) -> Snapshot:
        configured = {cluster.name: cluster for cluster in self.config.clusters}
        builder = ClusterBuilder(self.site, self.slots, self.former, self.config.zone)
        clusters = {name: builder.cluster(cluster) for name, cluster in configured.items()}
        limit_builder = LimitBuilder(self.site, self.slots)
        limits = {limit.name: limit_builder.limit(limit) for limit in self.config.rate_limits}
        bandwidth_builder = BandwidthBuilder(self.site, self.slots)
        bandwidth = {limit.name: bandwidth_builder.limit(limit) for limit in self.config.bandwidth_limits}
        subsets = SubsetBuilder(builder, configured, clusters)
        routes = RouteBuilder(self.site, self.slots, configured, subsets, limits, bandwidth, self.held)
        listeners = {listener.name: self.listener(listener, routes) for listener in self.config.listeners}
        served = {configured[name]: clusters[name] for name in clusters}
        return Snapshot(listeners, served, builder.pools, self.config.zone, subsets.built)

    def listener(self, listener: schema.Listener, routes: RouteBuilder) -> ListenerRuntime:
        slots, timeouts = self.slots, listener.timeouts
        runtime = HeldListener(
            listener.name,
            compile_routes(listener.routes),
            [routes.route(route) for route in listener.routes],
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
            journal=self.journal(listener),
            via=f"Via: 1.1 {listener.via}\r\n".encode() if listener.via else b"",
            scheme=b"http",
        )
        runtime.held = self.held
        return runtime

    def journal(self, listener: schema.Listener) -> AccessLog | None:
        """Raises `OSError` when its file is new in a change of the configuration, and cannot be opened."""
        wanted = listener.access_log
        if wanted is None:
            return None
        dropped = self.slots.counter(names.ACCESS_LOG_DROPPED)
        file = self.site.logs.file(wanted.path, must_open=self.former is not NOTHING)
        return AccessLog(self.site.process, file, wanted.format, listener.name, wanted.flush, dropped)


def trusted_proxies(listener: schema.Listener) -> TrustedProxies | None:
    """None if none are configured."""
    proxies = listener.trusted_proxies
    if isinstance(proxies, int):
        return TrustedProxies(hops=proxies)
    return TrustedProxies(proxies) if proxies else None


def build(
    site: Worksite, config: schema.Config, slots: Slots, former: Snapshot | None = None, version: int = 1
) -> Snapshot:
    """The snapshot of `config`, whose slots have all been assigned; what has not changed is taken from `former`."""
    held = Held(site.gauges, slots, version)
    return SnapshotBuilder(site, config, slots, former or NOTHING, held).build()

"""How a cluster shares requests: its policy over the shared memory."""

from __future__ import annotations

import os
import time
from collections.abc import Set as AbstractSet
from dataclasses import dataclass

from shardproxy.balancing.cluster import AdaptiveCap, Cluster, EndpointSpec, Health, SlowStart
from shardproxy.balancing.levels import Levels
from shardproxy.config import schema
from shardproxy.config.clusters import in_use
from shardproxy.config.levels import levels_of
from shardproxy.proxy.hashing import Cookie, HashPolicy
from shardproxy.shm import names
from shardproxy.shm.decisions import Decisions
from shardproxy.shm.slots import Slots
from shardproxy.shm.words import Words
from shardproxy.worker.snapshot import Worksite

NS_PER_S = 10**9


@dataclass(frozen=True)
class BalancingBuilder:
    site: Worksite
    slots: Slots
    zone: str | None = None
    labels: tuple[str, ...] = ()  # of the subset that is built, if it is one

    def cluster(self, cluster: schema.Cluster, former: AbstractSet[str] | None) -> Cluster:
        """`former` are the addresses that it had before; None if there was no such cluster."""
        slots, words = self.slots, Words(self.site.segment)
        if cluster.slow_start is not None:
            self.note_new(cluster, words, former)
        return Cluster(
            self.site.gauges,
            [self.endpoint(cluster, endpoint) for endpoint in in_use(cluster)],
            policy=cluster.balance,
            requests=slots.gauge(names.cluster_requests(cluster.name)),
            requests_cap=cluster.max_requests,
            seed=int.from_bytes(os.urandom(8), "little"),
            health=self.health(cluster),
            words=words,
            turn=self.turn(cluster),
            slow_start=slow_start(cluster),
            decay_ns=cluster.decay,
            hash_balance_factor=cluster.hash_balance_factor or 0,
            adaptive=self.adaptive(cluster),
        )

    def turn(self, cluster: schema.Cluster) -> int:
        if cluster.balance != "round_robin":
            return -1
        name = cluster.name
        return self.slots.word(names.subset_turn(name, self.labels) if self.labels else names.cluster_turn(name))

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
        addresses = [str(endpoint.address) for endpoint in in_use(cluster)]
        return Levels(
            level_of,
            [self.slots.decision(names.endpoint_decision(cluster.name, address)) for address in addresses],
            overprovisioning=cluster.overprovisioning,
            panic_threshold=cluster.panic_threshold,
        )

    def adaptive(self, cluster: schema.Cluster) -> AdaptiveCap | None:
        if cluster.adaptive is None:
            return None
        word = self.slots.word(names.cluster_limit(cluster.name))
        cap = AdaptiveCap(Words(self.site.segment), word, cluster.adaptive.start, cluster.adaptive.max)
        if not cluster.adaptive.dry_run:
            return cap
        would_refuse = self.slots.counter(names.cluster_would_refuse(cluster.name))
        return cap._replace(metrics=self.site.metrics, would_refuse=would_refuse)

    def endpoint(self, cluster: schema.Cluster, endpoint: schema.Endpoint) -> EndpointSpec:
        slots, address = self.slots, str(endpoint.address)
        key = cluster.name, address
        return EndpointSpec(
            slots.gauge(names.endpoint_active(*key)),
            endpoint.weight,
            endpoint.max_requests,
            slots.decision(names.endpoint_decision(*key)),
            address.encode(),
            slots.word(names.endpoint_latency(*key)) if cluster.balance == "peak_ewma" else -1,
            slots.word(names.endpoint_since(*key)) if cluster.slow_start is not None else -1,
        )

    def note_new(self, cluster: schema.Cluster, words: Words, former: AbstractSet[str] | None) -> None:
        """Since when endpoints are here. Each worker says so of those that a reload brought; a worker that is new
        itself, as all are after a hot restart, only of those that nobody has noted yet."""
        for endpoint in in_use(cluster):
            address = str(endpoint.address)
            word = self.slots.word(names.endpoint_since(cluster.name, address))
            if words.load(word) == 0 or (former is not None and address not in former):
                words.store(word, time.monotonic_ns())


def slow_start(cluster: schema.Cluster) -> SlowStart | None:
    terms = cluster.slow_start
    return None if terms is None else SlowStart(terms.window, terms.aggression / 100, terms.min_weight_percent)


def hash_policy(route: schema.Route) -> HashPolicy | None:
    """None if the route keeps nothing together."""
    return HashPolicy([source for one in route.hash for source in sources(one)]) if route.hash else None


def sources(one: schema.HashKey) -> list[tuple[str, bytes, int, int] | Cookie]:
    """A cookie that is given is two sources: what the client has, and what it gets."""
    if one.cookie is not None:
        read = ("cookie", one.cookie.name.encode(), 0, 0)
        ttl = one.cookie.ttl
        return [read] if ttl is None else [read, Cookie(one.cookie.name, one.cookie.path, ttl // NS_PER_S)]
    if one.header is not None:
        return [("header", one.header.encode(), 0, 0)]
    if one.query is not None:
        return [("query", one.query.encode(), 0, 0)]
    return [("client", b"", 32, 128)]

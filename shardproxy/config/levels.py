"""Which endpoints of a cluster come first: by priority, and within one by zone."""

from __future__ import annotations

from shardproxy.config.clusters import Cluster, Endpoint


def levels_of(cluster: Cluster, zone: str | None) -> list[int]:
    """Each endpoint's level, from 0 without a gap: priorities in their order, and of each first those of `zone`."""

    def place(endpoint: Endpoint) -> tuple[int, bool]:
        return endpoint.priority, zone is not None and endpoint.zone != zone

    order = sorted({place(endpoint) for endpoint in cluster.endpoints})
    return [order.index(place(endpoint)) for endpoint in cluster.endpoints]

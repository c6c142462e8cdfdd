"""Which endpoints of a cluster come first: by priority, and within one by zone."""

from __future__ import annotations

from shardproxy.config.clusters import Cluster, Endpoint, in_use


def levels_of(cluster: Cluster, zone: str | None) -> list[int]:
    """The level of each endpoint in use, from 0 without a gap: by priority, and of each first those of `zone`."""

    def place(endpoint: Endpoint) -> tuple[int, bool]:
        return endpoint.priority, zone is not None and endpoint.zone != zone

    places = [place(endpoint) for endpoint in in_use(cluster)]
    order = sorted(set(places))
    return [order.index(one) for one in places]

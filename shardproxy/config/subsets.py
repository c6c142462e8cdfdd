"""Subsets: the endpoints of a cluster that a route asks for by their labels."""

from __future__ import annotations

from collections.abc import Sequence

from msgspec import structs

from shardproxy.config.clusters import Cluster


def part_of(cluster: Cluster, labels: Sequence[str]) -> Cluster:
    """The same cluster with only the endpoints that carry all of `labels`; perhaps none."""
    wanted = set(labels)
    return structs.replace(cluster, endpoints=tuple(one for one in cluster.endpoints if wanted <= set(one.labels)))

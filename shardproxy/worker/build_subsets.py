"""The endpoints that a route's `subset` names, compiled into a cluster of their own over the whole one's pools.

Everything that is counted goes by the names of cluster and endpoint, so caps, health, retries and statistics are those
of the whole; only whose turn it is, is the subset's own.  A request costs what it does without a subset.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from shardproxy.config import schema
from shardproxy.config.clusters import in_use
from shardproxy.config.subsets import part_of
from shardproxy.proxy.runtime import ClusterRuntime
from shardproxy.worker.build_clusters import ClusterBuilder
from shardproxy.worker.snapshot import SubsetKey


@dataclass(frozen=True)
class SubsetBuilder:
    """`configured` and `whole` are the clusters, as they are written and compiled; `built` the subsets so far."""

    clusters: ClusterBuilder
    configured: dict[str, schema.Cluster]
    whole: dict[str, ClusterRuntime]
    built: dict[SubsetKey, ClusterRuntime] = field(default_factory=dict)

    def among(self, cluster: str, route: schema.Route) -> ClusterRuntime:
        """Those endpoints of `cluster` that `route` may use: all, if it names no subset, or if nobody carries its
        labels and it does not insist."""
        part = part_of(self.configured[cluster], route.subset)
        if not route.subset or (route.subset_fallback == "any" and not in_use(part)):
            return self.whole[cluster]
        key = part, tuple(sorted(route.subset))
        if key not in self.built:
            self.built[key] = self.clusters.subset(*key)
        return self.built[key]

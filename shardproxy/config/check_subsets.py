"""What is wrong with labels of endpoints, and with the subsets that routes ask for."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from shardproxy.config.findings import Finding, repeated, routes
from shardproxy.config.places import Path
from shardproxy.config.schema import Cluster, Config, Route
from shardproxy.config.subsets import part_of


def labels_say_one_thing(config: Config) -> Iterator[Finding]:
    for number, cluster in enumerate(config.clusters):
        for index, endpoint in enumerate(cluster.endpoints):
            yield from _names(("clusters", number, "endpoints", index, "labels"), endpoint.labels)


def subsets_have_endpoints(config: Config) -> Iterator[Finding]:
    clusters = {cluster.name: cluster for cluster in config.clusters}
    for path, route in routes(config):
        yield from _names((*path, "subset"), route.subset)
        if route.subset_fallback == "any" and not route.subset:
            yield (*path, "subset_fallback"), "is used only with subset"
        if route.subset and route.cluster is None:
            yield (*path, "subset"), "is used only with cluster"
        if route.subset and route.cluster in clusters:
            yield from _subset((*path, "subset"), route, clusters[route.cluster])


def _subset(path: Path, route: Route, cluster: Cluster) -> Iterator[Finding]:
    """Endpoints that are found at run time may come to carry the labels, so none of them is no mistake."""
    is_found_later = cluster.dns is not None or cluster.endpoints_file is not None
    if cluster.queue is not None:
        yield path, f"{cluster.name!r} has a queue, which is one line for all its endpoints; make it two clusters"
    if not is_found_later and route.subset_fallback == "none" and not part_of(cluster, route.subset).endpoints:
        yield path, f"no endpoint of {cluster.name!r} carries {' and '.join(route.subset)}"


def _names(path: Path, labels: Sequence[str]) -> Iterator[Finding]:
    yield from repeated(path, [label.partition("=")[0] for label in labels], "label")

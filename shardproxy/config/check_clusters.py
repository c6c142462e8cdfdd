"""What is wrong with clusters."""

from __future__ import annotations

from collections.abc import Iterator

from shardproxy.config.findings import Finding
from shardproxy.config.schema import Cluster, Config, HealthCheck


def adaptive_limits_make_sense(config: Config) -> Iterator[Finding]:
    for number, cluster in enumerate(config.clusters):
        adaptive, path = cluster.adaptive, ("clusters", number, "adaptive")
        if adaptive is None:
            continue
        if not adaptive.min <= adaptive.start <= adaptive.max:
            yield (*path, "start"), f"must be from min ({adaptive.min}) to max ({adaptive.max})"
        if adaptive.policy == "aimd" and adaptive.latency is None:
            yield path, "aimd needs latency, such as latency: 200ms"


def health_checks_can_be_made(config: Config) -> Iterator[Finding]:
    for number, cluster in enumerate(config.clusters):
        if cluster.health_check is not None:
            for key, sentence in _unusable(cluster.health_check, cluster):
                yield ("clusters", number, "health_check", key), sentence


def queues_can_fill(config: Config) -> Iterator[Finding]:
    for number, cluster in enumerate(config.clusters):
        of_endpoints = (endpoint.max_requests for endpoint in cluster.endpoints)
        caps = [cluster.max_requests, cluster.max_connections, cluster.adaptive, *of_endpoints]
        if cluster.queue is not None and not any(caps):
            sentence = "nobody ever waits: no max_requests, no max_connections, nothing adaptive"
            yield ("clusters", number, "queue"), sentence


def connections_of_endpoints_are_capped_without_a_queue(config: Config) -> Iterator[Finding]:
    """Who waits in line for a place would get one that is of no use."""
    for number, cluster in enumerate(config.clusters):
        for index, endpoint in enumerate(cluster.endpoints):
            if cluster.queue is not None and endpoint.max_connections is not None:
                path = ("clusters", number, "endpoints", index, "max_connections")
                yield path, "is not for clusters with a queue; write max_requests, or max_connections of the cluster"


def endpoints_have_one_source(config: Config) -> Iterator[Finding]:
    for number, cluster in enumerate(config.clusters):
        found = [key for key in ("endpoints", "endpoints_file", "dns") if getattr(cluster, key)]
        if not found:
            yield ("clusters", number), "needs endpoints, endpoints_file or dns"
        elif len(found) > 1:
            yield ("clusters", number, found[1]), f"{found[0]} says what the endpoints are already; leave one out"
        if cluster.dns is not None and cluster.dns.min_ttl > cluster.dns.max_ttl:
            yield ("clusters", number, "dns", "max_ttl"), "must not be less than min_ttl"


def levels_can_change(config: Config) -> Iterator[Finding]:
    for number, cluster in enumerate(config.clusters):
        priorities = {endpoint.priority for endpoint in cluster.endpoints}
        looked_after = cluster.health_check is not None or cluster.outlier_detection is not None
        if len(priorities) > 1 and not looked_after:
            yield (
                ("clusters", number, "endpoints"),
                f"nobody sees when priority {min(priorities)} is ill; add health_check or outlier_detection",
            )


def _unusable(check: HealthCheck, cluster: Cluster) -> Iterator[tuple[str, str]]:
    if check.type == "tcp":
        for key in ("host", "body"):
            if getattr(check, key) is not None:
                yield key, "a check of type tcp only connects; leave it out, or write type: http"
    elif cluster.proxy_protocol and check.port is None:
        yield "type", "http checks send no PROXY protocol header; write type: tcp, or a port that expects none"
    if check.port is not None and any(endpoint.address.is_unix for endpoint in cluster.endpoints):
        yield "port", "an endpoint of this cluster is a Unix socket, which has no port"

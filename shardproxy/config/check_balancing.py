"""What is wrong with how clusters share requests, and with what routes keep together."""

from __future__ import annotations

from collections.abc import Iterator

from shardproxy.config.findings import Finding, routes
from shardproxy.config.schema import Cluster, Config

_HASHES = frozenset({"ring_hash", "maglev"})
_SLOW = frozenset({"least_connection", "round_robin", "peak_ewma"})


def balancing_makes_sense(config: Config) -> Iterator[Finding]:
    for number, cluster in enumerate(config.clusters):
        for key, sentence in _of_cluster(cluster):
            yield ("clusters", number, key), sentence


def hashes_say_one_thing(config: Config) -> Iterator[Finding]:
    by_hash = {cluster.name: cluster.balance in _HASHES for cluster in config.clusters}
    for at, route in routes(config):
        path = (*at, "hash")
        if route.hash and not by_hash.get(route.cluster or "", True):
            yield path, "is used only if the cluster's balance is ring_hash or maglev"
        for place, one in enumerate(route.hash):
            said = [one.header is not None, one.cookie is not None, one.client, one.query is not None]
            if sum(said) != 1:
                yield (*path, place), "needs exactly one of header, cookie, client and query"


def _of_cluster(cluster: Cluster) -> Iterator[tuple[str, str]]:
    if cluster.balance == "first" and any(one.max_requests is None for one in cluster.endpoints[:-1]):
        yield "balance", "first needs max_requests for every endpoint but the last, or those after it get nothing"
    if cluster.hash_balance_factor is not None and cluster.balance not in _HASHES:
        yield "hash_balance_factor", "is used only if balance is ring_hash or maglev"
    if cluster.slow_start is not None and cluster.balance not in _SLOW:
        yield "slow_start", "is used only if balance is least_connection, round_robin or peak_ewma"

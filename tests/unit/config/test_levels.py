"""The order in which the endpoints of a cluster are used."""

from __future__ import annotations

from shardproxy.config.clusters import Cluster, Endpoint
from shardproxy.config.levels import levels_of
from shardproxy.config.units import Address


def cluster(*places: tuple[int, str | None]) -> Cluster:
    endpoints = tuple(
        Endpoint(address=Address("127.0.0.1", port), priority=priority, zone=zone)
        for port, (priority, zone) in enumerate(places, 1)
    )
    return Cluster(name="app", endpoints=endpoints)


def test_priorities_are_used_in_their_order_whatever_their_numbers() -> None:
    assert levels_of(cluster((7, None), (0, None), (3, "a"), (7, "b")), None) == [2, 0, 1, 2]


def test_within_a_priority_the_own_zone_comes_first() -> None:
    assert levels_of(cluster((0, "b"), (0, "a"), (1, "b"), (1, "a"), (0, None)), "a") == [1, 0, 3, 2, 1]


def test_a_zone_that_no_endpoint_is_in_makes_no_levels() -> None:
    assert levels_of(cluster((0, "b"), (0, "c")), "a") == [0, 0]

"""Sizes that a configuration leaves open: bursts and tables of limits, and clusters whose slowness must be known."""

from __future__ import annotations

import pytest

from shardproxy.config.bandwidth import BandwidthLimit, burst_bytes, table_places
from shardproxy.config.limits import LimitKey, LimitOverride, RateLimit, burst_of, places
from shardproxy.config.load import parse
from shardproxy.config.routes import clusters_of, hedged_clusters
from shardproxy.config.words import says

KEY = LimitKey(address="client_ip")


@pytest.mark.parametrize(("rate", "burst"), [(0.1, 1), (1.0, 1), (1.9, 1), (2.0, 2), (90.5, 90)])
def test_the_burst_is_one_seconds_worth_but_at_least_one(rate: float, burst: int) -> None:
    assert burst_of(RateLimit(name="a", rate=rate)) == burst
    assert burst_of(LimitOverride(key="a", rate=rate)) == burst
    assert burst_of(RateLimit(name="a", rate=rate, burst=7)) == 7


@pytest.mark.parametrize(("keys", "room"), [(16, 16), (17, 32), (31, 32), (32, 32), (33, 64), (65536, 65536)])
def test_a_table_has_the_next_power_of_two(keys: int, room: int) -> None:
    assert places(RateLimit(name="a", rate=1.0, keys=keys)) == room
    assert table_places(BandwidthLimit(name="a", key=KEY, keys=keys)) == room


def test_without_a_key_the_smallest_table_will_do() -> None:
    assert table_places(BandwidthLimit(name="a", keys=65536)) == 16


@pytest.mark.parametrize(("rate", "burst"), [(1 << 20, 104857), (10 << 10, 1 << 10), (1 << 10, 1 << 10), (20480, 2048)])
def test_the_burst_of_a_bandwidth_is_a_tenth_of_a_seconds_worth_but_at_least_a_kib(rate: int, burst: int) -> None:
    found = burst_bytes(BandwidthLimit(name="a"), rate)
    assert (found, type(found)) == (burst, int)
    assert burst_bytes(BandwidthLimit(name="a", burst=5000), rate) == 5000


ROUTES = """
listeners:
  - bind: 127.0.0.1:80
    routes:
      - {match: {path: /a}, cluster: a, hedge: {percentile: 90}}
      - {match: {path: /b}, clusters: [{cluster: a}, {cluster: b}], hedge: {percentile: 90}}
      - {match: {path: /c}, cluster: b, hedge: {percentile: 99}}
      - {match: {path: /d}, cluster: c, hedge: {after: 50ms}}
      - {match: {path: /e}, response: {status: 204}}
      - {match: {prefix: /}, cluster: c}
clusters:
  - {name: a, endpoints: ["127.0.0.1:1", "127.0.0.1:4"]}
  - {name: b, endpoints: ["127.0.0.1:2", "127.0.0.1:5"]}
  - {name: c, endpoints: ["127.0.0.1:3", "127.0.0.1:6"]}
"""


def test_slowness_is_known_of_each_cluster_and_percentile_once() -> None:
    routes = parse(ROUTES, "test", {}).listeners[0].routes
    assert hedged_clusters(routes) == [("a", 90), ("b", 90), ("b", 99)]
    assert [clusters_of(route) for route in routes] == [["a"], ["a", "b"], ["b"], ["c"], [], ["c"]]


def test_what_a_key_says_is_its_description_and_what_else_is_known() -> None:
    plain, more = says("A key."), says("A key.", otherwise="none", least=1)
    assert (plain.description, plain.extra) == ("A key.", None)
    assert (more.description, more.extra) == ("A key.", {"otherwise": "none", "least": 1})

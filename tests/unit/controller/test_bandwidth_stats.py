"""What `/stats` tells of bandwidth limits: each direction for itself, over all workers."""

from __future__ import annotations

import time
from collections.abc import Iterator

import pytest

from shardproxy.controller.reading import read
from shardproxy.controller.stats import BandwidthStats, FlowStats, KeyStats
from shardproxy.limits.tables import bandwidth_table_of
from shardproxy.shm import names
from tests.unit.controller.counting import Site, site

TEXT = """
listeners: [{bind: 127.0.0.1:80, routes: [{match: {prefix: /}, cluster: app, bandwidth_limits: [all]}]}]
clusters: [{name: app, endpoints: [127.0.0.1:1]}]
bandwidth_limits:
  - {name: all, down: 1MiB/s, up: 10KiB/s, burst: 64KiB}
  - {name: down, down: 100KiB/s, dry_run: true}
  - {name: keyed, up: 64KiB/s, burst: 8KiB, key: client_ip, keys: 20}
"""


@pytest.fixture
def app() -> Iterator[Site]:
    with site(TEXT) as made:
        yield made


def stats(app: Site) -> dict[str, BandwidthStats]:
    return read(app.segment, app.slots, app.config).bandwidth_limits


def flow(rate: int, burst: int) -> FlowStats:
    return FlowStats(rate=rate, burst=burst, passed_bytes=0, held_bytes=0, waited_s=0, waiting=0, keys=None)


def test_before_anything_has_passed_all_is_zero_and_a_direction_that_is_free_is_none(app: Site) -> None:
    found = stats(app)
    assert found["all"] == BandwidthStats(down=flow(1 << 20, 64 << 10), up=flow(10 << 10, 64 << 10), dry_run=False)
    assert found["down"] == BandwidthStats(down=flow(100 << 10, 10 << 10), up=None, dry_run=True)
    assert found["keyed"].down is None


def test_each_direction_has_its_own_numbers_over_all_workers(app: Site) -> None:
    for number, direction in enumerate(("down", "up"), 1):
        key = "all", direction
        app.worker.count(names.bandwidth_passed(*key), 1000 * number)
        app.other.count(names.bandwidth_passed(*key), 10 * number)
        app.worker.count(names.bandwidth_held(*key), 500 * number)
        app.worker.count(names.bandwidth_waited(*key), 1_234_567_890 * number)
        app.other.add(names.bandwidth_waiting(*key), 3 * number)
    found = stats(app)["all"]
    for number, each in ((1, found.down), (2, found.up)):
        assert each is not None
        assert (each.passed_bytes, each.held_bytes, each.waiting) == (1010 * number, 500 * number, 3 * number)
        assert each.waited_s == round(1.23456789 * number, 3)


def test_a_limit_by_key_tells_of_its_table(app: Site) -> None:
    table = bandwidth_table_of(app.config.bandwidth_limits[2], "up", 64 << 10, app.segment, app.slots)
    for key in (b"a", b"b", b"c"):
        table.take(key, time.monotonic_ns(), 8)
    app.worker.count(names.bandwidth_evicted("keyed", "up"), 5)
    up = stats(app)["keyed"].up
    assert up is not None
    assert up.keys == KeyStats(capacity=32, occupied=3, evictions=5)

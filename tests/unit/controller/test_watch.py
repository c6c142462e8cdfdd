"""What a cluster has done since the last look, over all its endpoints and all workers."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from shardproxy.controller.watching import Places, Seen, Watch, places_of
from shardproxy.shm import names
from tests.unit.controller.counting import Site, site

MS = 10**6
TEXT = """
listeners: [{bind: 127.0.0.1:80, routes: [{match: {prefix: /}, cluster: app}]}]
clusters: [{name: app, endpoints: [127.0.0.1:1, 127.0.0.1:2]}, {name: none, endpoints: [127.0.0.1:3]}]
"""
ONE, TWO = ("app", "127.0.0.1:1"), ("app", "127.0.0.1:2")


@pytest.fixture
def app() -> Iterator[Site]:
    with site(TEXT) as made:
        yield made


@pytest.fixture
def watch(app: Site) -> Watch:
    app.worker.observe(names.endpoint_time(*ONE), 900 * MS, 5)
    app.worker.count(names.endpoint_errors(*ONE), 5)
    return Watch(app.segment, places_of(app.config.clusters[0], app.slots))


def test_what_was_counted_before_is_not_new(watch: Watch) -> None:
    seen = watch.take()
    assert (seen.ended, seen.failed, seen.quantile_ns(0.5)) == (0, 0, 0)


def test_each_look_sees_what_came_since_the_last(app: Site, watch: Watch) -> None:
    app.worker.observe(names.endpoint_time(*ONE), 10 * MS, 3)
    app.other.observe(names.endpoint_time(*TWO), 10 * MS, 4)
    for worker, name in ((app.worker, names.endpoint_failures), (app.other, names.endpoint_unreached)):
        worker.count(name(*ONE), 1)
        worker.count(name(*TWO), 1)
    seen = watch.take()
    assert (seen.ended, seen.failed) == (7, 4)
    assert seen.quantile_ns(0.5) == pytest.approx(10 * MS, rel=0.0625)
    app.worker.observe(names.endpoint_time(*TWO), 10 * MS, 2)
    app.worker.count(names.endpoint_errors(*TWO), 1)
    seen = watch.take()
    assert (seen.ended, seen.failed) == (2, 1)


def test_another_clusters_numbers_are_not_among_them(app: Site, watch: Watch) -> None:
    app.worker.observe(names.endpoint_time("none", "127.0.0.1:3"), MS, 9)
    assert watch.take().ended == 0


def test_a_cluster_without_endpoints_has_done_nothing(app: Site) -> None:
    seen = Watch(app.segment, Places((), ())).take()
    assert (seen.counts, seen.failed, seen.failed_share) == ([], 0, 0)


def test_counts_that_went_back_are_nothing_new(app: Site, watch: Watch) -> None:
    app.worker.observe(names.endpoint_time(*ONE), 10 * MS, 3)
    watch.take()
    watch._counts = [count + 5 for count in watch._counts]
    watch._failed += 5
    seen = watch.take()
    assert (seen.ended, seen.failed) == (0, 0)


@pytest.mark.parametrize(
    ("counts", "failed", "share"), [([8, 2], 1, 0.1), ([0, 0], 0, 0), ([0, 0], 3, 1), ([4, 0], 8, 1), ([1], 1, 1)]
)
def test_the_share_of_failures_is_never_above_one(counts: list[int], failed: int, share: float) -> None:
    assert Seen(counts, failed).failed_share == share

"""Priorities and zones: which level a request goes to. tests/property/test_levels.py has the rule against a model."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator

import pytest

from shardproxy.balancing.cluster import Cluster, EndpointSpec, Health
from shardproxy.balancing.levels import Levels
from shardproxy.shm.decisions import CHECKED, FAILED_CHECK, Decisions
from shardproxy.shm.gauges import Gauges
from shardproxy.shm.layout import Capacities
from shardproxy.shm.metrics import Metrics
from shardproxy.shm.segment import Segment

FULL, UNHEALTHY = -1, -2
ALL, PANICS = 100, 3
TWO_LEVELS = [0, 0, 1, 1]


@pytest.fixture
def segment() -> Iterator[Segment]:
    made = Segment.create(Capacities(rows=16, gauges=128, counters=16, histograms=1, buckets=1, decisions=100))
    yield made
    made.close()


def levelled(segment: Segment, levels: list[int], *, threshold: int = 50, cap: int | None = None) -> Cluster:
    """Endpoints of these levels; their decisions have the slots of their gauges."""
    slots = range(len(levels))
    shared = Levels(levels, list(slots), overprovisioning=140, panic_threshold=threshold)
    health = Health(Decisions(segment), threshold, Metrics(segment, 0), PANICS, shared)
    specs = [EndpointSpec(slot, 1, cap, slot) for slot in slots]
    return Cluster(Gauges(segment, 0), specs, policy="random", requests=ALL, requests_cap=None, seed=5, health=health)


def fail(segment: Segment, *slots: int) -> None:
    for slot in slots:
        Decisions(segment).decide(slot, FAILED_CHECK | CHECKED, 0, 1)


def taken(one: Cluster, requests: int, excluded: int = 0) -> Counter[int]:
    """Who gets how many of requests one after the other."""
    indexes = []
    for _ in range(requests):
        indexes.append(one.take(excluded))
        if indexes[-1] >= 0:
            one.give(indexes[-1])
    return Counter(indexes)


def test_the_second_level_gets_nothing_while_the_first_is_well(segment: Segment) -> None:
    assert set(taken(levelled(segment, TWO_LEVELS), 200)) == {0, 1}


def test_with_half_of_the_first_level_70_percent_stay_and_all_come_back(segment: Segment) -> None:
    one = levelled(segment, TWO_LEVELS)
    fail(segment, 0)
    counts = taken(one, 20_000)
    assert counts[0] == 0
    assert counts[1] == pytest.approx(14_000, abs=300)  # 4.6 standard deviations
    Decisions(segment).decide(0, CHECKED, 0, 2)
    assert set(taken(one, 200)) == {0, 1}


def test_a_level_of_which_none_is_left_hands_everything_on(segment: Segment) -> None:
    one = levelled(segment, TWO_LEVELS)
    fail(segment, 0, 1)
    assert set(taken(one, 200)) == {2, 3}
    assert Metrics(segment, 0).counter_total(PANICS) == 0


def test_when_all_are_ill_all_are_used_and_that_is_counted(segment: Segment) -> None:
    one = levelled(segment, TWO_LEVELS)
    fail(segment, 0, 1, 2, 3)
    assert set(taken(one, 200)) == {0, 1, 2, 3}
    assert Metrics(segment, 0).counter_total(PANICS) == 200


def test_without_panic_nobody_is_left_when_all_are_ill(segment: Segment) -> None:
    one = levelled(segment, TWO_LEVELS, threshold=0)
    fail(segment, 0, 1, 2, 3)
    assert one.take() == UNHEALTHY


def test_a_full_level_does_not_spill_to_one_that_gets_nothing(segment: Segment) -> None:
    one = levelled(segment, TWO_LEVELS, cap=1)
    assert sorted(one.take() for _ in range(3)) == [FULL, 0, 1]


def test_levels_that_share_the_requests_fill_both_before_anybody_is_refused(segment: Segment) -> None:
    one = levelled(segment, TWO_LEVELS, cap=1)
    fail(segment, 0)
    assert sorted(one.take() for _ in range(4)) == [FULL, 1, 2, 3]


def test_a_retry_prefers_a_lower_level_to_an_endpoint_that_was_tried(segment: Segment) -> None:
    one = levelled(segment, TWO_LEVELS)
    assert set(taken(one, 100, excluded=0b0011)) == {2, 3}
    assert set(taken(one, 100, excluded=0b1111)) == {0, 1}


def test_a_level_without_endpoints_is_refused() -> None:
    with pytest.raises(ValueError, match="without a gap"):
        Levels([0, 2], [0, 1], overprovisioning=140, panic_threshold=50)

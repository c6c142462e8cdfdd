"""Slots of endpoints that are gone: kept while anybody counts in them, then zeroed for others."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from shardproxy.shm import names
from shardproxy.shm.decisions import EJECTED, Decisions
from shardproxy.shm.gauges import Gauges
from shardproxy.shm.layout import Capacities
from shardproxy.shm.metrics import Metrics
from shardproxy.shm.segment import Segment
from shardproxy.shm.slots import SlotKind, Slots, SlotsFull
from shardproxy.supervisor.freeing import free_unused

GONE = ("app", "127.0.0.1:1")
WORKER = 1


@pytest.fixture
def segment() -> Iterator[Segment]:
    segment = Segment.create(Capacities(gauges=3, counters=1, histograms=1, decisions=1))
    segment.rows_used = 2
    yield segment
    segment.close()


def endpoint(slots: Slots, address: str) -> None:
    slots.gauge(names.endpoint_active("app", address))
    slots.gauge(names.endpoint_held("app", address))
    slots.counter(names.endpoint_requests("app", address))
    slots.histogram(names.endpoint_time("app", address))
    slots.decision(names.endpoint_decision("app", address))


def test_a_slot_is_another_s_when_nobody_counts_in_it_any_more_and_begins_with_zero(segment: Segment) -> None:
    slots = Slots(segment.capacities)
    endpoint(slots, GONE[1])
    gauges, metrics, decisions = Gauges(segment, WORKER), Metrics(segment, WORKER), Decisions(segment)
    metrics.count(0, 7)
    metrics.observe_ns(0, 10**6)
    decisions.decide(0, EJECTED, 1, 1)
    for gauge in (names.endpoint_active(*GONE), names.endpoint_held(*GONE)):
        gauges.add(slots.gauge(gauge), 1)
        free_unused(slots, segment, set())
        with pytest.raises(SlotsFull):
            slots.counter(names.endpoint_requests("app", "127.0.0.1:2"))
        gauges.add(slots.gauge(gauge), -1)
    free_unused(slots, segment, set())
    endpoint(slots, "127.0.0.1:2")
    assert (metrics.counter_total(0), sum(metrics.histogram_total(0)), metrics.histogram_sum_ns(0)) == (0, 0, 0)
    assert (decisions.flags(0), decisions.since_ns(0)) == (0, 0)


def test_what_is_kept_and_what_is_no_endpoint_s_is_left_alone(segment: Segment) -> None:
    slots = Slots(segment.capacities)
    slots.counter(names.REQUESTS)
    kept = (SlotKind.GAUGE, names.endpoint_active(*GONE))
    slots.gauge(kept[1])
    free_unused(slots, segment, {kept})
    assert slots.names(SlotKind.COUNTER) == {names.REQUESTS: 0}
    assert slots.names(SlotKind.GAUGE) == {kept[1]: 0}


def test_free_slots_go_along_with_the_names(segment: Segment) -> None:
    slots = Slots(segment.capacities)
    for name in ("a", "b", "c"):
        slots.gauge(name)
    slots.give_back(SlotKind.GAUGE, "b")
    found = Slots.restored(segment.capacities, slots.in_order())
    assert found.names(SlotKind.GAUGE) == {"a": 0, "c": 2}
    assert found.gauge("d") == 1
    with pytest.raises(SlotsFull):
        found.gauge("e")

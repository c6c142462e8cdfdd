"""Slots of names that no configuration in use has any more: kept while anybody uses them, then zeroed for others."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from shardproxy.config.limits import LimitKey
from shardproxy.config.schema import Admin, Cluster, Config, Endpoint, Listener, RateLimit
from shardproxy.config.units import Address
from shardproxy.limits.tables import set_rates, table_of
from shardproxy.shm import names
from shardproxy.shm.buckets import Bucket, Buckets
from shardproxy.shm.decisions import EJECTED, Decisions
from shardproxy.shm.gauges import Gauges
from shardproxy.shm.held import Held
from shardproxy.shm.keyed import KeyedBuckets
from shardproxy.shm.layout import Capacities
from shardproxy.shm.metrics import Metrics
from shardproxy.shm.segment import Segment
from shardproxy.shm.slots import SlotKind, Slots, SlotsFull
from shardproxy.shm.waiters import Waiters
from shardproxy.shm.words import Words
from shardproxy.supervisor import catalog
from shardproxy.supervisor.freeing import assign, free_unused

WORKER, NOW, SECOND = 1, 10**15, 10**9
SMALL = Capacities(
    gauges=40, counters=90, histograms=10, buckets=3, decisions=2, key_tables=2, keys=64, queues=9, words=4
)


@pytest.fixture
def segment() -> Iterator[Segment]:
    segment = Segment.create(SMALL)
    segment.rows_used = 2
    yield segment
    segment.close()


@pytest.fixture
def slots(segment: Segment) -> Slots:
    return Slots(segment.capacities)


@pytest.fixture
def gauges(segment: Segment) -> Gauges:
    return Gauges(segment, WORKER)


def named(word: str) -> Config:
    """A configuration whose cluster, listener and limits are called `word`."""
    cluster = Cluster(name=word, endpoints=(Endpoint(address=Address("127.0.0.1", 1)),), balance="round_robin")
    return Config(
        listeners=(Listener(name=word, bind=Address("127.0.0.1", 80), routes=()),),
        clusters=(cluster,),
        rate_limits=(RateLimit(name=word, rate=10.0, burst=5),),
        admin=Admin(bind=Address("127.0.0.1", 81)),
    )


def test_what_no_configuration_in_use_has_is_given_back_whatever_kind_it_is(slots: Slots, segment: Segment) -> None:
    for kind in SlotKind:
        getattr(slots, kind)("gone")
        slots.note(kind, "gone", 1)
        getattr(slots, kind)("kept")
        slots.note(kind, "kept", 1)
        slots.note(kind, "kept", 2)
    free_unused(slots, segment, {2})
    assert {kind: slots.names(kind) for kind in SlotKind} == {kind: {"kept": 1} for kind in SlotKind}


@pytest.mark.parametrize("held", [3, 4, 5])
def test_a_name_is_kept_while_somebody_uses_a_configuration_that_had_it(
    slots: Slots, segment: Segment, gauges: Gauges, held: int
) -> None:
    for version in (3, 4, 5):
        slots.gauge(names.configuration_held(version))
        slots.note(SlotKind.GAUGE, names.configuration_held(version), version)
        slots.counter("old")
        slots.note(SlotKind.COUNTER, "old", version)
    user = Held(gauges, slots, held)
    free_unused(slots, segment, {9})
    assert slots.names(SlotKind.COUNTER) == {"old": 0}
    assert list(slots.names(SlotKind.GAUGE)) == [names.configuration_held(held)]
    del user
    free_unused(slots, segment, {9})
    assert slots.names(SlotKind.COUNTER) == slots.names(SlotKind.GAUGE) == {}


def test_who_uses_an_older_or_a_newer_configuration_keeps_nothing_of_this_one(
    slots: Slots, segment: Segment, gauges: Gauges
) -> None:
    for version in (1, 7):
        slots.gauge(names.configuration_held(version))
        slots.note(SlotKind.GAUGE, names.configuration_held(version), version)
    slots.counter("old")
    slots.note(SlotKind.COUNTER, "old", 4)
    users = [Held(gauges, slots, 1), Held(gauges, slots, 7)]
    free_unused(slots, segment, {9})
    assert slots.names(SlotKind.COUNTER) == {}
    assert len(users) == 2


def test_the_counts_of_a_worker_that_died_keep_nothing(slots: Slots, segment: Segment, gauges: Gauges) -> None:
    slots.gauge(names.configuration_held(1))
    slots.note(SlotKind.GAUGE, names.configuration_held(1), 1)
    gauges.add(slots.gauge(names.configuration_held(1)), 3)
    Gauges(segment, 0).clear_row(WORKER)
    free_unused(slots, segment, {2})
    assert slots.names(SlotKind.GAUGE) == {}


def test_all_that_is_counted_of_a_thing_stays_while_one_of_its_gauges_counts(
    slots: Slots, segment: Segment, gauges: Gauges
) -> None:
    """A connection that outlives the request that opened it counts for its endpoint, and uses no configuration."""
    key = ("app", "127.0.0.1:1")
    slots.counter(names.endpoint_requests(*key))
    gauges.add(slots.gauge(names.endpoint_connections(*key)), 1)
    free_unused(slots, segment, {2})
    assert len(slots.names(SlotKind.COUNTER)) == len(slots.names(SlotKind.GAUGE)) == 1
    gauges.add(slots.gauge(names.endpoint_connections(*key)), -1)
    free_unused(slots, segment, {2})
    assert slots.names(SlotKind.COUNTER) == slots.names(SlotKind.GAUGE) == {}


def test_a_slot_that_was_used_begins_afresh_for_another_name(slots: Slots, segment: Segment) -> None:
    for kind in SlotKind:
        getattr(slots, kind)("gone")
    metrics, words, decisions = Metrics(segment, WORKER), Words(segment), Decisions(segment)
    metrics.count(0, 7)
    metrics.observe_ns(0, 10**6)
    decisions.decide(0, EJECTED, 1, 1)
    words.store(0, -3)
    Waiters(segment, WORKER).publish(0, 1, 5)
    assert Bucket(Buckets(segment), 0, 1 / 3600, 5).take(NOW, 5) == 0
    assert KeyedBuckets(segment, 0, 64, 1 / 3600, 5).take(b"key", NOW, 5) == 0
    free_unused(slots, segment, {2})
    assert [getattr(slots, kind)("new") for kind in SlotKind] == [0] * len(SlotKind)
    assert (metrics.counter_total(0), sum(metrics.histogram_total(0)), metrics.histogram_sum_ns(0)) == (0, 0, 0)
    assert (decisions.flags(0), decisions.since_ns(0), words.load(0), Waiters(segment, 0).best(0)) == (0, 0, 0, None)
    bucket, table = Bucket(Buckets(segment), 0, 10, 3), KeyedBuckets(segment, 0, 16, 10, 3)
    assert (bucket.rate_per_s, bucket.take(NOW, 3), bucket.take(NOW)) == (10, 0, SECOND // 10)
    assert table.take(b"key", NOW, 3) == 0
    assert table.take(b"key", NOW) == pytest.approx(SECOND // 10, abs=SECOND // 1000)


def test_what_a_dead_row_beyond_those_in_use_has_counted_is_zeroed_too(slots: Slots, segment: Segment) -> None:
    slots.counter("gone")
    segment.rows_used = 9
    Metrics(segment, 8).count(0, 7)
    segment.rows_used = 1
    free_unused(slots, segment, {2})
    slots.counter("new")
    assert Metrics(segment, 0).counter_total(0) == 0


def test_any_number_of_configurations_with_other_names_find_room(slots: Slots, segment: Segment) -> None:
    for version in range(1, 60):
        assign(named(f"release-{version}"), slots, segment, version, {version - 1})


def test_two_configurations_at_a_time_that_are_too_many_are_refused_and_nothing_of_the_served_one_is_lost(
    slots: Slots, segment: Segment
) -> None:
    assign(named("served"), slots, segment, 1)
    served = {(kind, name): slots.names(kind)[name] for kind, name in catalog.entries(named("served"), 1)}
    many = Cluster(
        name="many", endpoints=tuple(Endpoint(address=Address("127.0.0.1", port)) for port in range(1, 50))
    )
    with pytest.raises(SlotsFull, match="has room for"):
        assign(Config(listeners=named("served").listeners, clusters=(many,)), slots.copy(), segment, 2, {1})
    assert {(kind, name): slots.names(kind)[name] for kind, name in served} == served
    assign(named("next"), slots, segment, 2, {1})


def test_a_name_that_comes_back_before_its_slot_is_wanted_finds_what_was_counted(
    slots: Slots, segment: Segment
) -> None:
    assign(named("one"), slots, segment, 1)
    requests = slots.counter(names.listener_accepted("one"))
    Metrics(segment, WORKER).count(requests, 5)
    assign(named("two"), slots, segment, 2, {1})
    assign(named("one"), slots, segment, 3, {2})
    assert Metrics(segment, 0).counter_total(slots.counter(names.listener_accepted("one"))) == 5


def test_what_the_next_configuration_wants_again_is_not_given_back_for_the_rest_of_it(
    slots: Slots, segment: Segment
) -> None:
    """Its names are known before room is made, also those behind the one that found none."""
    both = (RateLimit(name="a", rate=1.0), RateLimit(name="b", rate=1.0))
    assign(Config(listeners=(), clusters=(), rate_limits=both), slots, segment, 1)
    bucket = Bucket(Buckets(segment), slots.bucket(names.rate_limit("b")), 1 / 3600, 2)
    assert bucket.take(NOW, 2) == 0
    assign(Config(listeners=(), clusters=()), slots, segment, 2, {1})
    more = (RateLimit(name="c", rate=1.0), RateLimit(name="d", rate=1.0), both[1])
    assign(Config(listeners=(), clusters=(), rate_limits=more), slots, segment, 3, {2})
    assert bucket.slot == slots.bucket(names.rate_limit("b"))
    assert bucket.take(NOW) > 0


def test_a_changed_rate_needs_no_room(slots: Slots, segment: Segment) -> None:
    for rate in range(1, 100):
        limit = RateLimit(name="each", rate=float(rate), burst=5, key=LimitKey(address="client_ip"), keys=64)
        config = Config(listeners=(), clusters=(), rate_limits=(limit,))
        assign(config, slots, segment, rate)
        set_rates(config, segment, slots, NOW)
    assert len(slots.names(SlotKind.TABLE)) == 1
    assert table_of(limit, segment, slots).take(b"key", NOW, 5) == 0


def test_free_slots_and_spans_go_along_with_the_names(segment: Segment, slots: Slots) -> None:
    for name in ("a", "b", "c"):
        slots.gauge(name)
        slots.note(SlotKind.GAUGE, name, 3)
    slots.note(SlotKind.GAUGE, "c", 5)
    slots.give_back(SlotKind.GAUGE, "b")
    for found in (Slots.restored(segment.capacities, slots.in_order(), slots.spans()), slots.copy()):
        assert found.names(SlotKind.GAUGE) == {"a": 0, "c": 2}
        assert (found.span(SlotKind.GAUGE, "a"), found.span(SlotKind.GAUGE, "c")) == ((3, 3), (3, 5))
        assert found.gauge("d") == 1
        assert found.span(SlotKind.GAUGE, "d") == (0, 0)
        assert found.gauge("e") == 3
    assert slots.names(SlotKind.GAUGE) == {"a": 0, "c": 2}

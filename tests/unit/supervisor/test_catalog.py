from __future__ import annotations

import pytest
from msgspec.structs import replace

from shardproxy.config.limits import LimitKey
from shardproxy.config.schema import Admin, BandwidthLimit, Cluster, Config, Endpoint, Listener, Match, RateLimit, Route
from shardproxy.config.units import Address
from shardproxy.http1.faults import NAMES as FAULTS
from shardproxy.shm import names
from shardproxy.shm.layout import Capacities
from shardproxy.shm.slots import SlotKind, Slots, SlotsFull
from shardproxy.supervisor import catalog


def config(endpoints: int = 2) -> Config:
    web = Listener(bind=Address("127.0.0.1", 80), name="web", routes=(Route(match=Match(prefix="/"), cluster="app"),))
    ends = tuple(Endpoint(address=Address("127.0.0.1", port)) for port in range(1, endpoints + 1))
    return Config(
        listeners=(web,),
        clusters=(Cluster(name="app", endpoints=ends),),
        rate_limits=(RateLimit(name="all", rate=10.0, burst=5),),
        admin=Admin(bind=Address("127.0.0.1", 81)),
    )


def assigned(wanted: Config) -> Slots:
    slots = Slots(catalog.capacities(wanted, workers=2))
    catalog.assign(wanted, slots)
    return slots


def test_everything_that_is_counted_has_a_slot() -> None:
    slots = assigned(config())
    slots.seal()
    for port in (1, 2):
        key = "app", f"127.0.0.1:{port}"
        slots.gauge(names.endpoint_active(*key))
        slots.gauge(names.endpoint_connections(*key))
        slots.counter(names.endpoint_requests(*key))
        slots.counter(names.endpoint_failures(*key))
        slots.counter(names.endpoint_unreached(*key))
        slots.counter(names.endpoint_errors(*key))
        slots.histogram(names.endpoint_time(*key))
        slots.decision(names.endpoint_decision(*key))
    slots.gauge(names.cluster_requests("app"))
    slots.gauge(names.cluster_connections("app"))
    slots.counter(names.cluster_panics("app"))
    slots.gauge(names.listener_connections("web"))
    slots.counter(names.listener_accepted("web"))
    slots.bucket(names.rate_limit("all"))
    slots.counter(names.rate_limit_admitted("all"))
    slots.counter(names.rate_limit_refused("all"))
    for kind in FAULTS:
        slots.counter(names.fault(kind))
    slots.histogram(names.REQUEST_TIME)


def test_a_bandwidth_limit_has_slots_for_each_way_that_it_limits() -> None:
    both = BandwidthLimit(name="both", down=1 << 20, up=1 << 10, key=LimitKey(address="client_ip"), keys=100_000)
    own = BandwidthLimit(name="each", down=1 << 20, per_connection=True)
    slots = assigned(replace(config(), bandwidth_limits=(both, own)))
    slots.seal()
    assert slots.most_keys == 1 << 17
    slots.table(names.bandwidth_keys("both", "down", "address/32/64"))
    slots.table(names.bandwidth_keys("both", "up", "address/32/64"))
    for key in (("both", "down"), ("both", "up"), ("each", "down")):
        slots.gauge(names.bandwidth_waiting(*key))
        for name in (names.bandwidth_passed, names.bandwidth_held, names.bandwidth_waited, names.bandwidth_evicted):
            slots.counter(name(*key))
    assert not any("each" in name for name in slots.names(SlotKind.TABLE))


def test_every_constant_of_the_names_has_a_slot() -> None:
    slots = assigned(config())
    known = {*slots.names(SlotKind.COUNTER), *slots.names(SlotKind.HISTOGRAM)}
    assert {value for word, value in vars(names).items() if word.isupper()} <= known


def test_a_name_keeps_its_slot_when_the_configuration_grows() -> None:
    slots = assigned(config(endpoints=2))
    before = slots.names(SlotKind.GAUGE)
    catalog.assign(config(endpoints=5), slots)
    after = slots.names(SlotKind.GAUGE)
    assert before.items() < after.items()


def test_there_is_room_for_all_generations_and_for_twice_the_names() -> None:
    assert catalog.capacities(config(), workers=2) == Capacities()
    large = catalog.capacities(config(endpoints=5000), workers=40)
    assert large.rows == 256
    assert large.histograms == 2 * (5000 + 1)
    assert large.gauges == 2 * (2 * 5000 + 3 + 1 + 1)


def test_too_little_room_is_said() -> None:
    with pytest.raises(SlotsFull, match="room for 1 gauge"):
        catalog.assign(config(), Slots(Capacities(gauges=1)))


def test_a_subset_of_a_cluster_in_turn_takes_turns_of_its_own_whatever_the_order_of_its_labels() -> None:
    one = config()
    (listener,), (cluster,) = one.listeners, one.clusters
    routes = tuple(
        Route(match=Match(prefix=prefix), cluster="app", subset=subset)
        for prefix, subset in (("/a", ("v=2", "c=1")), ("/b", ("c=1", "v=2")), ("/", ()))
    )
    in_turn = replace(
        one, listeners=(replace(listener, routes=routes),), clusters=(replace(cluster, balance="round_robin"),)
    )
    turns = [name for name in assigned(in_turn).names(SlotKind.WORD) if "turn" in name]
    assert turns == [names.cluster_turn("app"), names.subset_turn("app", ("v=2", "c=1"))]
    not_in_turn = replace(in_turn, clusters=one.clusters)
    assert not [name for name in assigned(not_in_turn).names(SlotKind.WORD) if "turn" in name]

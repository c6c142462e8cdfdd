from __future__ import annotations

import pytest

from shardproxy.shm.layout import Capacities
from shardproxy.shm.slots import SlotKind, Slots, SlotsFull, UnknownSlot


@pytest.fixture
def slots() -> Slots:
    return Slots(
        Capacities(gauges=3, counters=2, histograms=1, buckets=1, decisions=1, key_tables=1, queues=1, words=1)
    )


def test_a_name_keeps_its_slot(slots: Slots) -> None:
    first, second = slots.gauge("a"), slots.gauge("b")
    assert first != second
    assert [slots.gauge("b"), slots.gauge("a"), slots.gauge("c")] == [second, first, 2]


def test_each_kind_is_numbered_by_itself(slots: Slots) -> None:
    assert [slots.gauge("a"), slots.counter("a"), slots.histogram("a"), slots.bucket("a")] == [0, 0, 0, 0]
    slots.counter("b")
    assert slots.names(SlotKind.COUNTER) == {"a": 0, "b": 1}
    assert slots.names("gauge") == {"a": 0}


def test_what_names_returns_is_a_copy(slots: Slots) -> None:
    slots.names("gauge")["stray"] = 7
    assert slots.names("gauge") == {}


@pytest.mark.parametrize("kind", list(SlotKind))
def test_a_name_for_which_there_is_no_room_is_refused_and_the_others_stay(slots: Slots, kind: SlotKind) -> None:
    assign = getattr(slots, kind)
    room = {"gauge": 3, "counter": 2, "histogram": 1, "bucket": 1, "decision": 1, "table": 1, "queue": 1, "word": 1}[
        kind
    ]
    for number in range(room):
        assert assign(f"name {number}") == number
    with pytest.raises(SlotsFull, match=f"room for {room} {kind}s and all are taken; one more finds none"):
        assign("one more")
    assert assign("name 0") == 0
    assert len(slots.names(kind)) == room


def test_sealed_slots_are_looked_up_but_not_assigned(slots: Slots) -> None:
    slots.bucket("limit")
    slots.seal()
    assert slots.bucket("limit") == 0
    with pytest.raises(UnknownSlot, match="no gauge is called stray; the supervisor assigns all names"):
        slots.gauge("stray")


def test_repr_tells_how_full_it_is(slots: Slots) -> None:
    slots.gauge("a")
    assert (
        repr(slots)
        == "<Slots gauge=1/3 counter=0/2 histogram=0/1 bucket=0/1 decision=0/1 table=0/1 queue=0/1 word=0/1>"
    )
    slots.seal()
    assert repr(slots).endswith(" sealed>")

"""A configuration on its way to the children."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from shardproxy.config.load import load
from shardproxy.control.plan import Plan, UnreadablePlan
from shardproxy.shm.layout import Capacities
from shardproxy.shm.slots import SlotKind, Slots, UnknownSlot

FULL = Path(__file__).parents[3] / "configs" / "full.yaml"


def test_a_plan_comes_back_as_it_was_written_and_sealed() -> None:
    slots = Slots(Capacities())
    numbers = [slots.gauge("b"), slots.gauge("a"), slots.bucket("c")]
    fd = Plan(7, load(FULL), slots).write()
    try:
        read = Plan.read(fd, Capacities())
    finally:
        os.close(fd)
    assert (read.version, read.config) == (7, load(FULL))
    assert [read.slots.gauge("b"), read.slots.gauge("a"), read.slots.bucket("c")] == numbers
    assert read.slots.names(SlotKind.COUNTER) == {}
    with pytest.raises(UnknownSlot):
        read.slots.gauge("new")


def test_bytes_that_are_no_plan_are_refused_in_a_sentence() -> None:
    fd = os.memfd_create("no-plan")
    os.write(fd, b"\xc1")
    with pytest.raises(UnreadablePlan, match="cannot be taken over"):
        Plan.read(fd, Capacities())
    os.close(fd)

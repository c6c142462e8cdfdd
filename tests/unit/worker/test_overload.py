"""A worker measures itself, and acts, also while it has no descriptor left."""

from __future__ import annotations

import os
import resource
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import uvloop

from shardproxy.config.overload import Overload, Threshold
from shardproxy.proxy.process import Process
from shardproxy.shm import names
from shardproxy.shm.addresses import Addresses
from shardproxy.shm.gauges import Gauges
from shardproxy.shm.layout import Capacities
from shardproxy.shm.metrics import Metrics
from shardproxy.shm.segment import Segment
from shardproxy.shm.slots import Slots
from shardproxy.worker import overload
from shardproxy.worker.overload import OverloadCare, ResidentMemory, open_descriptors

ROW = 1


@pytest.fixture
def slots() -> Slots:
    return Slots(capacities())


def capacities() -> Capacities:
    return Capacities(rows=16, gauges=100, counters=200, histograms=10, buckets=1)


@pytest.fixture
def process(slots: Slots) -> Iterator[Process]:
    segment, loop = Segment.create(capacities()), uvloop.new_event_loop()
    made = Process(
        loop, Gauges(segment, ROW), Addresses(segment, ROW), Metrics(segment, ROW), slots.counter, slots.histogram
    )
    yield made
    loop.close()
    segment.close()


@contextmanager
def no_descriptor() -> Iterator[None]:
    """None can be opened."""
    former = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (0, former[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, former)


class Doors:
    is_open = True

    def pause(self) -> None:
        self.is_open = False

    def resume(self) -> None:
        self.is_open = True


def rules() -> Overload:
    """A worker that has one descriptor is full, and one that has any memory."""
    return Overload(interval=0, memory=1 << 20, descriptors=1, pause_accept=Threshold(at=1))


def pressure(process: Process, slots: Slots, name: str) -> int:
    return process.gauges.row_value(slots.gauge(names.overload_pressure(name)), ROW)


def test_it_measures_on_when_no_descriptor_is_left(process: Process, slots: Slots) -> None:
    care = OverloadCare(process, Doors().pause, Doors().resume)
    care.follow(rules(), slots)
    with no_descriptor():
        care.tick()
    assert pressure(process, slots, "descriptors") >= 100


def test_memory_that_was_read_once_is_read_without_another_descriptor() -> None:
    memory = ResidentMemory()
    with no_descriptor():
        assert memory.read() == 0
    before = memory.read()
    with no_descriptor():
        block = bytearray(b"x") * (64 << 20)
        assert memory.read() > before + len(block) // 2
    memory.close()


def test_without_a_list_all_descriptors_that_are_allowed_are_in_use(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(overload, "DESCRIPTORS", tmp_path)
    monkeypatch.setattr(Path, "stat", lambda _: os.stat_result([0] * 10))  # as kernels before 6.2 have it
    (tmp_path / "0").touch()
    (tmp_path / "1").touch()
    assert open_descriptors() == 2
    with no_descriptor():
        assert open_descriptors() == 0


def test_what_fails_is_said_once_and_tried_again(
    process: Process, slots: Slots, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fails() -> int:
        raise MemoryError

    doors = Doors()
    care = OverloadCare(process, doors.pause, doors.resume)
    care.follow(rules(), slots)
    with monkeypatch.context() as broken:
        broken.setattr(overload, "open_descriptors", fails)
        for _ in range(3):
            care.tick()
    assert [record.levelname for record in caplog.records] == ["ERROR"]
    assert doors.is_open
    care.tick()
    assert not doors.is_open
    care.follow(None, slots)
    assert doors.is_open

"""The shared memory over a hot restart: it goes on, or the new generation gets a fresh one."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator

import msgspec
import pytest

from shardproxy.control.messages import Drain, Stop
from shardproxy.supervisor import succession
from tests.unit.supervisor.stage import Stage, edit, fill_the_memory, former, names, record_of, replaced

SERVES_ON = "restart: the old one serves on: "
RESTART = signal.SIGUSR2


def test_both_generations_count_in_the_same_memory(restarting: Stage) -> None:
    former_names = restarting.home.slots.in_order()
    with replaced(restarting) as new:
        new.step()
        assert {child.memory for _, child in new.home.filled()} == {new.home.memory}
        for kind, known in new.home.slots.in_order().items():
            assert known[: len(former_names[kind])] == former_names[kind]


def test_a_memory_that_has_too_few_rows_left_is_left_to_the_former_generation(stage: Stage) -> None:
    while stage.home.memory.pool.free > 2:
        stage.home.memory.pool.take()
    stage.signal(RESTART)
    record = record_of(stage)
    # Rows are counted by the children that have them, so more children than there are have the others.
    rows = stage.home.memory.segment.capacities.rows
    extra = [
        msgspec.structs.replace(record.children[1], row=row, channel=os.dup(record.children[1].channel))
        for row in range(4, rows - 2)
    ]
    home, former_ = succession.adopt(msgspec.structs.replace(record, children=[*record.children, *extra]))
    for each in (*record.children, *extra):
        os.close(each.channel)
    assert former_.memory is not None and home.memory is not former_.memory
    home.close()
    former_.memory.close()


def test_a_memory_that_has_just_enough_rows_left_goes_on(stage: Stage) -> None:
    stage.signal(RESTART)
    record = record_of(stage)
    rows = stage.home.memory.segment.capacities.rows
    extra = [msgspec.structs.replace(record.children[1], row=row) for row in range(4, rows - 3)]
    home, former_ = succession.adopt(msgspec.structs.replace(record, children=[*record.children, *extra]))
    for each in record.children:
        os.close(each.channel)
    assert home.memory is former_.memory
    assert home.memory.pool.free == 3
    home.close()


def test_more_names_than_the_memory_has_room_for_begin_a_fresh_one(restarting: Stage) -> None:
    fill_the_memory(restarting)
    edit(restarting.file, "clusters:\n", "clusters:\n  - {name: other, endpoints: [127.0.0.1:1]}\n")
    with replaced(restarting) as new:
        assert new.said("the new generation gets a fresh shared memory: its counts and limits begin anew", "WARNING")
        assert any(line.startswith("WARNING the shared memory ") for line in new.log)
        new.serve()
        old = former(new)
        memory = old[0].post.child
        assert memory is None or memory.memory is not new.home.memory
        for child in old:
            new.end(child)
        assert len({child.memory for _, child in new.home.filled()}) == 1
        assert memory is None or memory.memory is None or memory.memory.bells == ()


def test_going_back_is_to_the_former_memory_too(restarting: Stage) -> None:
    fill_the_memory(restarting)
    edit(restarting.file, "clusters:\n", "clusters:\n  - {name: other, endpoints: [127.0.0.1:1]}\n")
    with replaced(restarting) as new:
        new.step()
        fresh = new.home.memory
        for _ in range(11):
            new.pass_time(1.999)
        assert new.home.memory is not fresh
        assert {child.memory for _, child in new.home.filled() if child.generation == 1} == {new.home.memory}
        assert new.home.slots.in_order() == restarting.home.slots.in_order()


def test_endpoints_that_were_found_are_carried_over(stage: Stage) -> None:
    from shardproxy.control.found import overlaid

    cluster = stage.home.config.clusters[0]
    twice = (cluster.endpoints[0], msgspec.structs.replace(cluster.endpoints[0], weight=7))
    stage.home.config = overlaid(stage.home.config, {"app": twice})
    stage.home.edited = frozenset({"app"})
    stage.signal(RESTART)
    with replaced(stage) as new:
        assert new.home.config.clusters[0].endpoints == twice
        assert new.home.edited == {"app"}


def test_a_configuration_that_this_version_cannot_read_has_no_way_back(restarting: Stage) -> None:
    record = msgspec.structs.replace(record_of(restarting), former_config=b"\xc1")
    new = Stage(restarting.file, restarting.clock, restarting.children)
    new.log = restarting.log
    new.resume(record)
    try:
        text = "this version cannot read the configuration of the former one; there is no way back to it"
        assert new.said(text, "WARNING")
        new.serve()
        assert new.said("restart: generation 2 serves; 2 former workers drain")
    finally:
        new.close()


@pytest.fixture
def foreign(restarting: Stage) -> Iterator[Stage]:
    """The new code, which lays the shared memory out in another way than the former."""
    record = record_of(restarting)
    os.close(record.segment)
    new = Stage(restarting.file, restarting.clock, restarting.children)
    new.log = restarting.log
    new.resume(msgspec.structs.replace(record, segment=os.memfd_create("other")))
    yield new
    new.close()


def test_a_memory_of_another_layout_is_left_to_the_former_generation(foreign: Stage) -> None:
    assert foreign.said("the new generation gets a fresh shared memory: its counts and limits begin anew", "WARNING")
    old = [child for _, child in foreign.home.filled()]
    assert [(child.memory, child.ready) for child in old] == [(None, True)] * 3
    foreign.step()
    assert len(foreign.living()) == 6
    foreign.all_get_ready()
    assert all(child.told(Drain) for child in former(foreign))
    assert foreign.said("restart: generation 2 serves; 2 former workers drain")
    for child in former(foreign):
        foreign.end(child)
    assert len(foreign.living()) == 3


def test_the_wakeup_descriptors_of_that_memory_are_closed(restarting: Stage) -> None:
    record = record_of(restarting)
    os.close(record.segment)
    home, left = succession.adopt(msgspec.structs.replace(record, segment=os.memfd_create("other")))
    for bell in record.bells:
        with pytest.raises(OSError):
            os.fstat(bell)
    assert (left.memory, left.workers, left.version) == (None, 2, 1)
    assert left.config == restarting.home.config
    for each in record.children:
        os.close(each.channel)
    home.close()


def test_without_a_memory_to_go_back_to_the_former_generation_serves_on(foreign: Stage) -> None:
    foreign.step()
    fresh = foreign.home.memory
    for _ in range(11):
        foreign.pass_time(1.999)
    assert foreign.said(SERVES_ON + "the new workers were not ready in time", "ERROR")
    assert foreign.home.memory is fresh
    assert names(foreign.workers()) == ["worker 0", "worker 1"]
    assert not any(child.told(Drain) or child.told(Stop) for child in foreign.children[:3])

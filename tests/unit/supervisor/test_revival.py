"""The shared memory that systemd has kept: used when it can be, and always given back when it cannot."""

from __future__ import annotations

import logging
import os
from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest

from shardproxy.config.load import load
from shardproxy.config.schema import Config
from shardproxy.control.plan import Plan
from shardproxy.shm import names
from shardproxy.shm.gauges import Gauges
from shardproxy.shm.metrics import Metrics
from shardproxy.shm.rows import Kind, Rows, State
from shardproxy.shm.segment import Segment
from shardproxy.shm.slots import Slots
from shardproxy.supervisor import catalog
from shardproxy.supervisor.memory import SUPERVISOR_ROW
from shardproxy.supervisor.revival import PLAN, SEGMENT, revive
from tests.unit.supervisor.scripts import Lines
from tests.unit.supervisor.stage import write

COUNTED = 2


@pytest.fixture
def config(tmp_path: Path) -> Config:
    write(tmp_path / "proxy.yaml", 2, {})
    return load(tmp_path / "proxy.yaml")


@pytest.fixture
def log() -> Iterator[list[str]]:
    lines, logger = Lines(), logging.getLogger("shardproxy.supervisor.revival")
    logger.addHandler(lines)
    logger.setLevel(logging.INFO)
    yield lines.lines
    logger.removeHandler(lines)
    logger.setLevel(logging.NOTSET)


def kept(config: Config, **changes: int) -> dict[str, int]:
    """What a former process has left, whose worker in row 2 has served one request and holds one connection."""
    capacities = msgspec.structs.replace(catalog.capacities(config, 2), **changes)
    segment, slots = Segment.create(capacities), Slots(capacities)
    catalog.assign(config, slots)
    rows = Rows(segment)
    rows.claim(SUPERVISOR_ROW, 4711, 1, Kind.SUPERVISOR)
    rows.claim(COUNTED, 4712, 1, Kind.WORKER)
    segment.rows_used = COUNTED + 1
    Metrics(segment, COUNTED).count(slots.counter(names.REQUESTS), 5)
    Gauges(segment, COUNTED).add(slots.gauge(names.listener_connections("web")), 1)
    fds = {SEGMENT: os.dup(segment.fd), PLAN: Plan(1, config, slots).write()}
    segment.close()
    return fds


def is_open(fd: int) -> bool:
    try:
        os.fstat(fd)
    except OSError:
        return False
    return True


def test_counts_go_on_and_what_the_dead_held_is_given_back(config: Config, log: list[str]) -> None:
    fds = kept(config)
    found = revive(fds, config)
    assert found is not None
    memory, slots = found
    assert memory.metrics.counter_total(slots.counter(names.REQUESTS)) == 5
    assert Gauges(memory.segment, 0).total(slots.gauge(names.listener_connections("web"))) == 0
    used = range(memory.segment.capacities.rows)
    assert [memory.rows.state(row) for row in used] == [State.GONE] * len(used)
    assert memory.pool.take() == 1
    assert not is_open(fds[PLAN])
    assert log == ["INFO the shared memory that systemd has kept goes on"]
    memory.close()
    assert not is_open(fds[SEGMENT])


def test_other_names_than_before_get_slots_in_it(config: Config, tmp_path: Path) -> None:
    text = (tmp_path / "proxy.yaml").read_text()
    (tmp_path / "proxy.yaml").write_text(text.replace("name: web", "name: other"))
    found = revive(kept(config), load(tmp_path / "proxy.yaml"))
    assert found is not None
    memory, slots = found
    names_ = slots.in_order()
    assert any(names.listener_connections("other") in each for each in names_.values())
    memory.close()


@pytest.mark.parametrize("missing", [SEGMENT, PLAN])
def test_one_without_the_other_is_of_no_use_and_is_closed(missing: str, config: Config) -> None:
    fds = kept(config)
    os.close(fds.pop(missing))
    assert revive(fds, config) is None
    assert not any(is_open(fd) for fd in fds.values())


def test_nothing_kept_is_nothing(config: Config) -> None:
    assert revive({}, config) is None


def test_a_memory_that_is_none_is_not_used(config: Config, log: list[str]) -> None:
    fds = kept(config)
    os.close(fds[SEGMENT])
    fds[SEGMENT] = os.memfd_create("nothing")
    assert revive(fds, config) is None
    assert log[0].startswith("WARNING the shared memory that systemd has kept is not used: ")
    assert not any(is_open(fd) for fd in fds.values())


def test_a_plan_that_cannot_be_read_is_not_used(config: Config, log: list[str]) -> None:
    fds = kept(config)
    os.close(fds[PLAN])
    fds[PLAN] = os.memfd_create("nothing")
    assert revive(fds, config) is None
    assert log[0].startswith("WARNING the shared memory that systemd has kept is not used: ")
    assert not any(is_open(fd) for fd in fds.values())


@pytest.mark.parametrize(("workers", "is_used"), [(6, True), (7, False)])
def test_it_must_have_rows_enough_for_two_generations(
    workers: int, is_used: bool, config: Config, log: list[str]
) -> None:
    fds = kept(config, rows=16)
    found = revive(fds, msgspec.structs.replace(config, workers=workers))
    if is_used:
        assert found is not None
        found[0].close()
    else:
        text = "it has 16 rows, too few for the workers"
        assert log == [f"WARNING the shared memory that systemd has kept is not used: {text}"]
    assert not any(is_open(fd) for fd in fds.values())


def test_one_with_too_few_slots_is_not_used(config: Config, tmp_path: Path, log: list[str]) -> None:
    many = "".join(f"  - {{name: c{number}, endpoints: [127.0.0.1:1]}}\n" for number in range(20))
    (tmp_path / "proxy.yaml").write_text((tmp_path / "proxy.yaml").read_text() + many)
    larger = load(tmp_path / "proxy.yaml")
    fds = kept(config, decisions=4)
    assert revive(fds, larger) is None
    assert len(log) == 1

"""A small configuration whose names all have slots in a segment, as a supervisor leaves it before it forks."""

from __future__ import annotations

import os
import socket
import time
from collections.abc import Iterator

import pytest

from shardproxy.config.schema import Admin, Cluster, Config, Endpoint, Listener, Match, RateLimit, Route
from shardproxy.config.units import Address
from shardproxy.control.messages import Ready
from shardproxy.shm.layout import Capacities
from shardproxy.shm.rows import Kind, Rows, State
from shardproxy.shm.segment import Segment
from shardproxy.shm.slots import Slots
from shardproxy.supervisor.catalog import assign
from tests.unit.controller.supervising import Running

CAPACITIES = Capacities(rows=16, gauges=100, counters=200, histograms=10, buckets=10)


@pytest.fixture
def config() -> Config:
    routes = (Route(match=Match(prefix="/"), cluster="app", rate_limits=("few",)),)
    endpoints = (Endpoint(address=Address("127.0.0.1", 9001)), Endpoint(address=Address("127.0.0.1", 9002), weight=3))
    return Config(
        listeners=(Listener(bind=Address("127.0.0.1", 8080), name="web", routes=routes),),
        clusters=(Cluster(name="app", endpoints=endpoints),),
        rate_limits=(RateLimit(name="few", rate=5.0, burst=7),),
        workers=2,
        admin=Admin(bind=Address("127.0.0.1", 9901)),
    )


@pytest.fixture
def segment() -> Iterator[Segment]:
    """Row 0 is a supervisor's; the others are free."""
    made = Segment.create(CAPACITIES)
    made.rows_used = 8
    sit_down(made, 0, Kind.SUPERVISOR, State.READY, os.getpid())
    yield made
    made.close()


@pytest.fixture
def slots(config: Config) -> Slots:
    assigned = Slots(CAPACITIES)
    assign(config, assigned)
    assigned.seal()
    return assigned


def sit_down(segment: Segment, row: int, kind: Kind, state: State, pid: int) -> None:
    """Let a process have `row`; it has just beaten."""
    rows = Rows(segment)
    rows.claim(row, pid, 1, kind)
    rows.set_state(row, state)
    rows.beat(row, time.monotonic_ns())


@pytest.fixture
def running(segment: Segment, slots: Slots, config: Config) -> Iterator[Running]:
    controller = Running(segment, slots, config, socket.create_server(("127.0.0.1", 0)))
    assert controller.hear() == Ready()
    yield controller
    controller.close()

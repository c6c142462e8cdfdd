"""The checks as they run: what they write to the shared memory, what a reload changes, what a successor finds."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

import msgspec
import pytest

from shardproxy.config.schema import Cluster, Config, Endpoint, HealthCheck
from shardproxy.config.units import parse_address
from shardproxy.controller.failures import Failures
from shardproxy.controller.health import Health
from shardproxy.controller.reasons import Reason, Why
from shardproxy.shm import names
from shardproxy.shm.decisions import CHECKED, FAILED_CHECK, Decisions
from shardproxy.shm.segment import Segment
from shardproxy.shm.slots import Slots
from shardproxy.supervisor.catalog import assign
from tests.patient import Patient, patient

MS = 10**6
CHECK = HealthCheck(path="/healthz", interval=10 * MS, timeout=500 * MS, unhealthy=2, healthy=2)


class Ward:
    """A controller's health checks of some patients, and the cells that they write."""

    def __init__(self, segment: Segment, config: Config, *addresses: str, check: HealthCheck | None = CHECK) -> None:
        self.config = self.with_endpoints(config, *addresses, check=check)
        self.slots = Slots(segment.capacities)
        assign(self.config, self.slots)
        self.cells = Decisions(segment)
        self.health = Health(segment, Failures())

    @staticmethod
    def with_endpoints(config: Config, *addresses: str, check: HealthCheck | None = CHECK) -> Config:
        endpoints = tuple(Endpoint(address=parse_address(address)) for address in addresses)
        return msgspec.structs.replace(config, clusters=(Cluster(name="app", endpoints=endpoints, health_check=check),))

    def follow(self, config: Config | None = None) -> None:
        self.health.follow(config or self.config, self.slots)

    def slot(self, address: str) -> int:
        return self.slots.decision(names.endpoint_decision("app", address))

    def flags(self, address: str) -> int:
        return self.cells.flags(self.slot(address))


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(10):
        while not condition():
            await asyncio.sleep(0.002)


def run(story: Callable[[], Awaitable[None]]) -> None:
    async def limited() -> None:
        async with asyncio.timeout(20):
            await story()

    asyncio.run(limited())


async def more_checks(one: Patient, count: int) -> None:
    seen = len(one.heads)
    await until(lambda: len(one.heads) >= seen + count)


def test_an_endpoint_that_falls_ill_is_out_and_back_once_it_is_well(
    segment: Segment, config: Config, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO")
    with patient() as one:
        ward = Ward(segment, config, one.address)

        async def story() -> None:
            ward.follow()
            await until(lambda: ward.flags(one.address) == CHECKED)
            one.status = 503
            await until(lambda: ward.flags(one.address) == CHECKED | FAILED_CHECK)
            assert Reason.decode(ward.cells.reason(ward.slot(one.address))) == Reason(Why.STATUS, 503)
            await more_checks(one, 3)
            one.status = 200
            await until(lambda: ward.flags(one.address) == CHECKED)
            ward.health.stop()

        run(story)
    lines = [record.getMessage() for record in caplog.records if record.name == "shardproxy.controller.health"]
    assert lines[0] == f"cluster app, endpoint {one.address} is unhealthy: answered 503"
    assert lines[1].startswith(f"cluster app, endpoint {one.address} is healthy again after ")
    assert len(lines) == 2


def test_a_successor_goes_on_from_what_is_decided(segment: Segment, config: Config) -> None:
    with patient() as ill, patient() as well:
        ward = Ward(segment, config, ill.address, well.address)
        ward.cells.decide(ward.slot(ill.address), FAILED_CHECK | CHECKED, 0, 1)
        ward.cells.decide(ward.slot(well.address), CHECKED, 0, 1)
        well.status = 500

        async def story() -> None:
            ward.follow()
            await until(lambda: bool(ill.heads) and bool(well.heads))
            assert ward.cells.is_out(ward.slot(ill.address))
            assert not ward.cells.is_out(ward.slot(well.address))
            await until(lambda: not ward.cells.is_out(ward.slot(ill.address)))
            await until(lambda: ward.cells.is_out(ward.slot(well.address)))
            ward.health.stop()

        run(story)
        assert len(ill.heads) >= 2
        assert len(well.heads) >= 2


def test_what_it_has_stopped_to_look_after_stands(segment: Segment, config: Config) -> None:
    with patient() as one:
        ward = Ward(segment, config, one.address)
        one.status = 500

        async def story() -> None:
            ward.follow()
            await until(lambda: bool(ward.flags(one.address)))
            ward.health.stop()
            one.status = 200
            seen = len(one.heads)
            await asyncio.sleep(0.1)
            assert len(one.heads) <= seen + 1

        run(story)
        assert ward.flags(one.address) == FAILED_CHECK | CHECKED


def test_a_reload_keeps_what_it_does_not_touch_and_clears_what_it_removes(segment: Segment, config: Config) -> None:
    with patient() as stays, patient() as goes:
        stays.status = goes.status = 500
        ward = Ward(segment, config, stays.address, goes.address)

        async def story() -> None:
            ward.follow()
            await until(lambda: bool(ward.flags(stays.address) and ward.flags(goes.address)))
            since = ward.cells.since_ns(ward.slot(stays.address))
            ward.follow(ward.with_endpoints(config, stays.address))
            assert (ward.flags(stays.address), ward.flags(goes.address)) == (FAILED_CHECK | CHECKED, 0)
            seen = len(goes.heads)
            await more_checks(stays, 3)
            assert len(goes.heads) <= seen + 1
            assert ward.cells.since_ns(ward.slot(stays.address)) == since
            ward.follow(ward.with_endpoints(config, stays.address, check=None))
            assert ward.flags(stays.address) == 0
            ward.health.stop()

        run(story)


def test_another_way_of_checking_begins_from_what_is_known(segment: Segment, config: Config) -> None:
    with patient() as one:
        one.status = 500
        ward = Ward(segment, config, one.address)

        async def story() -> None:
            ward.follow()
            await until(lambda: bool(ward.flags(one.address)))
            easier = msgspec.structs.replace(CHECK, expected=("500",), healthy=3)
            ward.follow(ward.with_endpoints(config, one.address, check=easier))
            assert ward.flags(one.address) == FAILED_CHECK | CHECKED
            await until(lambda: ward.flags(one.address) == CHECKED)
            ward.health.stop()

        run(story)


def test_a_decision_that_somebody_else_has_overwritten_is_made_again(segment: Segment, config: Config) -> None:
    with patient() as one:
        ward = Ward(segment, config, one.address)

        async def story() -> None:
            ward.follow()
            await until(lambda: ward.flags(one.address) == CHECKED)
            ward.cells.decide(ward.slot(one.address), FAILED_CHECK | CHECKED, 0, 1)
            await until(lambda: ward.flags(one.address) == CHECKED)
            ward.health.stop()

        run(story)


def test_a_fault_of_ours_says_nothing_of_the_endpoint(
    segment: Segment, config: Config, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    class Broken:
        async def ask(self) -> Reason:
            raise RuntimeError("a fault of the probe itself")

    monkeypatch.setattr("shardproxy.controller.health.probe_of", lambda *_: Broken())
    ward = Ward(segment, config, "127.0.0.1:9")

    async def story() -> None:
        ward.follow()
        await until(lambda: caplog.text.count("health check of cluster app, endpoint 127.0.0.1:9 failed") >= 1)
        ward.health.stop()

    run(story)
    assert ward.flags("127.0.0.1:9") == 0

"""The checks as they run: what they write to the shared memory, what a reload changes, what a successor finds."""

from __future__ import annotations

import asyncio
import errno
import socket
import time
from collections.abc import Awaitable, Callable

import msgspec
import pytest

from shardproxy.config.schema import Cluster, Config, Endpoint, HealthCheck
from shardproxy.config.units import parse_address
from shardproxy.controller.failures import Failures
from shardproxy.controller.health import MOST_AT_A_TIME, Checker, Health, subjects
from shardproxy.controller.probes import GOOD
from shardproxy.controller.reasons import Reason, Why
from shardproxy.shm import names
from shardproxy.shm.decisions import CHECKED, FAILED_CHECK, Decisions
from shardproxy.shm.segment import Segment
from shardproxy.shm.slots import Slots
from shardproxy.supervisor.catalog import assign
from tests.patient import Patient, patient
from tests.unit.controller.counting import tasks
from tests.unit.controller.shortage import no_descriptors_left

MS = 10**6
CHECK = HealthCheck(path="/healthz", interval=10 * MS, timeout=500 * MS, unhealthy=2, healthy=2)


class Ward:
    """A controller's health checks of some patients, and the cells that they write."""

    def __init__(self, segment: Segment, config: Config, *addresses: str, check: HealthCheck | None = CHECK) -> None:
        self.config = self.with_endpoints(config, *addresses, check=check)
        self.slots = Slots(segment.capacities)
        assign(self.config, self.slots)
        self.cells = Decisions(segment)
        self.failed: list[None] = []
        self.health = Health(segment, Failures(lambda: self.failed.append(None)))

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
            if checks := tasks():  # whose sockets are closed only when they have ended
                await asyncio.wait(checks)

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


class Scripted:
    """A probe that says what it is told to say, one thing after the other, and the last one for ever."""

    def __init__(self, *outcomes: Reason | Exception) -> None:
        self.outcomes = list(outcomes)
        self.asked = 0

    async def ask(self) -> Reason:
        self.asked += 1
        outcome = self.outcomes[min(self.asked, len(self.outcomes)) - 1]
        if isinstance(outcome, Exception):
            raise outcome
        return outcome


BAD = Reason(Why.TIMEOUT)


@pytest.mark.parametrize("error", [RuntimeError("a fault of the probe itself"), OSError(errno.EMFILE, "x")])
def test_a_fault_or_a_shortage_of_ours_says_nothing_of_the_endpoint_and_the_next_check_is_made(
    error: Exception,
    segment: Segment,
    config: Config,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    probe = Scripted(error, error, GOOD, error, error, error, BAD, error, BAD)
    monkeypatch.setattr("shardproxy.controller.health.probe_of", lambda *_: probe)
    ward = Ward(segment, config, "127.0.0.1:9")

    async def story() -> None:
        ward.follow()
        await until(lambda: probe.asked > 2)
        await until(lambda: ward.flags("127.0.0.1:9") == CHECKED)
        await until(lambda: probe.asked > 6)
        assert ward.flags("127.0.0.1:9") == CHECKED
        await until(lambda: ward.flags("127.0.0.1:9") == CHECKED | FAILED_CHECK)
        ward.health.stop()

    run(story)
    assert len(ward.failed) == 6
    assert "the health check of cluster app, endpoint 127.0.0.1:9 failed" in caplog.text
    assert "it is tried again in 0.01 s" in caplog.text


def was_connected_to(listening: socket.socket) -> bool:
    try:
        listening.accept()[0].close()
    except BlockingIOError:
        return False
    return True


def test_no_endpoint_is_out_because_this_process_has_no_descriptors_left(segment: Segment, config: Config) -> None:
    check = msgspec.structs.replace(CHECK, type="tcp", path="/")
    with socket.create_server(("127.0.0.1", 0)) as listening:
        listening.setblocking(False)
        address = f"127.0.0.1:{listening.getsockname()[1]}"
        ward = Ward(segment, config, address, check=check)

        async def story() -> None:
            ward.follow()
            await until(lambda: ward.flags(address) == CHECKED)
            with no_descriptors_left():
                await until(lambda: len(ward.failed) > 5)
                assert ward.flags(address) == CHECKED
            while was_connected_to(listening):
                pass
            await until(lambda: was_connected_to(listening))
            assert ward.flags(address) == CHECKED
            ward.health.stop()

        run(story)


def paused(segment: Segment, config: Config, check: HealthCheck, *outcomes: Reason) -> list[float]:
    """What the checker of one endpoint wants to wait after each of its checks, in seconds."""
    ward = Ward(segment, config, "127.0.0.1:9", check=check)

    async def story() -> list[float]:
        checker = Checker(subjects(ward.config, ward.slots)[0], ward.cells, asyncio.Semaphore(1))
        checker._probe = Scripted(*outcomes)
        return [await checker.turn() for _ in outcomes]

    return asyncio.run(story())


HOUR = 3600 * 10**9


def test_checks_come_one_interval_apart_and_sooner_where_that_is_said_of_ill_ones(
    segment: Segment, config: Config
) -> None:
    check = HealthCheck(path="/", interval=HOUR, timeout=MS, unhealthy_interval=HOUR // 10, jitter=0, unhealthy=1)
    pauses = paused(segment, config, check, GOOD, BAD, BAD)
    assert pauses == [pytest.approx(3600, abs=60), pytest.approx(360, abs=60), pytest.approx(360, abs=60)]
    same = paused(segment, config, msgspec.structs.replace(check, unhealthy_interval=None), BAD)
    assert same == [pytest.approx(3600, abs=60)]


def test_checks_are_spread_by_chance_by_no_more_than_the_jitter(segment: Segment, config: Config) -> None:
    check = HealthCheck(path="/", interval=HOUR, timeout=MS, jitter=50)
    pauses = paused(segment, config, check, *[GOOD] * 100)
    assert 1800 - 60 <= min(pauses) < 2700
    assert 4500 < max(pauses) <= 5400


def test_a_check_that_took_longer_than_the_interval_is_followed_by_the_next_at_once(
    segment: Segment, config: Config
) -> None:
    assert paused(segment, config, HealthCheck(path="/", interval=1, timeout=MS), GOOD) == [0.0]


def test_no_more_than_256_checks_run_at_a_time(
    segment: Segment, config: Config, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = 0

    class Slow:
        async def ask(self) -> Reason:
            nonlocal asked
            asked += 1
            await asyncio.sleep(3600)
            return GOOD

    monkeypatch.setattr("shardproxy.controller.health.probe_of", lambda *_: Slow())
    monkeypatch.setattr("shardproxy.controller.health.MOST_AT_A_TIME", 3)
    assert MOST_AT_A_TIME == 256
    ward = Ward(segment, config, *(f"127.0.0.1:{port}" for port in range(1, 6)))

    async def story() -> None:
        ward.follow()
        await until(lambda: asked == 3)
        await asyncio.sleep(0.01)
        assert asked == 3
        ward.health.stop()

    run(story)


def test_the_line_says_how_long_an_endpoint_was_unhealthy(
    segment: Segment, config: Config, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO")
    check = HealthCheck(path="/", interval=HOUR, timeout=MS, healthy=1)
    ward = Ward(segment, config, "127.0.0.1:9", check=check)
    ward.cells.decide(ward.slot("127.0.0.1:9"), FAILED_CHECK | CHECKED, 0, time.monotonic_ns() - 7 * 10**9)

    async def story() -> None:
        checker = Checker(subjects(ward.config, ward.slots)[0], ward.cells, asyncio.Semaphore(1))
        checker._probe = Scripted(GOOD)
        await checker.turn()

    asyncio.run(story())
    assert [record.getMessage() for record in caplog.records] == [
        "cluster app, endpoint 127.0.0.1:9 is healthy again after 7.0 s"
    ]
    assert ward.cells.since_ns(ward.slot("127.0.0.1:9")) == pytest.approx(time.monotonic_ns(), abs=5 * 10**9)

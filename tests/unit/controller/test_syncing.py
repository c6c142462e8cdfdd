"""Leases of one limit, trip by trip: a store and a clock of the test's own, and workers who take from the words."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterator

import pytest
from msgspec.structs import replace

pytest.importorskip("redis")

from shardproxy.config.stores import parse_store
from shardproxy.controller.failures import Failures
from shardproxy.controller.redis_store import Grant, StoreLost
from shardproxy.controller.sync import (
    AGAIN_S,
    HOLDS_NS,
    IDLE_NS,
    JITTER,
    READER,
    TRIP_EVERY_S,
    SharedLimits,
    Syncing,
    subject_of,
)
from shardproxy.shm import names
from shardproxy.shm.buckets import Bucket, Buckets
from shardproxy.shm.metrics import Metrics
from tests.unit.controller.counting import Site, site, tasks, until
from tests.unit.controller.scripted_store import scripted_store

MS = 10**6
BURST = 64
TEXT = """
listeners: [{bind: 127.0.0.1:80, routes: [{match: {prefix: /}, cluster: app, rate_limits: [all]}]}]
clusters: [{name: app, endpoints: [127.0.0.1:1]}]
rate_limits:
  - {name: own, rate: 9/s}
  - {name: all, rate: 100/s, burst: 64, store: "redis://10.0.0.9:6379", store_password_file: /secret}
"""


@pytest.fixture
def app() -> Iterator[Site]:
    with site(TEXT) as made:
        yield made


class Store:
    """Grants what it is told to, or is lost; `trips` are what it was asked."""

    def __init__(self) -> None:
        self.grant: Grant | Exception = Grant(10, 50, 2)
        self.opened = 0
        self.closed = 0
        self.is_there = True
        self.trips: list[tuple[str, int, int, float, int]] = []
        self.meanwhile: Callable[[], object] = lambda: None

    async def open(self) -> None:
        if not self.is_there:
            raise StoreLost("it is gone")
        self.opened += 1

    async def lease(self, limit: str, held: int, wanted: int, rate: float, burst: int) -> Grant:
        self.trips.append((limit, held, wanted, rate, burst))
        self.meanwhile()
        if isinstance(self.grant, Exception):
            raise self.grant
        return self.grant

    async def close(self) -> None:
        self.closed += 1


class Machine:
    """One limit's words, its bucket, and the trips of its controller; `ns` is the time."""

    def __init__(self, app: Site, on_failure: str = "local") -> None:
        self.app, self.store, self.ns = app, Store(), 10**12
        limit = app.config.rate_limits[1]
        assert limit.store is not None
        self.subject = subject_of(replace(limit, on_store_failure=on_failure), limit.store, app.slots)
        self.bucket = Bucket(Buckets(app.segment), self.subject.bucket, 100.0, BURST)
        metrics = Metrics(app.segment, READER)
        self.syncing = Syncing(self.subject, self.store, app.words, metrics, self.bucket, clock=lambda: self.ns)

    @property
    def leased(self) -> int:
        return self.app.words.load(self.subject.lease)

    @property
    def until_ns(self) -> int:
        return self.app.words.load(self.subject.until)

    def asked(self, tokens: int) -> None:
        self.app.worker.count(names.rate_limit_asked("all"), tokens)

    async def turn(self, after_ms: float = 25) -> float:
        self.ns += int(after_ms * MS)
        return await self.syncing.turn()


def run(story: Callable[[], Awaitable[None]]) -> None:
    async def limited() -> None:
        async with asyncio.timeout(20):
            await story()

    asyncio.run(limited())


def test_the_first_trip_opens_the_store_and_leases_for_half_a_second(app: Site) -> None:
    async def story() -> None:
        machine = Machine(app)
        pause_s = await machine.turn()
        assert (1 - JITTER) * TRIP_EVERY_S <= pause_s <= (1 + JITTER) * TRIP_EVERY_S
        assert machine.store.opened == 1
        assert machine.store.trips == [("all", 0, 0, 100.0, BURST)]
        assert machine.leased == 10
        assert machine.until_ns == machine.ns + HOLDS_NS
        assert app.words.load(machine.subject.machines) == 2
        assert machine.store.closed == 0

    run(story)


def test_pauses_differ_so_that_machines_do_not_come_in_step(app: Site) -> None:
    async def story() -> None:
        machine = Machine(app)
        pauses = [await machine.turn() for _ in range(50)]
        assert max(pauses) > TRIP_EVERY_S > min(pauses)
        assert min(pauses) >= (1 - JITTER) * TRIP_EVERY_S
        assert max(pauses) <= (1 + JITTER) * TRIP_EVERY_S

    run(story)


def test_while_nobody_asks_there_are_ten_trips_a_second_and_one_at_once_for_who_asks(app: Site) -> None:
    async def story() -> None:
        machine = Machine(app)
        await machine.turn()
        await machine.turn(IDLE_NS / MS - 1)
        assert len(machine.store.trips) == 1
        await machine.turn(1)
        assert len(machine.store.trips) == 2
        machine.asked(1)
        await machine.turn(1)
        assert len(machine.store.trips) == 3
        await machine.turn(1)
        assert len(machine.store.trips) == 3
        assert machine.store.opened == 1

    run(story)


def test_what_was_asked_for_before_this_controller_came_is_no_demand(app: Site) -> None:
    app.worker.count(names.rate_limit_asked("all"), 5000)

    async def story() -> None:
        machine = Machine(app)
        await machine.turn()
        assert machine.store.trips[0][2] == 0

    run(story)


def test_it_wants_twice_what_was_asked_for_and_pays_debts_on_top(app: Site) -> None:
    async def story() -> None:
        machine = Machine(app)
        await machine.turn()
        machine.asked(7)
        await machine.turn()
        assert machine.store.trips[-1][1:3] == (10, 14)
        app.words.store(machine.subject.lease, -5)
        machine.asked(8)
        await machine.turn()
        assert machine.store.trips[-1][1:3] == (-5, 26)
        machine.asked(1000)
        await machine.turn()
        assert machine.store.trips[-1][2] == BURST

    run(story)


def test_tokens_that_workers_take_during_the_trip_stay_taken(app: Site) -> None:
    async def story() -> None:
        machine = Machine(app)
        machine.store.meanwhile = lambda: app.words.add(machine.subject.lease, -3)
        await machine.turn()
        assert machine.leased == 10 - 3
        machine.asked(20)
        await machine.turn()
        assert machine.leased == 10 - 3

    run(story)


def test_what_is_given_back_is_out_of_the_workers_reach_before_the_store_has_it(app: Site) -> None:
    async def story() -> None:
        machine = Machine(app)
        seen: list[int] = []
        machine.store.meanwhile = lambda: seen.append(machine.leased)
        app.words.store(machine.subject.lease, 40)
        await machine.turn()
        app.words.store(machine.subject.lease, 40)
        await machine.turn(100)
        app.words.store(machine.subject.lease, 40)
        machine.asked(8)
        await machine.turn(100)
        assert [trip[1] for trip in machine.store.trips] == [40, 40, 40]
        assert seen == [4, 2, 16]  # a sixteenth of the burst for each machine; what is wanted

    run(story)


def test_one_token_is_kept_however_small_the_burst_or_many_the_machines(app: Site) -> None:
    async def story() -> None:
        machine = Machine(app)
        app.words.store(machine.subject.machines, 1000)
        app.words.store(machine.subject.lease, 40)
        seen: list[int] = []
        machine.store.meanwhile = lambda: seen.append(machine.leased)
        await machine.turn()
        assert seen == [1]

    run(story)


def tokens(machine: Machine) -> int:
    return round(machine.bucket.tokens(machine.ns))


def test_the_own_bucket_shows_what_is_left_for_all(app: Site) -> None:
    async def story() -> None:
        machine = Machine(app)
        for left in (50, 20, 60, 64, 0):
            machine.store.grant = Grant(10, left, 1)
            machine.asked(1)
            await machine.turn(0)
            assert tokens(machine) == left

    run(story)


def test_a_store_that_comes_back_in_time_is_not_spoken_of(app: Site, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO")

    async def story() -> None:
        machine = Machine(app)
        await machine.turn()
        caplog.clear()
        machine.store.grant = StoreLost("no answer")
        assert await machine.turn(100) == AGAIN_S
        machine.store.grant = Grant(10, 50, 2)
        await machine.turn(100)
        assert machine.store.opened == 2
        assert not caplog.records

    run(story)


@pytest.mark.parametrize("on_failure", ["local", "open", "closed"])
def test_a_store_that_is_lost_is_spoken_of_once_and_again_when_it_is_back(
    on_failure: str, app: Site, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO")

    async def story() -> None:
        machine = Machine(app, on_failure)
        await machine.turn()
        await machine.turn(IDLE_NS / MS)
        machine.store.is_there, machine.store.grant = False, StoreLost("no answer")
        for _ in range(20):
            await machine.turn(100)
        machine.store.is_there, machine.store.grant = True, Grant(10, 50, 2)
        await machine.turn(100)
        await machine.turn(100)

    run(story)
    shared = "the rate limit all is shared by redis://10.0.0.9:6379"
    lost = f"the rate limit all is {on_failure} now, since redis://10.0.0.9:6379 does not answer: it is gone"
    assert [(record.levelname, record.getMessage()) for record in caplog.records] == [
        ("INFO", shared),
        ("WARNING", lost),
        ("INFO", shared),
    ]


def test_a_store_that_was_never_there_is_spoken_of_at_once(app: Site, caplog: pytest.LogCaptureFixture) -> None:
    async def story() -> None:
        machine = Machine(app)
        machine.store.is_there = False
        assert await machine.turn() == AGAIN_S
        assert await machine.turn() == AGAIN_S

    run(story)
    assert len(caplog.records) == 1


@pytest.mark.parametrize(("on_failure", "owed"), [("local", 30), ("open", 0), ("closed", 0)])
def test_what_was_taken_from_the_own_bucket_meanwhile_is_paid_to_all(on_failure: str, owed: int, app: Site) -> None:
    async def story() -> None:
        machine = Machine(app, on_failure)
        machine.store.grant = Grant(0, BURST, 1)
        await machine.turn()
        machine.store.is_there, machine.store.grant = False, StoreLost("no answer")
        await machine.turn(100)
        await machine.turn(HOLDS_NS / MS)
        assert machine.bucket.take(machine.ns, 30) == 0
        machine.store.is_there, machine.store.grant = True, Grant(0, BURST, 1)
        await machine.turn(0)
        assert machine.store.trips[-1][1] == -owed
        machine.bucket.take(machine.ns, 20)
        machine.asked(1)
        await machine.turn(0)
        assert machine.store.trips[-1][1] == 0  # what the bucket shows is the store's again

    run(story)


def test_before_the_store_is_missed_nothing_is_owed(app: Site) -> None:
    async def story() -> None:
        machine = Machine(app)
        machine.bucket.take(machine.ns, 30)
        await machine.turn()
        assert machine.store.trips[0][1] == 0

    run(story)


def test_a_fault_of_ours_is_counted_and_the_limit_comes_back(app: Site, caplog: pytest.LogCaptureFixture) -> None:
    async def story() -> None:
        machine = Machine(app)
        failed: list[None] = []
        machine.store.grant = RuntimeError("it is broken")
        task = asyncio.create_task(machine.syncing.run(Failures(lambda: failed.append(None))))
        await until(lambda: failed)
        machine.store.grant = Grant(10, 50, 2)
        await until(lambda: machine.leased == 10)
        assert machine.store.opened >= 2
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        assert machine.store.closed == 1

    run(story)
    assert "the sharing of rate limit all failed; it is tried again in 0.1 s" in caplog.text


def test_only_limits_with_a_store_are_shared_and_each_once(app: Site) -> None:
    async def story() -> None:
        async with scripted_store() as server:
            limit = replace(app.config.rate_limits[1], store=parse_store(server.url), store_password_file=None)
            config = replace(app.config, rate_limits=(app.config.rate_limits[0], limit))
            others = tasks()
            shared = SharedLimits(app.segment, Failures())
            shared.follow(config, app.slots)
            first = tasks() - others
            assert len(first) == 1
            await until(lambda: app.word(names.rate_limit_leased_until("all")))
            assert app.word(names.rate_limit_lease("all")) == 5
            shared.follow(config, app.slots)
            shared.follow(replace(config, rate_limits=(replace(limit, burst=65), limit)), app.slots)
            machines = {command[6] for command in server.named("EVALSHA")}
            assert len(machines) == 1
            assert all(len(name) == 16 for name in machines)
            assert first <= tasks()
            shared.stop()
            await until(lambda: not server.connections)
            assert not first & tasks()

    run(story)


def test_a_limit_that_is_not_written_any_more_is_leased_no_more(app: Site) -> None:
    async def story() -> None:
        async with scripted_store() as server:
            limit = replace(app.config.rate_limits[1], store=parse_store(server.url), store_password_file=None)
            config = replace(app.config, rate_limits=(limit,))
            shared = SharedLimits(app.segment, Failures())
            shared.follow(config, app.slots)
            await until(lambda: server.named("EVALSHA"))
            shared.follow(replace(config, rate_limits=()), app.slots)
            await until(lambda: not server.connections)
            shared.stop()

    run(story)

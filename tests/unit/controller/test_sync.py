"""Machines that share a limit, each a segment with its own leases, over a real redis-server.

What workers do is done here to the words; what comes of it is what the store and the controllers make of it.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path
from typing import Literal

import msgspec
import pytest

from shardproxy.config.schema import Admin, Cluster, Config, Endpoint, Listener, Match, RateLimit, Route
from shardproxy.config.stores import parse_store
from shardproxy.config.units import Address
from shardproxy.limits import rates
from shardproxy.limits.leases import Lease
from shardproxy.shm import names
from shardproxy.shm.buckets import Bucket, Buckets
from shardproxy.shm.layout import Capacities
from shardproxy.shm.metrics import Metrics
from shardproxy.shm.segment import Segment
from shardproxy.shm.slots import Slots
from shardproxy.shm.words import Words
from shardproxy.supervisor.catalog import assign
from tests.redis_server import RedisServer, needs_redis, redis_server

if needs_redis.args[0]:
    pytest.skip(needs_redis.kwargs["reason"], allow_module_level=True)

from shardproxy.controller.failures import Failures
from shardproxy.controller.redis_store import RedisStore, StoreLost
from shardproxy.controller.sync import SharedLimits, subject_of

pytestmark = needs_redis
CAPACITIES = Capacities(rows=16, gauges=100, counters=200, histograms=10, buckets=10, words=100)
RATE, BURST = 1000.0, 400
WORKER = 3  # a row


@pytest.fixture
def server(tmp_path: Path) -> Iterator[RedisServer]:
    with redis_server(tmp_path) as running:
        yield running


class Machine:
    """A segment, a controller's task and one worker."""

    def __init__(self, limit: RateLimit) -> None:
        assert limit.store is not None
        self.config, self.slots, self.segment = config(limit), Slots(CAPACITIES), Segment.create(CAPACITIES)
        self.segment.rows_used = 16
        assign(self.config, self.slots)
        self.words, self.subject = Words(self.segment), subject_of(limit, limit.store, self.slots)
        bucket = Bucket(Buckets(self.segment), self.subject.bucket, limit.rate, self.subject.burst)
        subject, metrics = self.subject, Metrics(self.segment, WORKER)
        lease = Lease(self.words, subject.lease, subject.until, subject.asked, limit.on_store_failure, 50_000_000)
        admitted = self.slots.counter(names.rate_limit_admitted(limit.name))
        refused = self.slots.counter(names.rate_limit_refused(limit.name))
        self.worker = rates.RateLimits([rates.RateLimit(bucket, admitted, refused, lease=lease)], metrics)
        self.shared = SharedLimits(self.segment, Failures())

    @property
    def leased(self) -> int:
        return self.words.load(self.subject.lease)

    @property
    def is_shared(self) -> bool:
        return time.monotonic_ns() < self.words.load(self.subject.until)

    def admits(self) -> bool:
        return self.worker.take(time.monotonic_ns()) == 0

    async def press(self, per_s: float, seconds: float) -> int:
        """Ask that often; how many were admitted."""
        admitted, begun, asked = 0, time.monotonic(), 0
        while (gone := time.monotonic() - begun) < seconds:
            due = int(gone * per_s)
            admitted += sum(self.admits() for _ in range(due - asked))
            asked = due
            await asyncio.sleep(0.002)
        return admitted

    def close(self) -> None:
        self.shared.stop()
        self.segment.close()


class Wire:
    """The network between a machine and the store; while it is cut, connections stand and nothing arrives."""

    def __init__(self, port: int) -> None:
        self._port = port
        self._whole = asyncio.Event()
        self._whole.set()
        self._tasks: list[asyncio.Task[None]] = []

    async def lay(self) -> str:
        self._server = await asyncio.start_server(self._carry, "127.0.0.1", 0)
        return f"redis://127.0.0.1:{self._server.sockets[0].getsockname()[1]}"

    def cut(self) -> None:
        self._whole.clear()

    def mend(self) -> None:
        self._whole.set()

    async def remove(self) -> None:
        self._server.close()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _carry(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        far_reader, far_writer = await asyncio.open_connection("127.0.0.1", self._port)
        for one, other in ((reader, far_writer), (far_reader, writer)):
            self._tasks.append(asyncio.create_task(self._one_way(one, other)))

    async def _one_way(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while piece := await reader.read(65536):
                await self._whole.wait()
                writer.write(piece)
        finally:
            writer.close()


def config(limit: RateLimit) -> Config:
    routes = (Route(match=Match(prefix="/"), cluster="app", rate_limits=(limit.name,)),)
    return Config(
        listeners=(Listener(bind=Address("127.0.0.1", 8080), name="web", routes=routes),),
        clusters=(Cluster(name="app", endpoints=(Endpoint(address=Address("127.0.0.1", 9001)),)),),
        rate_limits=(limit,),
        admin=Admin(bind=Address("127.0.0.1", 9901)),
    )


def run(
    limit: RateLimit, scenario: Callable[[list[Machine]], Awaitable[None]], machines: int = 2, *, share: bool = True
) -> None:
    async def play() -> None:
        made = [Machine(limit) for _ in range(machines)]
        try:
            for machine in made if share else []:
                machine.shared.follow(machine.config, machine.slots)
            for machine in made if share else []:
                await until(lambda machine=machine: machine.is_shared)  # type: ignore[misc]
            await scenario(made)
        finally:
            for machine in made:
                machine.shared.stop()
            await asyncio.sleep(0)
            for machine in made:
                machine.close()

    asyncio.run(play())


async def until(condition: Callable[[], bool], patience_s: float = 10) -> float:
    """How many seconds it took."""
    begun = time.monotonic()
    while not condition():
        assert time.monotonic() - begun < patience_s
        await asyncio.sleep(0.005)
    return time.monotonic() - begun


def stored(server: RedisServer, on_failure: Literal["local", "open", "closed"] = "local") -> RateLimit:
    return RateLimit(
        name="all", rate=RATE, burst=BURST, store=parse_store(server.url), on_store_failure=on_failure
    )


def test_the_store_grants_what_is_there_and_takes_back_what_is_given(server: RedisServer) -> None:
    async def scenario() -> None:
        one, other = (RedisStore(parse_store(server.url), name) for name in ("one", "other"))
        for store in (one, other):
            await store.open()
        slow = 0.001
        assert await one.lease("few", 0, 60, slow, 100) == (60, 40, 1)
        assert await other.lease("few", 0, 60, slow, 100) == (40, 0, 2)
        assert await other.lease("few", 40, 0, slow, 100) == (3, 37, 2)
        assert await other.lease("few", 3, 20, slow, 100) == (20, 20, 2)
        assert await one.lease("few", 60, 0, slow, 100) == (3, 77, 2)
        assert await one.lease("few", -50, 0, slow, 100) == (3, 24, 2)
        assert await one.lease("few", -500, 0, slow, 100) == (0, 0, 2)
        assert await one.lease("few", 500, 0, slow, 100) == (3, 97, 2)
        for store in (one, other):
            await store.close()

    asyncio.run(scenario())


@pytest.mark.parametrize("rate", [0.00001, 10.0])
def test_a_machine_that_comes_with_another_rate_finds_the_tokens_that_there_were(
    server: RedisServer, rate: float
) -> None:
    async def scenario() -> None:
        one, other = (RedisStore(parse_store(server.url), name) for name in ("one", "other"))
        for store in (one, other):
            await store.open()
        assert await one.lease("few", 0, 60, 0.001, 100) == (60, 40, 1)
        assert (await other.lease("few", 0, 100, rate, 100)).tokens in (40, 41)  # or what came meanwhile
        for store in (one, other):
            await store.close()

    asyncio.run(scenario())


def test_the_store_keeps_no_bucket_that_is_full(server: RedisServer) -> None:
    async def scenario() -> None:
        store = RedisStore(parse_store(server.url), "one")
        await store.open()
        await store.lease("few", 0, 50, 1000.0, 100)
        assert server.ask("EXISTS shardproxy:{few}") == ":1"
        await until(lambda: server.ask("EXISTS shardproxy:{few}") == ":0")
        assert (await store.lease("few", 0, 100, 1000.0, 100)).tokens == 100
        await store.close()

    asyncio.run(scenario())


def test_a_store_that_is_not_there_says_so_in_one_sentence(server: RedisServer) -> None:
    server.kill()

    async def scenario() -> None:
        with pytest.raises(StoreLost, match="connect"):
            await RedisStore(parse_store(server.url), "one").open()

    asyncio.run(scenario())


def test_a_password_is_read_anew_for_every_connection(server: RedisServer, tmp_path: Path) -> None:
    assert server.ask("CONFIG SET requirepass hunter2") == "+OK"
    store = RedisStore(parse_store(server.url), "one", str(tmp_path / "password"))

    async def scenario() -> None:
        with pytest.raises(StoreLost, match="its password cannot be read"):
            await store.open()
        (tmp_path / "password").write_text("wrong\n")
        with pytest.raises(StoreLost, match="password"):
            await store.open()
        (tmp_path / "password").write_text("hunter2\n")
        await store.open()
        assert (await store.lease("few", 0, 5, 10.0, 10)).tokens == 5
        await store.close()
        with pytest.raises(StoreLost, match="Authentication required"):
            await RedisStore(parse_store(server.url), "other").open()

    asyncio.run(scenario())


def test_two_machines_at_ten_times_the_demand_admit_what_one_bucket_holds_within_two_percent(
    server: RedisServer,
) -> None:
    async def scenario(machines: list[Machine]) -> None:
        await asyncio.sleep(0.3)  # as long as it takes to lease too much, were that possible
        admitted = await asyncio.gather(*(machine.press(5 * RATE, 3) for machine in machines))
        ideal = RATE * 3 + BURST
        print(f"admitted {admitted}, ideal {ideal:.0f}: {100 * (sum(admitted) / ideal - 1):+.2f} %")
        assert sum(admitted) == pytest.approx(ideal, rel=0.02)
        assert min(admitted) > 0.3 * sum(admitted)
        assert machines[0].words.load(machines[0].subject.machines) == 2

    run(stored(server), scenario)


def test_demand_below_the_limit_is_not_refused_wherever_it_comes(server: RedisServer) -> None:
    async def scenario(machines: list[Machine]) -> None:
        for machine in machines:
            await machine.press(RATE / 2, 0.2)  # the first requests find only what is kept ready
        for shares in ((0.8, 0.1), (0.1, 0.8)):
            asked = [machine.press(RATE * share, 1) for machine, share in zip(machines, shares, strict=True)]
            admitted = await asyncio.gather(*asked)
            assert sum(admitted) >= 0.97 * 0.9 * RATE

    run(stored(server), scenario)


def test_who_is_idle_keeps_a_few_tokens_and_gives_the_rest_back(server: RedisServer) -> None:
    async def scenario(machines: list[Machine]) -> None:
        await machines[0].press(0.9 * RATE, 0.3)
        assert machines[0].leased > BURST // 32
        await until(lambda: all(0 < machine.leased <= BURST // 32 for machine in machines))
        assert machines[1].admits()

    run(stored(server), scenario)


def test_a_paused_store_changes_nothing_for_half_a_second_and_then_holds_what_is_configured(
    server: RedisServer,
) -> None:
    async def scenario(machines: list[Machine]) -> None:
        machine = machines[0]
        server.pause()
        began = time.monotonic()
        await until(lambda: not machine.is_shared)
        assert 0.4 <= time.monotonic() - began <= 0.7
        started = time.monotonic()
        assert [machine.admits() for _ in range(100)] == [False] * 100
        assert time.monotonic() - started < 0.05
        server.resume()
        assert await until(lambda: machine.is_shared) < 1
        assert machine.admits()

    run(stored(server, on_failure="closed"), scenario, machines=1)


def test_a_machine_on_its_own_goes_on_where_all_stood_and_pays_for_it_afterwards(server: RedisServer) -> None:
    async def scenario(machines: list[Machine]) -> None:
        machine = machines[0]
        await machine.press(10 * RATE, 0.5)
        server.kill()
        await until(lambda: not machine.is_shared)
        admitted = await machine.press(10 * RATE, 1)
        assert 0.95 * RATE <= admitted <= 1.05 * RATE + BURST
        server.start()
        await until(lambda: machine.is_shared)
        assert machine.leased < BURST / 2  # a store that knows nothing would have a whole burst
        assert await machine.press(10 * RATE, 1) == pytest.approx(RATE, rel=0.25)

    run(stored(server), scenario, machines=1)


def test_a_machine_that_is_cut_off_leaves_its_share_to_the_others(server: RedisServer) -> None:
    async def scenario(machines: list[Machine]) -> None:
        wire, connected = Wire(server.port), machines[0]
        far = Machine(msgspec.structs.replace(stored(server, "closed"), store=parse_store(await wire.lay())))
        far.shared.follow(far.config, far.slots)
        try:
            await until(lambda: far.is_shared)
            together = await asyncio.gather(connected.press(5 * RATE, 1), far.press(5 * RATE, 1))
            assert sum(together) == pytest.approx(RATE + BURST, rel=0.1)
            wire.cut()
            await until(lambda: not far.is_shared)  # meanwhile the bucket fills up again
            alone = await asyncio.gather(connected.press(5 * RATE, 1), far.press(5 * RATE, 1))
            assert alone[0] == pytest.approx(RATE + BURST, rel=0.1)
            assert alone[1] == 0
            wire.mend()
            assert await until(lambda: far.is_shared) < 1
            again = await asyncio.gather(connected.press(5 * RATE, 1), far.press(5 * RATE, 1))
            assert min(again) > 0.3 * sum(again)
        finally:
            far.shared.stop()
            await wire.remove()
            far.close()

    run(stored(server, "closed"), scenario, machines=1)


def test_a_controller_that_is_gone_is_like_a_store_that_is_gone(server: RedisServer) -> None:
    async def scenario(machines: list[Machine]) -> None:
        machine = machines[0]
        machine.shared.stop()
        await until(lambda: not machine.is_shared)
        assert all(machine.admits() for _ in range(5 * BURST))
        machine.shared.follow(machine.config, machine.slots)
        assert await until(lambda: machine.is_shared) < 1

    run(stored(server, on_failure="open"), scenario, machines=1)

from __future__ import annotations

import os
import time

import msgspec
import pytest

from shardproxy.config.schema import Config, RateLimit
from shardproxy.config.stores import Store
from shardproxy.controller.reading import read
from shardproxy.controller.reasons import Reason, Why
from shardproxy.controller.stats import Stats, StoreStats
from shardproxy.shm import names
from shardproxy.shm.buckets import Bucket, Buckets
from shardproxy.shm.decisions import CHECKED, EJECTED, FAILED_CHECK, Decisions
from shardproxy.shm.layout import Capacities
from shardproxy.shm.rows import Kind, Rows, State
from shardproxy.shm.segment import Segment
from shardproxy.shm.slots import Slots
from shardproxy.shm.words import Words
from shardproxy.supervisor.catalog import assign
from tests.unit.controller.counting import Worker

FIRST, SECOND = ("app", "127.0.0.1:9001"), ("app", "127.0.0.1:9002")
MS = 10**6


@pytest.fixture
def workers(segment: Segment, slots: Slots) -> tuple[Worker, Worker]:
    return Worker(segment, slots, 2), Worker(segment, slots, 3)


def test_a_fresh_proxy_reads_as_all_zero(segment: Segment, slots: Slots, config: Config) -> None:
    stats = read(segment, slots, config)
    assert (stats.requests, stats.active, stats.workers, stats.controller) == (0, 0, (), None)
    assert set(stats.responses.values()) == set(stats.faults.values()) == {0}
    assert stats.request_time.p99_ms == 0
    assert stats.rate_limits["few"].tokens == 7


def test_counts_are_sums_over_the_workers(
    segment: Segment, slots: Slots, config: Config, workers: tuple[Worker, Worker]
) -> None:
    one, other = workers
    one.count(names.REQUESTS, 3)
    other.count(names.REQUESTS, 4)
    other.count(names.RESPONSES_5XX)
    one.count(names.fault("rate_limited"), 2)
    one.count(names.listener_accepted("web"), 5)
    stats = read(segment, slots, config)
    assert stats.requests == 7
    assert stats.responses == {"1xx": 0, "2xx": 0, "3xx": 0, "4xx": 0, "5xx": 1}
    assert {kind: n for kind, n in stats.faults.items() if n} == {"rate_limited": 2}
    assert stats.listeners["web"].accepted == 5
    assert [worker.requests for worker in stats.workers] == [3, 4]


def test_what_a_worker_that_died_has_counted_stays(
    segment: Segment, slots: Slots, config: Config, workers: tuple[Worker, Worker]
) -> None:
    one, _ = workers
    one.count(names.REQUESTS, 3)
    one.observe(names.REQUEST_TIME, 10 * MS)
    Rows(segment).release(one.row)
    stats = read(segment, slots, config)
    assert (stats.requests, stats.request_time.count) == (3, 1)
    assert [worker.pid for worker in stats.workers] == [1003]


def test_a_worker_does_not_claim_what_the_one_before_it_in_its_row_has_counted(
    segment: Segment, slots: Slots, config: Config, workers: tuple[Worker, Worker]
) -> None:
    one, other = workers
    one.count(names.REQUESTS, 3)
    rows = Rows(segment)
    rows.release(one.row)
    rows.claim(one.row, 1004, 1, Kind.WORKER, requests_before=3)
    one.count(names.REQUESTS, 2)
    other.count(names.REQUESTS, 4)
    stats = read(segment, slots, config)
    assert {worker.pid: worker.requests for worker in stats.workers} == {1004: 2, 1003: 4}
    assert stats.requests == 9


def test_an_endpoint_says_who_is_using_it(
    segment: Segment, slots: Slots, config: Config, workers: tuple[Worker, Worker]
) -> None:
    one, other = workers
    one.add(names.endpoint_active(*FIRST), 2)
    other.add(names.endpoint_active(*FIRST), 1)
    other.add(names.endpoint_active(*SECOND), 4)
    stats = read(segment, slots, config)
    first, second = (stats.clusters["app"].endpoints[address] for _, address in (FIRST, SECOND))
    assert (first.active, first.active_by_worker, first.weight) == (3, {1002: 2, 1003: 1}, 1)
    assert (second.active, second.active_by_worker, second.weight) == (4, {1002: 0, 1003: 4}, 3)
    assert (stats.active, [worker.active for worker in stats.workers]) == (7, [2, 5])


@pytest.mark.parametrize(
    ("flags", "state"),
    [(CHECKED, "healthy"), (CHECKED | FAILED_CHECK, "unhealthy"), (EJECTED, "ejected"), (3, "unhealthy")],
)
def test_the_health_of_an_endpoint_comes_with_why_and_since_when(
    flags: int, state: str, segment: Segment, slots: Slots, config: Config
) -> None:
    slot = slots.decision(names.endpoint_decision(*FIRST))
    Decisions(segment).decide(slot, flags, Reason(Why.STATUS, 503).encode(), time.monotonic_ns() - 7 * 10**9)
    cluster = read(segment, slots, config).clusters["app"]
    first, second = (cluster.endpoints[address].health for _, address in (FIRST, SECOND))
    assert (first.state, first.reason, round(first.since_s or 0)) == (state, "answered 503", 7)
    assert (second.state, second.reason, second.since_s) == ("unchecked", "", None)
    assert cluster.healthy == (2 if state == "healthy" else 1)


def test_requests_for_which_health_was_ignored_are_counted(
    segment: Segment, slots: Slots, config: Config, workers: tuple[Worker, Worker]
) -> None:
    for worker in workers:
        worker.count(names.cluster_panics("app"), 2)
    assert read(segment, slots, config).clusters["app"].panics == 4


def test_connections_are_told_apart_by_side(
    segment: Segment, slots: Slots, config: Config, workers: tuple[Worker, Worker]
) -> None:
    one, other = workers
    one.add(names.listener_connections("web"), 3)
    other.add(names.endpoint_connections(*SECOND), 2)
    stats = read(segment, slots, config)
    assert stats.listeners["web"].connections == 3
    assert stats.clusters["app"].connections == stats.clusters["app"].endpoints["127.0.0.1:9002"].connections == 2
    assert [(each.connections, each.upstream_connections) for each in stats.workers] == [(3, 0), (0, 2)]


def test_times_are_in_milliseconds_and_right_to_a_sixteenth(
    segment: Segment, slots: Slots, config: Config, workers: tuple[Worker, Worker]
) -> None:
    for worker in workers:
        for _ in range(49):
            worker.observe(names.endpoint_time(*FIRST), 5 * MS)
        worker.observe(names.endpoint_time(*FIRST), 80 * MS)
    times = read(segment, slots, config).clusters["app"].endpoints["127.0.0.1:9001"].time
    assert times.count == 100
    assert times.p50_ms == pytest.approx(5, rel=0.0625)
    assert times.p99_ms == pytest.approx(80, rel=0.0625)
    assert times.mean_ms == pytest.approx(6.5)


def test_a_rate_limit_says_what_it_has_left(
    segment: Segment, slots: Slots, config: Config, workers: tuple[Worker, Worker]
) -> None:
    bucket = Bucket(Buckets(segment), slots.bucket(names.rate_limit("few")), 5.0, 7)
    assert bucket.take(time.monotonic_ns(), 7) == 0
    workers[0].count(names.rate_limit_admitted("few"), 7)
    workers[1].count(names.rate_limit_refused("few"), 2)
    limit = read(segment, slots, config).rate_limits["few"]
    assert (limit.rate, limit.burst, limit.admitted, limit.refused) == (5.0, 7, 7, 2)
    assert limit.tokens is not None
    assert 0 <= limit.tokens < 7


def test_processes_say_who_they_are(segment: Segment, slots: Slots, config: Config) -> None:
    rows = Rows(segment)
    rows.claim(1, 4711, 1, Kind.CONTROLLER)
    rows.set_state(1, State.DRAINING)
    rows.beat(1, time.monotonic_ns() - 2 * 10**9)
    stats = read(segment, slots, config)
    assert stats.supervisor is not None
    assert stats.controller is not None
    assert (stats.supervisor.pid, stats.supervisor.state) == (os.getpid(), "ready")
    assert (stats.controller.pid, stats.controller.row, stats.controller.state) == (4711, 1, "draining")
    assert stats.controller.heartbeat_age_s == pytest.approx(2, abs=0.5)
    assert stats.uptime_s > 0


def test_readers_get_back_from_json_what_was_read(
    segment: Segment, slots: Slots, config: Config, workers: tuple[Worker, Worker]
) -> None:
    workers[0].add(names.endpoint_active(*FIRST), 1)
    stats = read(segment, slots, config)
    assert msgspec.json.decode(msgspec.json.encode(stats), type=Stats) == stats


def test_a_limit_that_machines_share_tells_of_its_store(config: Config) -> None:
    limit = RateLimit(name="all", rate=50.0, store=Store("10.0.0.9", 6379), on_store_failure="closed")
    shared = msgspec.structs.replace(config, rate_limits=(*config.rate_limits, limit))
    slots, segment = Slots(Capacities()), Segment.create(Capacities())
    assign(shared, slots)
    words = Words(segment)
    words.store(slots.word(names.rate_limit_lease("all")), 12)
    words.store(slots.word(names.rate_limit_machines("all")), 3)
    lost = read(segment, slots, shared).rate_limits
    words.store(slots.word(names.rate_limit_leased_until("all")), time.monotonic_ns() + 10**10)
    found = read(segment, slots, shared).rate_limits
    segment.close()
    told = StoreStats(address="redis://10.0.0.9:6379", state="closed", leased=12, machines=3)
    assert lost["all"].store == told
    assert found["all"].store == msgspec.structs.replace(told, state="shared")
    assert found["few"].store is None

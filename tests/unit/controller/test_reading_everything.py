"""`/stats` of a configuration that has everything: each number is counted by hand, and no two of them are the same."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from itertools import count
from typing import Any

import msgspec
import pytest

from shardproxy.controller.reading import FAULT_KINDS, read
from shardproxy.controller.reasons import Reason, Why
from shardproxy.controller.resources import Resources, Usage
from shardproxy.controller.stats import LastOperation, Stats
from shardproxy.limits.tables import table_of
from shardproxy.shm import names
from shardproxy.shm.buckets import TICKS_PER_S, Bucket, Buckets
from shardproxy.shm.decisions import CHECKED, EJECTED, FAILED_CHECK, Decisions
from shardproxy.shm.rows import Kind, Rows, State
from tests.unit.controller.counting import Site, site

MS = 10**6
TEXT = """
zone: here
overload: {memory: 1GiB}
listeners:
  - {name: web, bind: 127.0.0.1:80, routes: [{match: {prefix: /}, cluster: app, rate_limits: [all, each, far, paced]}]}
  - {name: api, bind: "unix:/run/api.sock", routes: [{match: {prefix: /}, cluster: plain}]}
clusters:
  - name: app
    balance: random
    endpoints:
      - {address: 127.0.0.1:1, weight: 5, zone: here}
      - {address: 127.0.0.1:2, zone: there}
      - {address: 127.0.0.1:3, priority: 1}
    health_check: {path: /}
    max_requests: 10
    queue: {max: 3}
    adaptive: {start: 25, dry_run: true}
  - {name: plain, endpoints: [127.0.0.1:4], adaptive: {start: 30}}
rate_limits:
  - {name: all, rate: 5/s, burst: 50}
  - {name: each, rate: 2/s, burst: 4, key: client_ip, keys: 20, delay: 1s}
  - {name: far, rate: 7/s, burst: 30, store: "redis://10.0.0.9:6379/2", on_store_failure: open, dry_run: true}
  - {name: paced, rate: 20/s, burst: 40, adaptive: {cluster: plain, min: 1/s, max: 100/s}}
"""
ONE, TWO, THREE = (("app", f"127.0.0.1:{port}") for port in (1, 2, 3))
NOTHING = {"count": 0, "mean_ms": 0.0, "p50_ms": 0.0, "p99_ms": 0.0}


@pytest.fixture
def app() -> Iterator[Site]:
    with site(TEXT) as made:
        rows = Rows(made.segment)
        rows.claim(0, os.getpid(), 3, Kind.SUPERVISOR)
        rows.set_state(0, State.READY)
        rows.claim(1, 77, 3, Kind.CONTROLLER)
        yield made


def tell(app: Site) -> dict[str, Any]:
    class Known(Resources):
        def of(self, pid: int) -> Usage:
            return Usage(pid * 1000, pid / 10)

    last = LastOperation(is_done=True, text="reload: done", age_s=1.0)
    stats = read(app.segment, app.slots, app.config, 9, Known(), last)
    text = msgspec.json.encode(stats)
    assert msgspec.json.decode(text, type=Stats) == stats
    told: dict[str, Any] = msgspec.json.decode(text)
    return told


def part(app: Site, *path: str) -> Any:
    found: Any = tell(app)
    for key in path:
        found = found[key]
    return found


def test_the_process_wide_counters_are_told_each_under_its_name(app: Site) -> None:
    numbers = count(1)
    expected: dict[str, object] = {}
    for key, name in {
        "requests": names.REQUESTS, "bytes_in": names.BYTES_IN, "bytes_out": names.BYTES_OUT,
        "client_aborts": names.CLIENT_ABORTS, "access_log_dropped": names.ACCESS_LOG_DROPPED,
        "controller_failures": names.CONTROLLER_FAILURES, "stray_callbacks": names.STRAY_CALLBACKS,
    }.items():  # fmt: skip
        expected[key] = number = next(numbers)
        app.worker.count(name, number)
    expected["responses"] = {f"{digit}xx": 100 + digit for digit in range(1, 6)}
    for digit in range(1, 6):
        app.other.count(f'responses{{class="{digit}xx"}}', 100 + digit)
    expected["faults"] = {kind: 1000 + number for number, kind in enumerate(FAULT_KINDS)}
    for number, kind in enumerate(FAULT_KINDS):
        app.other.count(names.fault(kind), 1000 + number)
    app.worker.observe(names.REQUEST_TIME, 10 * MS, 4)
    told = tell(app)
    assert {key: told[key] for key in expected} == expected
    assert told["request_time"] == {
        "count": 4, "mean_ms": 10.0, "p50_ms": pytest.approx(10, rel=0.0625), "p99_ms": pytest.approx(10, rel=0.0625),
    }  # fmt: skip
    assert told["version"] == 9
    assert told["last_operation"] == {"is_done": True, "text": "reload: done", "age_s": 1.0}
    assert not {"ok", "need_more"} & set(FAULT_KINDS)


def test_each_process_tells_its_row(app: Site) -> None:
    Rows(app.segment).beat(1, time.monotonic_ns() - 7 * 10**9)
    told = tell(app)
    supervisor, controller = told["supervisor"], told["controller"]
    assert 7 <= controller.pop("heartbeat_age_s") < 60
    assert controller == {"pid": 77, "row": 1, "state": "starting", "generation": 3, "unraisable": 0}
    assert (supervisor["pid"], supervisor["row"], supervisor["state"]) == (os.getpid(), 0, "ready")


def test_a_worker_tells_what_it_alone_does(app: Site) -> None:
    app.worker.count(names.REQUESTS, 3)
    app.worker.add(names.endpoint_active(*ONE), 2)
    app.worker.add(names.endpoint_active(*THREE), 4)
    app.worker.add(names.listener_connections("web"), 8)
    app.worker.add(names.listener_connections("api"), 16)
    app.worker.add(names.endpoint_connections(*TWO), 32)
    app.worker.add(names.endpoint_connections("plain", "127.0.0.1:4"), 64)
    app.worker.add(names.overload_pressure("memory"), 55)
    app.worker.add(names.overload_action("refuse_low"), 1)
    app.other.count(names.REQUESTS, 1)
    first, second = part(app, "workers")
    pressures = first["overload"]["pressures"]
    assert pressures.pop("memory") == 55
    assert set(pressures.values()) == {0}
    assert first["overload"]["actions"] == ["refuse_low"]
    for key, value in {
        "pid": 1002, "row": 2, "state": "ready", "rss_bytes": 1002_000, "cpu_s": 100.2, "requests": 3, "active": 6,
        "connections": 24, "upstream_connections": 96,
    }.items():  # fmt: skip
        assert first[key] == value
    assert (second["pid"], second["requests"], second["active"], second["overload"]["actions"]) == (1003, 1, 0, [])


def test_a_listener_tells_its_address_and_its_connections(app: Site) -> None:
    app.worker.add(names.listener_connections("web"), 3)
    app.other.add(names.listener_connections("web"), 4)
    app.other.count(names.listener_accepted("web"), 50)
    app.worker.count(names.listener_accepted("api"), 60)
    assert part(app, "listeners") == {
        "web": {"bind": "127.0.0.1:80", "connections": 7, "accepted": 50},
        "api": {"bind": "unix:/run/api.sock", "connections": 0, "accepted": 60},
    }


def test_a_cluster_tells_everything_that_is_done_in_it(app: Site) -> None:
    counters = {
        "panics": names.cluster_panics, "mirrored": names.cluster_mirrored,
        "mirror_dropped": names.cluster_mirror_dropped,
        "retries": names.cluster_retries, "retries_refused": names.cluster_retries_refused,
        "adaptive_would_refuse": names.cluster_would_refuse,
    }  # fmt: skip
    expected: dict[str, object] = {"balance": "random", "healthy": 2, "active": 5, "connections": 9}
    expected["retries_active"] = 6
    for number, (key, name) in enumerate(counters.items(), 11):
        app.worker.count(name("app"), number)
        expected[key] = number
    app.worker.add(names.cluster_retries_active("app"), 6)
    app.worker.add(names.endpoint_active(*ONE), 2)
    app.other.add(names.endpoint_active(*TWO), 3)
    app.worker.add(names.endpoint_connections(*ONE), 4)
    app.other.add(names.endpoint_connections(*THREE), 5)
    app.set_word(names.cluster_limit("app"), 44)
    Decisions(app.segment).decide(app.slots.decision(names.endpoint_decision(*THREE)), EJECTED, 0, 1)
    cluster = part(app, "clusters", "app")
    assert {key: cluster[key] for key in expected} == expected
    assert cluster["adaptive_limit"] == 44
    assert tell(app)["active"] == 5
    plain = part(app, "clusters", "plain")
    assert (plain["adaptive_limit"], plain["adaptive_would_refuse"], plain["queue"], plain["levels"]) == (
        30, None, None, [],
    )  # fmt: skip


def test_a_queue_tells_who_waits_and_who_has_waited_in_vain(app: Site) -> None:
    app.worker.add(names.cluster_waiting("app"), 3)
    app.worker.count(names.cluster_queued("app"), 4)
    app.worker.count(names.cluster_queue_timeouts("app"), 5)
    app.worker.count(names.cluster_queue_refused("app"), 6)
    assert part(app, "clusters", "app", "queue") == {
        "waiting": 3, "queued": 4, "timeouts": 5, "refused": 6, "time": NOTHING,
    }  # fmt: skip
    app.worker.observe(names.cluster_wait_time("app"), 10 * MS, 2)
    assert part(app, "clusters", "app", "queue", "time", "count") == 2


def test_levels_tell_how_the_requests_are_shared_out(app: Site) -> None:
    levels = part(app, "clusters", "app", "levels")
    assert levels == [
        {"endpoints": 1, "healthy": 1, "share": 100, "in_panic": False},
        {"endpoints": 1, "healthy": 1, "share": 0, "in_panic": False},
        {"endpoints": 1, "healthy": 1, "share": 0, "in_panic": False},
    ]
    Decisions(app.segment).decide(app.slots.decision(names.endpoint_decision(*ONE)), FAILED_CHECK | CHECKED, 0, 1)
    levels = part(app, "clusters", "app", "levels")
    assert [(each["healthy"], each["share"]) for each in levels] == [(0, 0), (1, 100), (1, 0)]


def test_an_endpoint_tells_its_health_and_its_traffic(app: Site) -> None:
    app.worker.add(names.endpoint_active(*ONE), 2)
    app.other.add(names.endpoint_connections(*ONE), 3)
    app.worker.count(names.endpoint_requests(*ONE), 4)
    app.worker.count(names.endpoint_failures(*ONE), 5)
    app.worker.observe(names.endpoint_time(*ONE), 10 * MS, 6)
    slot = app.slots.decision(names.endpoint_decision(*ONE))
    Decisions(app.segment).decide(slot, CHECKED | EJECTED, Reason(Why.ERRORS_RUN, 5).encode(), time.monotonic_ns())
    one = part(app, "clusters", "app", "endpoints", "127.0.0.1:1")
    assert 0 <= one["health"].pop("since_s") < 60
    assert one.pop("time")["count"] == 6
    assert one == {
        "health": {"state": "ejected", "reason": "5 failures in a row"},
        "weight": 5, "active": 2, "active_by_worker": {"1002": 2, "1003": 0}, "connections": 3, "requests": 4,
        "failures": 5,
    }  # fmt: skip
    assert part(app, "clusters", "app", "endpoints", "127.0.0.1:2", "time") == NOTHING


@pytest.mark.parametrize("name", ["all", "each", "far", "paced"])
def test_a_rate_limit_tells_what_it_did(app: Site, name: str) -> None:
    counters = (names.rate_limit_admitted, names.rate_limit_refused, names.rate_limit_delayed)
    for number, counter in enumerate(counters if name == "each" else counters[:2], 7):
        app.worker.count(counter(name), number)
    limit = part(app, "rate_limits", name)
    assert (limit["admitted"], limit["refused"]) == (7, 8)
    assert limit["delayed"] == (9 if name == "each" else 0)
    assert limit["dry_run"] is (name == "far")
    assert (limit["keys"] is None) is (name != "each")
    assert (limit["store"] is None) is (name != "far")


def test_a_limit_by_key_tells_of_its_table_and_has_no_tokens_of_its_own(app: Site) -> None:
    table = table_of(app.config.rate_limits[1], app.segment, app.slots)
    for key in (b"a", b"b"):
        table.take(key, time.monotonic_ns(), 4)
    app.worker.count(names.rate_limit_evicted("each"), 3)
    limit = part(app, "rate_limits", "each")
    assert limit["keys"] == {"capacity": 32, "occupied": 2, "evictions": 3}
    assert (limit["tokens"], limit["rate"], limit["burst"]) == (None, 2.0, 4)


def test_a_limit_with_an_adaptive_rate_tells_the_present_one(app: Site) -> None:
    before = part(app, "rate_limits", "paced")
    app.set_word(names.rate_limit_interval("paced"), TICKS_PER_S // 50)
    now = part(app, "rate_limits", "paced")
    assert (before["rate"], before["burst"]) == (20.0, 40)
    assert now["rate"] == pytest.approx(50, rel=0.001)
    app.set_word(names.rate_limit_interval("paced"), round(TICKS_PER_S / 33.3333))
    assert part(app, "rate_limits", "paced", "rate") == pytest.approx(33.333, abs=0.0005)


def test_tokens_and_ages_are_told_to_a_thousandth(app: Site) -> None:
    Rows(app.segment).beat(1, time.monotonic_ns() - 7_251_000_000)
    slot = app.slots.decision(names.endpoint_decision(*ONE))
    Decisions(app.segment).decide(slot, CHECKED, 0, time.monotonic_ns() - 7_251_000_000)
    bucket = Bucket(Buckets(app.segment), app.slots.bucket(names.rate_limit("all")), 5.0, 50)
    assert bucket.take(time.monotonic_ns(), 40) == 0
    told = tell(app)
    found = [
        told["controller"]["heartbeat_age_s"],
        told["clusters"]["app"]["endpoints"]["127.0.0.1:1"]["health"]["since_s"],
    ]
    assert all(7.251 <= age < 60 and age == round(age, 3) for age in found)
    tokens = told["rate_limits"]["all"]["tokens"]
    assert 10 <= tokens < 50
    assert tokens == round(tokens, 3)


def test_a_limit_with_a_store_tells_its_state(app: Site) -> None:
    app.set_word(names.rate_limit_lease("far"), 12)
    app.set_word(names.rate_limit_machines("far"), 3)
    told = {"address": "redis://10.0.0.9:6379/2", "state": "open", "leased": 12, "machines": 3}
    assert part(app, "rate_limits", "far", "store") == told
    app.set_word(names.rate_limit_leased_until("far"), time.monotonic_ns() + 3600 * 10**9)
    assert part(app, "rate_limits", "far", "store", "state") == "shared"


def test_the_uptime_is_that_of_the_supervisor(app: Site) -> None:
    uptime = tell(app)["uptime_s"]
    assert 0 < uptime < 24 * 3600
    Rows(app.segment).release(0)
    Rows(app.segment).claim(0, 2**22 + 1, 1, Kind.SUPERVISOR)  # above any pid that Linux gives
    assert tell(app)["uptime_s"] == 0

"""The tables of `shardproxy status` as a whole: what stands where, in which unit, and what is left out."""

from __future__ import annotations

import io

import pytest
from msgspec.structs import replace
from rich.console import Console

from shardproxy.controller.admin.tables import show
from shardproxy.controller.stats import (
    BandwidthStats,
    ClusterStats,
    EndpointStats,
    FlowStats,
    HealthStats,
    KeyStats,
    LastOperation,
    ListenerStats,
    RateLimitStats,
    Stats,
    Times,
    WorkerStats,
)

TIMES = Times(count=9, mean_ms=1.0, p50_ms=2.26, p99_ms=33.33)
NONE = Times(count=0, mean_ms=0, p50_ms=0, p99_ms=0)
WORKER = WorkerStats(
    pid=4711, row=2, state="ready", generation=3, heartbeat_age_s=0.12, rss_bytes=44 << 20, cpu_s=5.67, requests=101,
    active=12, connections=13, upstream_connections=14,
)  # fmt: skip


def endpoint(health: HealthStats, time: Times = NONE) -> EndpointStats:
    return EndpointStats(
        health=health, weight=1, active=21, active_by_worker={}, connections=22, requests=23, failures=24, time=time
    )


def cluster(**endpoints: EndpointStats) -> ClusterStats:
    return ClusterStats(
        balance="random", healthy=1, panics=0, active=0, connections=0, retries=0, retries_active=0, retries_refused=0,
        endpoints={f"10.0.0.{name[1:]}:80": each for name, each in endpoints.items()},
    )  # fmt: skip


def limit(tokens: float | None, keys: KeyStats | None = None) -> RateLimitStats:
    return RateLimitStats(
        rate=90.0, burst=50, tokens=tokens, admitted=31, refused=32, delayed=33, dry_run=False, keys=keys
    )


def flow(rate: int, passed: int, held: int, waiting: int) -> FlowStats:
    return FlowStats(
        rate=rate, burst=1, passed_bytes=passed, held_bytes=held, waited_s=0, waiting=waiting, keys=None
    )


STATS = Stats(
    uptime_s=3 * 86_400, version=7, last_operation=LastOperation(is_done=False, text="reload: no", age_s=61),
    supervisor=None, controller=None,
    workers=(WORKER, replace(WORKER, pid=4712, state="draining", heartbeat_age_s=3.0)),
    requests=202, active=5, responses={"1xx": 0, "2xx": 200, "3xx": 0, "4xx": 2, "5xx": 0}, request_time=TIMES,
    bytes_in=0, bytes_out=0, client_aborts=0, access_log_dropped=0, stray_callbacks=0,
    faults={"timeout": 3, "overflow": 0, "no_endpoint": 4},
    listeners={"web": ListenerStats(bind="0.0.0.0:80", connections=41, accepted=42)},
    clusters={
        "app": cluster(
            e1=endpoint(HealthStats(state="healthy", reason="checks are good", since_s=300.0), TIMES),
            e2=endpoint(HealthStats(state="unhealthy", reason="answered 503", since_s=12.0)),
            e3=endpoint(HealthStats(state="ejected", reason="5 failures in a row", since_s=7200.0)),
            e4=endpoint(HealthStats(state="unchecked", reason="", since_s=None)),
        )
    },
    rate_limits={
        "all": limit(49.6),
        "each": limit(None, KeyStats(capacity=64, occupied=8, evictions=0)),
        "free": limit(None),
    },
    bandwidth_limits={
        "wide": BandwidthStats(down=flow(1 << 20, 3 << 20, 1 << 19, 2), up=flow(1 << 10, 0, 0, 0), dry_run=False),
        "thin": BandwidthStats(down=None, up=flow(1 << 11, 1 << 20, 0, 1), dry_run=False),
    },
)  # fmt: skip


def shown(stats: Stats, width: int = 160) -> list[str]:
    """Lines, without what pads them."""
    out = io.StringIO()
    show(stats, Console(file=out, width=width, markup=False, highlight=False))
    return [line.rstrip() for line in out.getvalue().splitlines()]


WHOLE = """\
up 3 d, configuration 7, 202 requests (200 2xx, 2 4xx), 5 under way, p50 2.3 ms, p99 33.3 ms
worker    state     generation  heartbeat  memory    cpu  requests  active  clients  upstream
pid 4711  ready              3  0.1 s ago  44 MiB  5.7 s       101      12       13        14
pid 4712  draining           3  3.0 s ago  44 MiB  5.7 s       101      12       13        14
listener  bind        connections  accepted
web       0.0.0.0:80           41        42
cluster  endpoint     health                                active  connections  requests  failures  p50 ms  p99 ms
app      10.0.0.1:80  healthy for 5 min                         21           22        23        24     2.3    33.3
app      10.0.0.2:80  unhealthy for 12 s: answered 503          21           22        23        24     0.0     0.0
app      10.0.0.3:80  ejected for 2 h: 5 failures in a row      21           22        23        24     0.0     0.0
app      10.0.0.4:80  unchecked                                 21           22        23        24     0.0     0.0
rate limit  rate    tokens  admitted  refused
all         90/s  50 of 50        31       32
each        90/s    8 keys        31       32
free        90/s                  31       32
bandwidth limit  way     rate   passed  held back  waiting
wide             down  1MiB/s  3.0 MiB    0.5 MiB        2
wide             up    1KiB/s  0.0 MiB    0.0 MiB        0
thin             up    2KiB/s  1.0 MiB    0.0 MiB        1
61 s ago: failed: reload: no
faults: timeout 3, no_endpoint 4
"""


def test_everything_has_its_place() -> None:
    assert shown(STATS) == WHOLE.splitlines()


def test_what_is_empty_is_left_out() -> None:
    empty = replace(
        STATS, workers=(), listeners={}, clusters={}, rate_limits={}, bandwidth_limits={}, last_operation=None,
        faults={"timeout": 0}, responses={"2xx": 0},
    )  # fmt: skip
    assert shown(empty) == [
        "up 3 d, configuration 7, 202 requests (no answer yet), 5 under way, p50 2.3 ms, p99 33.3 ms"
    ]


def test_a_long_outcome_is_not_broken_into_lines() -> None:
    long = LastOperation(is_done=True, text="reload: " + "x" * 300, age_s=0)
    assert f"0 s ago: {long.text}" in shown(replace(STATS, last_operation=long), width=80)


def test_names_are_not_cut_where_a_line_is_too_short() -> None:
    name = "a-cluster-with-a-name-that-is-longer-than-any-terminal-is-wide" * 2
    lines = shown(replace(STATS, clusters={name: STATS.clusters["app"]}), width=100)
    assert "…" not in "".join(lines)


def test_without_a_terminal_a_line_may_be_160_wide(capsys: pytest.CaptureFixture[str]) -> None:
    reason = "a reason that is longer than the eighty columns a terminal without a size is said to have"
    ill = endpoint(HealthStats(state="unhealthy", reason=reason, since_s=12.0))
    show(replace(STATS, clusters={"app": cluster(e1=ill)}))
    assert f"unhealthy for 12 s: {reason[:40]}" in capsys.readouterr().out


def test_a_name_is_no_markup(capsys: pytest.CaptureFixture[str]) -> None:
    show(replace(STATS, listeners={"[bold]web": STATS.listeners["web"]}))
    assert "[bold]web" in capsys.readouterr().out

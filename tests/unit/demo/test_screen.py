from __future__ import annotations

from shardproxy.controller.stats import ClusterStats, EndpointStats, HealthStats, RateLimitStats, Stats, Times
from shardproxy.demo.screen import Screen, introduction
from shardproxy.demo.traffic import Traffic

NAMES = {"127.0.0.1:1": "fast", "127.0.0.1:2": "slow"}


def times(p50_ms: float, p99_ms: float) -> Times:
    return Times(count=1, mean_ms=0, p50_ms=p50_ms, p99_ms=p99_ms)


def endpoint(active: int, requests: int) -> EndpointStats:
    return EndpointStats(
        health=HealthStats(state="unchecked", reason="", since_s=None), weight=1, active=active, active_by_worker={},
        connections=0, requests=requests, failures=0, time=times(5, 9),
    )  # fmt: skip


def reading(requests: int, failed: int = 0) -> Stats:
    endpoints = {"127.0.0.1:1": endpoint(1, requests * 3 // 4), "127.0.0.1:2": endpoint(2, requests // 4)}
    return Stats(
        uptime_s=1, version=1, last_operation=None, supervisor=None, controller=None, workers=(),
        requests=requests, active=3,
        responses={"2xx": requests - failed, "5xx": failed}, request_time=times(6.25, 52), bytes_in=0, bytes_out=0,
        client_aborts=0, stray_callbacks=0, access_log_dropped=0, faults={}, listeners={},
        clusters={"app": ClusterStats(
            balance="random", healthy=2, panics=0, active=3, connections=0, retries=0, retries_active=0,
            retries_refused=0, endpoints=endpoints,
        )},
        rate_limits={
            "few": RateLimitStats(
                rate=5, burst=5, tokens=0, admitted=5, refused=7, delayed=0, dry_run=False, keys=None
            )
        },
    )  # fmt: skip


def test_the_first_line_counts_from_the_start() -> None:
    line = Screen(NAMES).line(reading(300), 1.5)
    assert line == "  2 s     200 requests/s   active fast 1  slow 2   p50 6.2 ms  p99 52.0 ms"


def test_a_line_shows_the_rate_since_the_line_before() -> None:
    screen = Screen(NAMES)
    screen.line(reading(300), 1.0)
    assert " 50 requests/s" in screen.line(reading(400), 3.0)


def test_the_summary_shares_the_work_out() -> None:
    assert Screen(NAMES).summary(reading(400, failed=2), Traffic(""), 4.0).splitlines() == [
        "in 4.0 s: 400 requests, 2 errors, 7 refused by the rate limit",
        "  fast      75.0%  300 requests, p50 5.0 ms, p99 9.0 ms",
        "  slow      25.0%  100 requests, p50 5.0 ms, p99 9.0 ms",
    ]


def test_a_summary_of_nothing_is_all_zero() -> None:
    assert Screen(NAMES).summary(reading(0), Traffic(""), 0.0).count("  0.0%") == 2


def test_the_introduction_has_commands_to_copy() -> None:
    text = introduction(8080, "http://127.0.0.1:9901", NAMES)
    assert "curl -i http://127.0.0.1:8080/\n" in text
    assert "curl http://127.0.0.1:9901/stats\n" in text

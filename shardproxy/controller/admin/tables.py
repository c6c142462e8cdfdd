"""The numbers of `/stats` as tables for a terminal."""

from __future__ import annotations

from collections.abc import Iterator

from rich.console import Console
from rich.table import Table

from shardproxy.config.forms import write_byte_rate, write_rate
from shardproxy.controller.stats import HealthStats, LastOperation, RateLimitStats, Stats, Times, WorkerStats

# Of a pipe or a file, where nothing says how wide a line may be.
_WIDTH_ELSEWHERE = 160
MIB = 1 << 20
_UNITS = ((86_400, "d"), (3600, "h"), (60, "min"))


def show(stats: Stats, console: Console | None = None) -> None:
    """Print all of it."""
    out = console or _console()
    out.print(_headline(stats))
    for part in (_workers, _listeners, _endpoints, _rate_limits, _bandwidth_limits):
        table = part(stats)
        if table.row_count:
            out.print(table)
    if stats.last_operation is not None:
        out.print(_last(stats.last_operation), soft_wrap=True)
    if faults := [f"{kind} {count}" for kind, count in stats.faults.items() if count]:
        out.print(f"faults: {', '.join(faults)}", soft_wrap=True)


def _console() -> Console:
    terminal = Console(markup=False, highlight=False)
    return terminal if terminal.is_terminal else Console(markup=False, highlight=False, width=_WIDTH_ELSEWHERE)


def duration(seconds: float) -> str:
    """`3 d`, `2 h`, `5 min`, `42 s`: the largest unit of which there are two, for a glance."""
    for worth, unit in _UNITS:
        if seconds >= 2 * worth:
            return f"{seconds / worth:.0f} {unit}"
    return f"{seconds:.0f} s"


def _headline(stats: Stats) -> str:
    answers = ", ".join(f"{count} {word}" for word, count in stats.responses.items() if count) or "no answer yet"
    times = stats.request_time
    return (
        f"up {duration(stats.uptime_s)}, configuration {stats.version}, "
        f"{stats.requests} requests ({answers}), {stats.active} under way, "
        f"p50 {times.p50_ms:.1f} ms, p99 {times.p99_ms:.1f} ms"
    )


def _last(operation: LastOperation) -> str:
    outcome = "" if operation.is_done else "failed: "
    return f"{duration(operation.age_s)} ago: {outcome}{operation.text}"


def _workers(stats: Stats) -> Table:
    titles = ("generation", "heartbeat", "memory", "cpu", "requests", "active", "clients", "upstream")
    table = _table("worker", "state", *titles)
    for each in stats.workers:
        table.add_row(f"pid {each.pid}", each.state, str(each.generation), *_usage(each), *_counts(each))
    return table


def _usage(worker: WorkerStats) -> tuple[str, str, str]:
    memory = f"{worker.rss_bytes / MIB:.0f} MiB"
    return f"{worker.heartbeat_age_s:.1f} s ago", memory, f"{worker.cpu_s:.1f} s"


def _counts(worker: WorkerStats) -> Iterator[str]:
    return map(str, (worker.requests, worker.active, worker.connections, worker.upstream_connections))


def _listeners(stats: Stats) -> Table:
    table = _table("listener", "bind", "connections", "accepted")
    for name, each in stats.listeners.items():
        table.add_row(name, each.bind, str(each.connections), str(each.accepted))
    return table


def _endpoints(stats: Stats) -> Table:
    numbers = ("active", "connections", "requests", "failures", "p50 ms", "p99 ms")
    table = _table("cluster", "endpoint", "health", *numbers, words=3)
    for name, cluster in stats.clusters.items():
        for address, each in cluster.endpoints.items():
            counts = (each.active, each.connections, each.requests, each.failures)
            table.add_row(name, address, _health(each.health), *map(str, counts), *_quantiles(each.time))
    return table


def _health(health: HealthStats) -> str:
    """`healthy for 5 min`, `unhealthy for 12 s: answered 503`."""
    if health.since_s is None:
        return health.state
    why = f": {health.reason}" if health.state in ("unhealthy", "ejected") else ""
    return f"{health.state} for {duration(health.since_s)}{why}"


def _rate_limits(stats: Stats) -> Table:
    table = _table("rate limit", "rate", "tokens", "admitted", "refused")
    for name, each in stats.rate_limits.items():
        table.add_row(name, write_rate(each.rate), _left(each), str(each.admitted), str(each.refused))
    return table


def _left(limit: RateLimitStats) -> str:
    """`7 of 7`; of a limit that is kept by key, for how many keys there are buckets that are not full."""
    if limit.tokens is None:
        return f"{limit.keys.occupied} keys" if limit.keys is not None else ""
    return f"{limit.tokens:.0f} of {limit.burst}"


def _bandwidth_limits(stats: Stats) -> Table:
    table = _table("bandwidth limit", "way", "rate", "passed", "held back", "waiting")
    for name, limit in stats.bandwidth_limits.items():
        for way, each in (("down", limit.down), ("up", limit.up)):
            if each is not None:
                amounts = (f"{count / MIB:.1f} MiB" for count in (each.passed_bytes, each.held_bytes))
                table.add_row(name, way, write_byte_rate(each.rate), *amounts, str(each.waiting))
    return table


def _quantiles(times: Times) -> Iterator[str]:
    yield f"{times.p50_ms:.1f}"
    yield f"{times.p99_ms:.1f}"


def _table(*titles: str, words: int = 2) -> Table:
    """So many columns of words, then numbers, which stand to the right."""
    table = Table(box=None, pad_edge=False, header_style="bold")
    for title in titles[:words]:
        table.add_column(title, overflow="fold")
    for title in titles[words:]:
        table.add_column(title, justify="right")
    return table
